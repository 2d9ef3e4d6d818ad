import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { numberOfId } from '../../../src/base/ids.js'
import { chunkBytes, KiB, MiB } from '../../../src/base/units.js'
import type { MapDelta } from '../../../src/model/index.js'
import { decode } from '../../../src/wire/codec.js'
import { type DataFrame, frameFlags, opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, mappingId, poolId, sdsIdOf, type TestClient, volumeId } from './cluster.js'

const status = (code: keyof typeof errorTable) => errorTable[code].wire
const bytes = (length: number, fill: string) => Buffer.alloc(length, fill)

async function answerOf(client: TestClient, answer: Promise<DataFrame>): Promise<DataFrame> {
  return client.cluster.clock.finish(answer)
}

async function isAllocated(client: TestClient, chunk: number): Promise<boolean> {
  const reply = await answerOf(client, client.request(opcodes.allocation, chunk, { length: 1 }))
  const [answered, allocated] = Buffer.concat(reply.body)
  if (reply.status !== 0 || answered !== 1) throw new Error('allocation was not answered')
  return allocated === 1
}

t.test('write: answered, then read back; both copies have the same bytes', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const data = bytes(64 * KiB, 'a')
  await client.mustWrite(3, 12 * KiB + 512, data)
  const chunk = await client.read(3)
  t.ok(chunk.subarray(12 * KiB + 512, 76 * KiB + 512).equals(data))
  t.ok(chunk.subarray(0, 12 * KiB + 512).equals(Buffer.alloc(12 * KiB + 512)))
  t.same(await cluster.differences(), [])
  t.equal(cluster.metric(2, 'copy_writes_total'), 1)
  await cluster.end()
})

t.test('write: many to one unallocated chunk at once all land, on both copies', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const answers = Array.from({ length: 16 }, (_, i) =>
    client.write(5, i * 64 * KiB, bytes(64 * KiB, String.fromCharCode(97 + i))),
  )
  for (const answer of answers) t.equal((await answerOf(client, answer)).status, 0)
  const chunk = await client.read(5)
  for (let i = 0; i < 16; i++) t.equal(chunk[i * 64 * KiB + 7], 97 + i)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('compare: finds a byte that was changed behind the back of one copy', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes(chunkBytes, 'x'))
  t.same(await cluster.differences(), [])
  const file = cluster.ports.get(2)!.disks.files.get('/disks/2')!
  let at = 0
  while (file.peek(at, 1)[0] !== 'x'.charCodeAt(0)) at += 4 * KiB
  file.write(at + 8 * KiB + 3, Buffer.from('y'))
  const differences = await cluster.differences()
  t.match(differences, [
    { volume: numberOfId(volumeId), chunk: 0, deviceId: deviceIdOf(2), offsetBytes: 8 * KiB + 3, what: /differ/ },
  ])
  await cluster.end()
})

t.test('read: one that overlaps a write in flight waits until every copy has it', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes(8 * KiB, 'o'))
  cluster.world.network.cut('sds-1', 'sds-2')
  let written = false
  const write = client.write(0, 0, bytes(4 * KiB, 'n')).then(reply => {
    written = true
    return reply
  })
  const overlapping = client.request(opcodes.read, 0, { offset: 0, length: 4 * KiB })
  let seen = false
  overlapping.then(() => {
    seen = true
  })
  t.equal((await client.read(0, 4 * KiB, 4 * KiB))[0], 'o'.charCodeAt(0), 'one beside it does not wait')
  await cluster.clock.runFor(1_000)
  t.notOk(written || seen, 'no copy, no answer, and nobody sees it')
  cluster.world.network.heal()
  t.equal((await answerOf(client, write)).status, 0)
  t.equal((await answerOf(client, overlapping)).body[0]![0], 'n'.charCodeAt(0))
  await cluster.end()
})

