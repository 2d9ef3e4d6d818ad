import fc from 'fast-check'
import t from 'tap'
import { exportsOf, MemoryBackend } from '../../../support/memory-backend.js'
import { infoRequest, meet, meetTransmission, metaRequest, option, request, settle, u32 } from './raw-client.js'

/**
 * Whatever a client sends: the server does not throw, passes nothing unaligned or out of range to the backend (which
 * would throw), holds what its bounds allow, and lets go when the client is gone.
 */
async function survives({ client, connection, stream }: ReturnType<typeof meet>, bytes: Buffer): Promise<boolean> {
  client.send(bytes)
  await settle(4)
  const bounded = connection.requestsInFlight <= 256 && stream.writableLength <= 65 << 20
  client.hangUp()
  await connection.closed
  return bounded && connection.requestsInFlight === 0
}

const serve = () => meet(exportsOf(new MemoryBackend({ sizeBytes: 1 << 20 })))

const options = Buffer.concat([
  u32(3),
  option(3),
  option(8),
  option(9, metaRequest('vol1')),
  option(10, metaRequest('vol1', 'base:allocation')),
  option(6, infoRequest('', 1, 2)),
  option(7, infoRequest('vol1')),
])
const requests = Buffer.concat([
  request({ type: 1, offset: 4096, body: Buffer.alloc(4096, 7) }),
  request({ type: 0, offset: 0, length: 16384 }),
  request({ type: 4, offset: 0, length: 65536, flags: 1 }),
  request({ type: 6, offset: 65536, length: 65536, flags: 2 }),
  request({ type: 7, offset: 0, length: 1 << 20 }),
  request({ type: 5, offset: 0, length: 4096 }),
  request({ type: 3 }),
])

const mutations = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 })
function mutate(bytes: Buffer, changes: [number, number][]): Buffer {
  const mutated = Buffer.from(bytes)
  for (const [at, value] of changes) mutated[at % mutated.length] = value
  return mutated
}

t.test('random bytes do no harm in any phase', async t => {
  await t.resolves(
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 4096 }), async bytes => {
        const noise = Buffer.from(bytes)
        return (
          (await survives(serve(), noise)) &&
          (await survives(serve(), Buffer.concat([u32(3), noise]))) &&
          (await survives(serve(), Buffer.concat([options, noise])))
        )
      }),
      { numRuns: 60 },
    ),
  )
})

t.test('handshakes with some bytes changed do no harm', async t => {
  await t.resolves(
    fc.assert(
      fc.asyncProperty(mutations, changes => survives(serve(), Buffer.concat([mutate(options, changes), requests]))),
      { numRuns: 150 },
    ),
  )
})

t.test('requests with some bytes changed do no harm', async t => {
  await t.resolves(
    fc.assert(
      fc.asyncProperty(mutations, fc.boolean(), (changes, structured) => {
        const backend = new MemoryBackend({ sizeBytes: 1 << 20 })
        const served = meetTransmission(backend, { structured, blockStatus: structured })
        return survives(served, mutate(Buffer.concat([requests, requests]), changes))
      }),
      { numRuns: 250 },
    ),
  )
})

t.test('requests made up of legal and illegal fields are answered once each', async t => {
  const field = fc.record({
    type: fc.oneof(fc.constantFrom(0, 3, 4, 5, 6, 7), fc.nat(65535)).filter(type => type !== 1 && type !== 2),
    flags: fc.oneof(fc.constantFrom(0, 1, 2, 4, 8, 16), fc.nat(65535)),
    offset: fc.oneof(
      fc.nat(2200).map(sector => sector * 512),
      fc.bigInt(0n, 2n ** 64n - 1n),
    ),
    length: fc.oneof(
      fc.nat(300).map(sector => sector * 512),
      fc.nat(0xffffffff),
    ),
  })
  await t.resolves(
    fc.assert(
      fc.asyncProperty(fc.array(field, { maxLength: 40 }), async fields => {
        const { client } = meetTransmission(new MemoryBackend({ sizeBytes: 1 << 20 }), {
          structured: true,
          blockStatus: true,
        })
        client.send(...fields.map((what, i) => request({ ...what, cookie: BigInt(i) })))
        const open = new Set(fields.map((_, i) => BigInt(i)))
        while (open.size > 0) {
          if (!open.delete((await client.reply()).cookie)) return false
        }
        client.hangUp()
        return true
      }),
      { numRuns: 100 },
    ),
  )
})
