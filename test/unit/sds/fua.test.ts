import t from 'tap'
import { numberOfId } from '../../../src/base/ids.js'
import { chunkBytes, KiB } from '../../../src/base/units.js'
import { frameFlags, opcodes } from '../../../src/wire/data.js'
import { Cluster } from './cluster.js'

t.test('FUA: zeroes where nothing is are durable too, also if a TRIM made it so and was not flushed', async t => {
  for (let seed = 1; seed <= 8; seed++) {
    const cluster = await Cluster.start({ seed })
    const client = await cluster.client(1)
    const ask = async (opcode: number, length: number, flags: number, body: Buffer[] = []) => {
      const reply = await cluster.clock.finish(client.request(opcode, 0, { offset: 0, length, flags, body }))
      t.equal(reply.status, 0)
    }
    await ask(opcodes.write, chunkBytes, frameFlags.fua, [Buffer.alloc(chunkBytes, 'x')])
    await ask(opcodes.trim, chunkBytes, 0)
    await ask(opcodes.zero, 4 * KiB, frameFlags.fua)
    for (const n of [1, 2]) cluster.powerLoss(n)
    for (const n of [1, 2]) await cluster.boot(n)
    await cluster.until(() => cluster.isInSync && cluster.record(0).epoch > 1)
    const after = await cluster.client(numberOfId(cluster.record(0).primary) - 200, { counter: 100 })
    t.ok((await after.read(0, 0, 4 * KiB)).equals(Buffer.alloc(4 * KiB)), `seed ${seed}`)
    await cluster.end()
  }
})
