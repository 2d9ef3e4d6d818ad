import { openFileDevice } from './store-files.js'

/** Writes to chunk after chunk of a device, says which writes were answered, and never stops by itself. */
const [, , directory, mode] = process.argv
const store = await openFileDevice(directory!, { direct: mode === 'direct' })

const lanes = 8
const next = (lane: number, turn: number): void => {
  // Each lane has chunks of its own, and comes back to them.
  const chunk = lane + lanes * (turn % 5)
  if (!store.has(1, chunk) && !store.reserve(1, chunk, 'thin', false)) throw new Error('no slot')
  const bytes = Buffer.alloc(16_384, `${lane}.${turn};`)
  store.write(1, chunk, (turn % 3) * 16_384, [bytes], error => {
    if (error !== null) throw new Error(JSON.stringify(error))
    process.stdout.write(`${lane} ${turn}\n`)
    next(lane, turn + 1)
  })
}
for (let lane = 0; lane < lanes; lane++) next(lane, 0)
