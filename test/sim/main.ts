import { planOf } from './plan.js'
import { Run } from './run.js'

const seed = Number(process.argv[3] ?? 1)
const count = Number(process.argv[4] ?? 1)
const began = Date.now()
let failed = 0
for (let i = seed; i < seed + count; i++) {
  const run = new Run(planOf(i), { verbose: process.argv.includes('--verbose') })
  const at = Date.now()
  const result = await run.play()
  const line = `${i} ${result.failure?.message.slice(0, 600) ?? 'ok'} ${result.hash} ack ${result.acknowledged} read ${result.checked} faults ${result.struck} virtual ${Math.round(result.virtualMs)} real ${Date.now() - at}`
  if (result.failure) failed++
  if (count === 1) { for (const l of result.lines) console.log(l); console.log(result.failure?.stack) }
  console.log(line)
}
console.log(`${count} seeds, ${failed} failed, ${Date.now() - began} ms`)
process.exit(0)