for (const zeroPadding of [true, false])
  t.test(`trim and zero: rounding, allocation and bytes, zero padding ${zeroPadding ? 'on' : 'off'}`, async t => {
    const cluster = await Cluster.start({ zeroPadding })
    const client = await cluster.client(1)
    const ask = async (opcode: number, chunk: number, offset: number, length: number, flags = 0) =>
      t.equal((await answerOf(client, client.request(opcode, chunk, { offset, length, flags }))).status, 0)

    await ask(opcodes.trim, 1, 0, chunkBytes)
    await ask(opcodes.trim, 1, 4 * KiB, 8 * KiB)
    await ask(opcodes.zero, 1, 4 * KiB, 8 * KiB)
    t.notOk(await isAllocated(client, 1), 'nothing of an unallocated chunk allocates it')
    await ask(opcodes.zero, 1, 0, chunkBytes, frameFlags.keepAllocated)
    t.ok(await isAllocated(client, 1), 'but zeroes that are to stay allocated do')

    await client.mustWrite(2, 0, bytes(chunkBytes, 'z'))
    await ask(opcodes.trim, 2, 1_024, 512)
    const trimmed = await client.read(2, 1_024, 512)
    t.ok(trimmed.equals(zeroPadding ? Buffer.alloc(512) : bytes(512, 'z')), 'a partial trim zeroes only for padding')
    await ask(opcodes.zero, 2, 8_192, 512, frameFlags.fua)
    t.ok((await client.read(2, 8_192, 512)).equals(Buffer.alloc(512)), 'a partial zero always reads as zeroes')
    t.equal((await client.read(2, 8_704, 1))[0], 'z'.charCodeAt(0))
    t.ok(await isAllocated(client, 2))
    t.same(await cluster.differences(), [])

    await ask(opcodes.zero, 2, 0, chunkBytes)
    t.notOk(await isAllocated(client, 2), 'a whole chunk of zeroes is a hole')
    await client.mustWrite(3, 0, bytes(512, 'q'))
    await ask(opcodes.trim, 3, 0, chunkBytes, frameFlags.fua)
    t.notOk(await isAllocated(client, 3))
    t.ok((await client.read(3)).equals(Buffer.alloc(chunkBytes)))
    await cluster.until(() => cluster.mdm.status.size === 2)
    await cluster.clock.runFor(1_100)
    for (const n of [1, 2]) {
      const usage = cluster.mdm.status.get(sdsIdOf(n))![0] as unknown as { slotsUsed: number }
      t.equal(usage.slotsUsed, 1, `copy ${n} keeps the one chunk that is to stay allocated`)
    }
    t.same(await cluster.differences(), [])
    await cluster.end()
  })

t.test('trim: a whole chunk that is being written goes after the write, on both copies', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const answers = [
    client.write(0, 0, bytes(4 * KiB, 'a')),
    client.request(opcodes.trim, 0, { offset: 0, length: chunkBytes }),
    client.write(0, 8 * KiB, bytes(4 * KiB, 'b')),
  ]
  for (const answer of answers) t.equal((await answerOf(client, answer)).status, 0)
  const chunk = await client.read(0)
  t.equal(chunk[0], 0)
  t.equal(chunk[8 * KiB], 'b'.charCodeAt(0))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('admission: what does not fit the mapping, the volume or the frame is refused with its reason', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const refused = async (code: keyof typeof errorTable, chunk: number, fields: Partial<DataFrame>) =>
    t.equal((await answerOf(client, client.write(chunk, 0, bytes(512, 'x'), fields))).status, status(code))
  await refused('NOT_MAPPED', 0, { mapping: 999 })
  await refused('NOT_MAPPED', 0, { volume: 21 })
  await refused('BAD_REQUEST', 0, { pool: 11 })
  await refused('BAD_REQUEST', 16, {})
  await refused('BAD_REQUEST', 0, { slice: 3 })
  await refused('BAD_REQUEST', 0, { offset: chunkBytes })
  await refused('BAD_REQUEST', 0, { offset: 0xffffffff })
  await refused('BAD_REQUEST', 0, { length: 511 })
  await refused('BAD_REQUEST', 0, { length: 0 })
  await refused('BAD_REQUEST', 0, { opcode: opcodes.copyWrite })
  await refused('BAD_REQUEST', 0, { opcode: 0x77 })
  cluster.mdm.commit([{ kind: 'put', table: 'mappings', value: cluster.mapping('ReadOnly') }])
  await cluster.settled()
  await refused('READ_ONLY', 0, {})
  t.ok((await client.read(0)).equals(Buffer.alloc(chunkBytes)))
  await cluster.end()
})

t.test('epochs: an older one is refused with the changes that the requester lacks', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const mapVersion = cluster.mdm.map.version
  cluster.mdm.change(poolId, [0, 1, 2, 3], {})
  await cluster.settled()
  const reply = await answerOf(client, client.write(0, 0, bytes(512, 'x'), { epoch: 1, mapVersion }))
  t.equal(reply.status, status('STALE_EPOCH'))
  const deltas = decode(Buffer.concat(reply.body)) as MapDelta[]
  t.same(deltas, cluster.mdm.deltas.slice(-1))
  const tooOld = await answerOf(client, client.write(0, 0, bytes(512, 'x'), { epoch: 1, mapVersion: 0 }))
  t.same(decode(Buffer.concat(tooOld.body)), [], 'who is too far behind asks the MDM')
  await cluster.end()
})

