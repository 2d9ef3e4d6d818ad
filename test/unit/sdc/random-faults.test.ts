import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { chunkBytes } from '../../../src/base/units.js'
import type { VolumeClient } from '../../../src/sdc/volume-client.js'
import { seededRandom } from '../../support/index.js'
import { deviceIds, Outcome, World } from './world.js'

const blockBytes = 4096
const places = 12
const rounds = 40

/** One application thread: writes a block, reads it, and expects what it wrote. */
async function writeAndRead(volume: VolumeClient, place: number): Promise<string[]> {
  const wrong: string[] = []
  const offset = (place % 6) * chunkBytes + Math.floor(place / 6) * blockBytes
  for (let round = 1; round <= rounds; round++) {
    const written = new Outcome()
    const block = Buffer.alloc(blockBytes, (place * rounds + round) % 251)
    const done = new Promise<void>(resolve => {
      volume.write(offset, [block], round % 7 === 0, errno => {
        written.done(errno)
        resolve()
      })
    })
    await done
    const target = Buffer.alloc(blockBytes)
    const read = new Outcome()
    await new Promise<void>(resolve => {
      volume.read(offset, target, errno => {
        read.done(errno)
        resolve()
      })
    })
    if (written.errno !== null || read.errno !== null) wrong.push(`${place}/${round}: ${written.errno} ${read.errno}`)
    else if (!target.equals(block)) wrong.push(`${place}/${round}: read ${target[0]}, wrote ${block[0]}`)
    if (round % 10 === 0) {
      const flushed = new Outcome()
      await new Promise<void>(resolve => {
        volume.flush(errno => {
          flushed.done(errno)
          resolve()
        })
      })
      if (flushed.errno !== null) wrong.push(`${place}/${round}: flush ${flushed.errno}`)
    }
  }
  return wrong
}

/** Breaks connections, moves slices, hides map changes, makes servers refuse, until told to stop. */
function makeTrouble(world: World, seed: number): () => void {
  const random = seededRandom(seed)
  let stopped = false
  const once = () => {
    if (stopped) {
      for (const sds of world.sdss) sds.behave = () => undefined
      world.network.heal()
      world.push()
      return
    }
    const device = random.integer(3)
    switch (random.integer(6)) {
      case 0:
        world.network.drop('sdc', `sds-${device}`)
        break
      case 1: {
        const slice = random.integer(world.sliceCount)
        const other = (device + 1 + random.integer(2)) % 3
        world.move(slice, { primary: deviceIds[device]!, secondary: deviceIds[other]! })
        break
      }
      case 2:
        world.push()
        break
      case 3:
        world.sdss[device]!.behave = () => (random.integer(2) === 0 ? errorTable.NOT_READY.wire : undefined)
        break
      case 4:
        world.network.cut('sdc', `sds-${device}`)
        break
      default:
        for (const sds of world.sdss) sds.behave = () => undefined
        world.network.heal()
    }
    world.clock.setTimer(random.integer(20), once)
  }
  world.clock.setTimer(1, once)
  return () => {
    stopped = true
  }
}

t.test(
  'whatever connections, roles and servers do, every request is answered once and reads what was written',
  async t => {
    let resends = 0
    let retries = 0
    for (let seed = 1; seed <= 12; seed++) {
      const world = await new World(seed).start()
      const volume = world.open()
      const stop = makeTrouble(world, seed)
      const threads = Array.from({ length: places }, (_, place) => writeAndRead(volume, place))
      world.clock.setTimer(3_000, stop)
      const wrong = await world.clock.finish(Promise.all(threads), { withinMs: 600_000, what: `seed ${seed}` })
      t.same(wrong.flat(), [], `seed ${seed}`)
      t.equal(volume.requestsActive, 0)
      retries += volume.stats.retries
      for (const session of world.path.sessions) {
        t.equal(session.keptCount, 0)
        resends += session.resends
      }
    }
    t.ok(resends > 50 && retries > 50, `trouble was made: ${resends} sent again, ${retries} refused`)
  },
)
