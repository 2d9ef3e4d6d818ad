import t from 'tap'
import { numberOfId } from '../../../src/base/ids.js'
import { KiB } from '../../../src/base/units.js'
import { Cluster, deviceIdOf, poolId } from './cluster.js'
import { Writer } from './writer.js'

const all = Array.from({ length: 16 }, (_, chunk) => chunk)
/** Written once, before anything happens, where the writer never writes. */
const coldAt = 100 * KiB
const cold = Buffer.alloc(8 * KiB, 'c')
const seeds = Number(process.env.SEEDS ?? 2)
const first = Number(process.env.SEED ?? 1)
const steps = Number(process.env.STEPS ?? 6)

t.setTimeout(120_000)

/** Restarts, kills, power cuts, dropped connections and joining copies, in any order, under load. */
for (let seed = first; seed < first + seeds; seed++)
  t.test(
    `seed ${seed}: whatever happens to one SDS at a time, answered writes are there and the copies are equal`,
    async t => {
      const cluster = await Cluster.start({ sdss: 3, seed })
      const { random } = cluster.world
      const filler = await cluster.client(1)
      for (const chunk of all) await filler.mustWrite(chunk, coldAt, cold)
      filler.close()
      const writer = new Writer(cluster, all, 3)
      const story: string[] = []
      const pick = () => 1 + random.integer(3)
      const away = async (what: string, n: number, leave: () => Promise<void> | void) => {
        story.push(`${what} ${n}`)
        await leave()
        await cluster.clock.runFor(random.integer(400))
        await cluster.boot(n)
      }
      const acts: (() => Promise<void>)[] = [
        async () => {
          const n = pick()
          await away('stop', n, () => cluster.stop(n))
        },
        async () => {
          const n = pick()
          await away('kill', n, () => cluster.crash(n))
        },
        async () => {
          const n = pick()
          await away('power', n, () => cluster.powerLoss(n))
        },
        async () => {
          const [a, b] = [pick(), pick()]
          story.push(`drop ${a} ${b}`)
          cluster.world.network.drop(`sds-${a}`, a === b ? 'sdc-1' : `sds-${b}`)
        },
        async () => {
          const slices = [0, 1, 2, 3].filter(slice => {
            const { joining, secondary } = cluster.record(slice)
            return joining === null && secondary !== null
          })
          for (const slice of slices) {
            const { primary, secondary } = cluster.record(slice)
            const joining = [1, 2, 3].map(deviceIdOf).find(id => id !== primary && id !== secondary)!
            story.push(`join ${slice}`)
            cluster.mdm.change(poolId, [slice], { joining })
          }
        },
      ]
      try {
        for (let step = 0; step < steps; step++) {
          await acts[random.integer(acts.length)]!()
          await cluster.clock.runFor(random.integer(300))
          // Rules 5 and 6 promise something only while one copy in sync is up and clean: one fault at a time.
          await cluster.until(() => [1, 2, 3].every(n => cluster.isServing(n)))
          await cluster.until(() => cluster.isInSync)
        }
        await writer.stop()
        // Nothing hides what was not copied: no write comes after this.
        await acts.at(-1)!()
        await cluster.until(() => cluster.isInSync)
        for (const chunk of all) {
          const client = await cluster.client(numberOfId(cluster.record((1 + chunk) % 4).primary) - 200)
          t.ok((await client.read(chunk, coldAt, cold.length)).equals(cold), 'what was written once stays')
          client.close()
        }
        t.same(writer.failed, [])
        t.ok(writer.answered > 20)
        t.same(await writer.wrongBlocks(), [])
        t.same(await cluster.differences(), [])
      } catch (error) {
        t.fail(`${(error as Error).message}; ${story.join(', ')}`)
      }
      await cluster.end()
    },
  )