t.test(
  'epochs: of requests that are refused together the first one brings the changes, whatever their number',
  async t => {
    const cluster = await Cluster.start()
    const client = await cluster.client(1)
    for (const changes of [1, 2]) {
      const mapVersion = cluster.mdm.map.version
      cluster.mdm.change(poolId, [0, 1, 2, 3], {})
      await cluster.settled()
      const stale = [0, 1, 2, 3].map(chunk => client.write(chunk, 0, bytes(512, 'x'), { epoch: changes, mapVersion }))
      const bodies: unknown[] = []
      for (const write of stale) {
        const reply = await answerOf(client, write)
        t.equal(reply.status, status('STALE_EPOCH'))
        bodies.push(decode(Buffer.concat(reply.body)))
      }
      t.same(bodies, [cluster.mdm.deltas.slice(-1), [], [], []])
    }
    await cluster.end()
  },
)

t.test('epochs: a request of a newer one waits for the map, bounded, and keeps its order in its chunk', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  client.epoch = 2
  const early = [client.write(0, 0, bytes(512, 'a')), client.write(0, 0, bytes(512, 'b'), { epoch: 1 })]
  await cluster.clock.runFor(1_000)
  t.equal(client.unanswered, 2, 'the later one of the chunk does not overtake')
  cluster.mdm.change(poolId, [1], {})
  t.equal((await answerOf(client, early[0]!)).status, 0)
  t.equal((await answerOf(client, early[1]!)).status, status('STALE_EPOCH'))
  client.epoch = 9
  const startMs = cluster.clock.nowMs()
  const late = await answerOf(client, client.write(0, 0, bytes(512, 'c')))
  t.equal(late.status, status('NOT_READY'))
  t.ok(cluster.clock.nowMs() - startMs >= 5_000)
  await cluster.end()
})

t.test('mappings: one that is newer than the map of the server is waited for', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const mapping = { ...cluster.mapping(), id: '5eed000000000032' as typeof mappingId }
  const fields = { mapping: numberOfId(mapping.id), mapVersion: cluster.mdm.map.version + 1 }
  const early = client.write(0, 0, bytes(512, 'a'), fields)
  await cluster.clock.runFor(100)
  t.equal(client.unanswered, 1)
  cluster.mdm.commit([{ kind: 'put', table: 'mappings', value: mapping }])
  t.equal((await answerOf(client, early)).status, 0)
  await cluster.end()
})

t.test('mappings: a removed one is acknowledged when nothing of it is under way, and refused from then on', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const write = client.write(0, 0, bytes(512, 'a'))
  await cluster.clock.runFor(100)
  const version = cluster.mdm.commit([{ kind: 'drop', table: 'mappings', id: mappingId }])
  await cluster.until(() => cluster.mdm.acks.get(sdsIdOf(2)) === version)
  await cluster.clock.runFor(1_000)
  t.ok(cluster.mdm.acks.get(sdsIdOf(1))! < version, 'the write is still under way')
  cluster.world.network.heal()
  t.equal((await answerOf(client, write)).status, 0)
  await cluster.until(() => cluster.mdm.acks.get(sdsIdOf(1)) === version)
  const after = await answerOf(client, client.write(0, 0, bytes(512, 'b')))
  t.equal(after.status, status('NOT_MAPPED'))
  await cluster.end()
})

t.test('volumes: one that is gone from the map gives its slots back on every copy', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  for (let chunk = 0; chunk < 4; chunk++) await client.mustWrite(chunk, 0, bytes(512, 'a'))
  t.equal(cluster.metric(2, 'device_slots_used'), 4)
  cluster.mdm.commit([
    { kind: 'drop', table: 'mappings', id: mappingId },
    { kind: 'drop', table: 'volumes', id: volumeId },
  ])
  await cluster.until(() => [1, 2].every(n => cluster.metric(n, 'device_slots_used') === 0))
  await cluster.end()
})

t.test('space: a secondary without room leaves no trace of the write on any copy', async t => {
  const cluster = await Cluster.start({ thick: true, deviceBytesOf: { 2: 8 * MiB } })
  const client = await cluster.client(1)
  const slots = cluster.metric(2, 'device_slots')
  t.ok(slots > 0 && slots < 12)
  for (let chunk = 0; chunk < slots; chunk++) await client.mustWrite(chunk, 0, bytes(4 * KiB, 'f'))
  const reply = await answerOf(client, client.write(slots, 0, bytes(4 * KiB, 'x')))
  t.equal(reply.status, status('OUT_OF_SPACE'))
  t.notOk(await isAllocated(client, slots))
  t.ok((await client.read(slots)).equals(Buffer.alloc(chunkBytes)))
  for (const n of [1, 2]) t.equal(cluster.metric(n, 'device_slots_used'), slots)
  await client.mustWrite(0, 0, bytes(4 * KiB, 'g'))
  t.same(await cluster.differences(), [])
  const trim = client.request(opcodes.trim, 0, { offset: 0, length: chunkBytes })
  t.equal((await answerOf(client, trim)).status, 0)
  await client.mustWrite(slots, 0, bytes(4 * KiB, 'x'))
  await cluster.end()
})

t.test('flush: stale and foreign epochs are refused, newer ones wait, the present one is synced', async t => {
  const cluster = await Cluster.start()
  const pairs = (...list: number[]) => {
    const body = Buffer.alloc(list.length * 4)
    for (const [i, value] of list.entries()) body.writeUInt32BE(value, i * 4)
    return { body: [body], length: 0 }
  }
  for (const n of [1, 2]) {
    const client = await cluster.client(n)
    const flush = (...list: number[]) => answerOf(client, client.request(opcodes.flush, 0, pairs(...list)))
    t.equal((await flush(0, 1, 3, 1)).status, 0)
    t.equal((await flush()).status, 0)
    t.equal((await flush(0, 1, 3, 0)).status, status('STALE_EPOCH'))
    t.equal((await flush(0, 1, 2)).status, status('BAD_REQUEST'))
    t.equal((await flush(0, 2)).status, status('NOT_READY'))
  }
  await cluster.end()
})

t.test('record: while a copy is away a write waits; a record without it lets the write go on', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes(512, 'o'))
  cluster.crash(2)
  const write = client.write(0, 0, bytes(512, 'n'))
  await cluster.clock.runFor(5_000)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [1], { secondary: null })
  t.equal((await answerOf(client, write)).status, 0)
  t.equal((await client.read(0))[0], 'n'.charCodeAt(0))
  cluster.crash(1)
})

t.test('record: a write under way at a primary that no longer is one is refused as stale', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const write = client.write(0, 0, bytes(512, 'x'))
  await cluster.clock.runFor(100)
  cluster.mdm.change(poolId, [1], { primary: deviceIdOf(3), secondary: null })
  const reply = await answerOf(client, write)
  t.equal(reply.status, status('STALE_EPOCH'))
  t.same(decode(Buffer.concat(reply.body)), cluster.mdm.deltas.slice(-1))
  cluster.world.network.heal()
  await cluster.end()
})

t.test('record: a secondary that has not heard of a new epoch is handed the change and takes the write', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes(512, 'a'))
  cluster.mdm.change(poolId, [0, 1, 2, 3], {}, sdsId => sdsId === sdsIdOf(1))
  await cluster.until(() => cluster.mdm.acks.get(sdsIdOf(1)) === cluster.mdm.map.version)
  await client.mustWrite(0, 0, bytes(512, 'b'))
  t.equal(cluster.metric(2, 'map_version'), cluster.mdm.map.version)
  await cluster.end()
})

t.test('record: a primary that has not heard of a new epoch learns it from the refusal of the secondary', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  client.epoch = 1
  // Before the next heartbeat hands it over.
  cluster.mdm.change(poolId, [0, 1, 2, 3], {}, sdsId => sdsId === sdsIdOf(2))
  const reply = await answerOf(client, client.write(0, 0, bytes(512, 'b')))
  t.equal(reply.status, 0, 'it sends the write again in the new epoch')
  t.equal(cluster.metric(1, 'map_version'), cluster.mdm.map.version)
  await cluster.end()
})

t.test('media: a read that the device cannot answer is answered by the secondary', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes(chunkBytes, 'm'))
  const { disks } = cluster.ports.get(1)!
  disks.fail('/disks/1', { operation: 'read', error: 'EIO' })
  t.ok((await client.read(0)).equals(bytes(chunkBytes, 'm')))
  t.ok(cluster.metric(1, 'media_errors_total') > 0)
  cluster.crash(1)
  cluster.crash(2)
})
