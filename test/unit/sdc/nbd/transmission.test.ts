import t from 'tap'
import { exportsOf, MemoryBackend, type MemoryOptions } from '../../../support/memory-backend.js'
import { meet, meetTransmission, request, settle } from './raw-client.js'

const [EPERM, EIO, EINVAL, ENOSPC] = [1, 5, 22, 28]
const [read, write, disc, flush, trim, cache, zeroes, status] = [0, 1, 2, 3, 4, 5, 6, 7]
const [fua, noHole, df, reqOne, fastZero] = [1, 2, 4, 8, 16]
const MiB = 1 << 20
const sizeBytes = 16 * MiB

async function serve(options: MemoryOptions = {}, features: { structured?: boolean; allocation?: boolean } = {}) {
  const backend = new MemoryBackend({ sizeBytes, ...options })
  backend.calls = []
  const served = meet(exportsOf(backend))
  await served.client.go('vol1', features)
  return { backend, calls: backend.calls, ...served }
}
const pattern = (bytes: number) => Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8)) & 255))

t.test('what was written is read, with simple and with structured replies', async t => {
  for (const structured of [false, true]) {
    const { client, calls } = await serve({}, { structured })
    const body = pattern(8192)
    client.send(request({ type: write, offset: 4096, body, cookie: 0xfedcba9876543210n }))
    t.same(await client.simple(), { error: 0, cookie: 0xfedcba9876543210n, data: Buffer.alloc(0) })
    client.send(request({ type: read, offset: 512, length: 16384, cookie: 0x8000000000000001n }))
    const data = structured ? (await client.chunk()).data.subarray(8) : (await client.simple(16384)).data
    t.same(data.subarray(4096 - 512, 4096 - 512 + 8192), body)
    t.ok(data.subarray(0, 4096 - 512).every(byte => byte === 0))
    t.same(calls[0], { verb: 'write', offsetBytes: 4096, lengthBytes: 8192, fua: false })
  }
})

t.test('a structured read is one OFFSET_DATA chunk with DONE, also with DF', async t => {
  const { client } = await serve({ sizeBytes: 2 ** 40 }, { structured: true })
  for (const flags of [0, df, df | fua]) {
    client.send(request({ type: read, flags, offset: 2 ** 39 + 512, length: MiB, cookie: 5n }))
    const chunk = await client.chunk()
    t.same([chunk.flags, chunk.type, chunk.cookie, chunk.data.length], [1, 1, 5n, 8 + MiB])
    t.equal(chunk.data.readBigUInt64BE(0), 2n ** 39n + 512n)
  }
})

t.test('FLUSH, TRIM, WRITE_ZEROES and CACHE reach the backend as they were asked', async t => {
  const { client, calls, backend } = await serve({ sizeBytes: 8 * 2 ** 30 })
  const longest = 2 ** 32 - 512
  backend.holding = true
  client.send(
    request({ type: flush }),
    request({ type: trim, flags: fua, offset: 512, length: longest }),
    request({ type: zeroes, offset: 4096, length: longest }),
    request({ type: zeroes, flags: noHole | fua, offset: 0, length: 4096 }),
    request({ type: cache, offset: 0, length: longest }),
  )
  t.equal((await client.simple()).error, 0, 'CACHE is answered while the others are under way')
  t.same(calls, [
    { verb: 'flush', offsetBytes: 0, lengthBytes: 0 },
    { verb: 'trim', offsetBytes: 512, lengthBytes: longest, fua: true },
    { verb: 'zero', offsetBytes: 4096, lengthBytes: longest, mayPunch: true, fua: false },
    { verb: 'zero', offsetBytes: 0, lengthBytes: 4096, mayPunch: false, fua: true },
  ])
  backend.release()
  for (let i = 0; i < 4; i++) t.equal((await client.simple()).error, 0)
})

t.test('FUA of a write is passed on, and on a read it is ignored', async t => {
  const { client, calls } = await serve()
  t.equal(await client.errorOf({ type: write, flags: fua, body: pattern(512) }), 0)
  t.equal(calls[0]?.fua, true)
  client.send(request({ type: read, flags: fua, length: 512 }))
  t.equal((await client.simple(512)).error, 0)
})

t.test('replies are sent as the backend completes, in any order', async t => {
  const { client, backend } = await serve()
  backend.holding = true
  for (let i = 1; i <= 4; i++) client.send(request({ type: read, offset: i * 512, length: 512, cookie: BigInt(i) }))
  await settle()
  backend.release(held => held.reverse())
  const cookies = []
  for (let i = 0; i < 4; i++) cookies.push((await client.simple(512)).cookie)
  t.same(cookies, [4n, 3n, 2n, 1n])
})

t.test('ranges that are empty, unaligned or beyond the end are refused', async t => {
  const { client, calls } = await serve()
  const end = sizeBytes
  const cases: [number, number | bigint, number, number][] = [
    [read, 0, 0, EINVAL],
    [trim, 0, 0, EINVAL],
    [zeroes, 512, 0, EINVAL],
    [write, 0, 0, EINVAL],
    [cache, 0, 0, EINVAL],
    [read, 1, 512, EINVAL],
    [read, 0, 511, EINVAL],
    [trim, 0, 2 ** 32 - 1, EINVAL],
    [zeroes, 0, 2 ** 32 - 1, EINVAL],
    [read, 0, 2 ** 32 - 1, EINVAL],
    [read, 0, 33 * MiB, EINVAL],
    [read, end, 512, EINVAL],
    [read, end - 512, 1024, EINVAL],
    [trim, end - 512, 1024, EINVAL],
    [cache, end, 512, EINVAL],
    [zeroes, end - 512, 1024, ENOSPC],
    [zeroes, 0, 2 ** 32 - 512, ENOSPC],
    [read, 2n ** 63n, 512, EINVAL],
    [read, 2n ** 64n - 512n, 512, EINVAL],
    [trim, 2n ** 64n - 512n, 1024, EINVAL],
    [flush, 512, 0, EINVAL],
    [flush, 0, 512, EINVAL],
  ]
  for (const [type, offset, length, error] of cases)
    t.equal(await client.errorOf({ type, offset, length }), error, `${type} at ${offset}+${length}`)
  t.same(calls, [], 'the backend sees none of them')
})

t.test('a refused write is skipped and answered, and the next request is found', async t => {
  const { client, calls } = await serve()
  const cases: [number, number | bigint, number, number][] = [
    [0, sizeBytes, 512, ENOSPC],
    [0, sizeBytes - 512, 1024, ENOSPC],
    [0, 2n ** 64n - 512n, 512, ENOSPC],
    [0, 1, 512, EINVAL],
    [0, 0, 1000, EINVAL],
    [fastZero, 0, 512, EINVAL],
    [0, 0, 33 * MiB, EINVAL],
  ]
  for (const [flags, offset, length, error] of cases) {
    client.send(request({ type: write, flags, offset, body: Buffer.alloc(length, 0x25) }))
    t.equal((await client.simple()).error, error, `at ${offset}+${length}`)
  }
  t.same(calls, [])
  t.equal(await client.errorOf({ type: flush }), 0)
})

t.test('unknown commands and flags are refused, flags also where they belong to another command', async t => {
  const { client, calls } = await serve()
  for (const type of [8, 9, 255, 65535]) t.equal(await client.errorOf({ type, length: 512 }), EINVAL, `command ${type}`)
  const cases: [number, number][] = [
    [read, noHole],
    [read, df],
    [read, reqOne],
    [read, 32],
    [trim, noHole],
    [zeroes, fastZero],
    [zeroes, fastZero | noHole],
    [zeroes, df],
    [cache, df],
    [status, reqOne],
    [trim, 0x8000],
  ]
  for (const [type, flags] of cases)
    t.equal(await client.errorOf({ type, flags, length: 512 }), EINVAL, `command ${type}, flags ${flags}`)
  t.equal(await client.errorOf({ type: flush, flags: noHole }), EINVAL)
  t.same(calls, [])
})

t.test('whatever changes a read-only export is refused with EPERM', async t => {
  const { client, calls } = await serve({ readOnly: true })
  t.equal(await client.errorOf({ type: write, body: pattern(512) }), EPERM)
  t.equal(await client.errorOf({ type: trim, length: 512 }), EPERM)
  t.equal(await client.errorOf({ type: zeroes, length: 512 }), EPERM)
  t.same(calls, [])
  t.equal(await client.errorOf({ type: flush }), 0)
})

t.test('errors of the backend reach the client, and no data with them', async t => {
  const { client, backend } = await serve()
  backend.failNext = 'EIO'
  t.equal(await client.errorOf({ type: read, length: 4096 }), EIO)
  backend.failNext = 'ENOSPC'
  t.equal(await client.errorOf({ type: write, body: pattern(512) }), ENOSPC)
  backend.failNext = 'ESHUTDOWN'
  t.equal(await client.errorOf({ type: flush }), 108)
  t.equal(await client.errorOf({ type: flush }), 0)
})

t.test('with structured replies an error is a chunk with a sentence', async t => {
  const { client, backend } = await serve({}, { structured: true })
  const errorChunk = async () => {
    const { flags, type, cookie, data } = await client.chunk()
    t.same([flags, type, cookie], [1, 0x8001, 7n])
    t.equal(data.readUInt16BE(4), data.length - 6)
    return [data.readUInt32BE(0), data.toString('utf8', 6)]
  }
  backend.failNext = 'EIO'
  client.send(request({ type: read, length: 4096 }))
  t.same(await errorChunk(), [EIO, 'the storage answered with an error'])
  client.send(request({ type: write, offset: sizeBytes, body: pattern(512) }))
  t.same(await errorChunk(), [ENOSPC, 'the range ends beyond the end of the export'])
  client.send(request({ type: status, length: 4096 }))
  t.same(await errorChunk(), [EINVAL, 'no metadata context was selected'])
})

t.test('BLOCK_STATUS shows what is allocated, in order, together no longer than asked', async t => {
  const { client, backend } = await serve({ chunkBytes: 65536 }, { structured: true, allocation: true })
  backend.write(65536, [pattern(65536)], false, () => {})
  const ask = async (offset: number, length: number, flags = 0) => {
    client.send(request({ type: status, flags, offset, length }))
    const { flags: chunkFlags, type, data } = await client.chunk()
    t.same([chunkFlags, type, data.readUInt32BE(0), data.length % 8], [1, 5, 1, 4])
    const extents = []
    for (let at = 4; at < data.length; at += 8) extents.push([data.readUInt32BE(at), data.readUInt32BE(at + 4)])
    return extents
  }
  t.same(await ask(0, sizeBytes), [
    [65536, 3],
    [65536, 0],
    [sizeBytes - 131072, 3],
  ])
  t.same(await ask(65024, 1024), [
    [512, 3],
    [512, 0],
  ])
  t.same(await ask(65024, 1024, reqOne), [[512, 3]])
  backend.extents = (_offset, length, done) => done(null, [{ lengthBytes: length * 2, hole: true }])
  t.same(await ask(0, 4096), [[4096, 3]], 'an extent that goes further is cut')
  backend.extents = (_offset, _length, done) => done(null, [])
  t.same(await ask(0, 4096), [[4096, 0]], 'nothing known is shown as data')
  backend.extents = (_offset, length, done) =>
    done(
      null,
      Array.from({ length: length / 512 }, (_, i) => ({ lengthBytes: 512, hole: i % 2 === 0 })),
    )
  t.equal((await ask(0, sizeBytes)).length, 4096, 'a long answer ends early')
  backend.extents = (_offset, _length, done) => done('EIO', [])
  client.send(request({ type: status, length: 4096 }))
  t.equal((await client.chunk()).type, 0x8001)
})

t.test('a volume that grows is seen by the next request', async t => {
  const { client, backend } = await serve()
  t.equal(await client.errorOf({ type: trim, offset: sizeBytes, length: 512 }), EINVAL)
  backend.sizeBytes = 2 * sizeBytes
  t.equal(await client.errorOf({ type: trim, offset: sizeBytes, length: 512 }), 0)
})

t.test('a wrong request magic ends the connection', async t => {
  const { client, connection, calls } = await serve()
  client.send(request({ type: flush, magic: 0x25609514 }), request({ type: flush }))
  t.equal((await client.rest()).length, 0)
  await connection.closed
  t.same(calls, [])
})

t.test('DISC: what is in flight is answered, then the server hangs up', async t => {
  const { client, backend, connection } = await serve()
  backend.holding = true
  client.send(
    request({ type: write, body: pattern(512) }),
    request({ type: disc }),
    request({ type: flush, cookie: 9n }),
  )
  await settle()
  t.equal(connection.requestsInFlight, 1)
  backend.release()
  t.equal((await client.simple()).cookie, 7n)
  t.equal((await client.rest()).length, 0, 'nothing after DISC is served')
  client.end()
  await connection.closed
})

t.test('a client that shuts its side down still gets all its answers', async t => {
  const { client, backend, connection } = await serve()
  backend.holding = true
  for (let i = 0; i < 1000; i++) client.send(request({ type: read, length: 512 }))
  client.end()
  await settle()
  backend.release()
  t.equal((await client.rest()).length, 1000 * (16 + 512))
  await connection.closed
})

t.test('a client that vanishes leaves nothing behind once the backend has let go', async t => {
  const { client, backend, connection, clock } = await serve()
  backend.holding = true
  client.send(request({ type: write, body: pattern(512) }), request({ type: read, length: 4096 }))
  client.send(request({ type: write, length: 4096 }), pattern(1000))
  await settle()
  t.equal(connection.requestsInFlight, 3)
  client.hangUp()
  let closed = false
  void connection.closed.then(() => {
    closed = true
  })
  await settle()
  t.notOk(closed, 'the backend still has two requests')
  backend.release()
  await connection.closed
  t.equal(connection.requestsInFlight, 0)
  t.equal(clock.timersCount, 0)
  t.same(backend.peek(0, 512), pattern(512), 'a write that came in whole is carried out')
})

t.test('half a request and then nothing holds no more than what came', async t => {
  const { client, calls, connection } = await serve()
  client.send(request({ type: write, length: 32 * MiB }), pattern(1024))
  await settle()
  t.equal(connection.requestsInFlight, 1)
  t.same(calls, [])
  client.send(request({ type: flush }).subarray(0, 20))
  await settle()
  client.hangUp()
  await connection.closed
  t.same(calls, [], 'an incomplete write is never applied')
})

t.test('at most 256 requests are in flight; the rest waits unread', async t => {
  const { client, backend, calls, connection } = await serve()
  backend.holding = true
  client.send(Buffer.concat(Array.from({ length: 1000 }, () => request({ type: read, length: 512 }))))
  await settle()
  t.equal(connection.requestsInFlight, 256)
  t.equal(calls.length, 256)
  backend.release()
  for (let i = 0; i < 1000; i++) t.equal((await client.simple(512)).error, 0) || t.bailout()
  t.equal(calls.length, 1000)
  await settle()
  t.equal(connection.requestsInFlight, 0)
})

t.test('at most 64 MiB are in flight; the largest request is always admitted', async t => {
  const { client, backend, connection } = await serve({ sizeBytes: 64 * MiB })
  backend.holding = true
  for (let i = 0; i < 5; i++) client.send(request({ type: read, length: 24 * MiB }))
  await settle()
  t.equal(connection.requestsInFlight, 2)
  backend.release()
  for (let i = 0; i < 5; i++) t.equal((await client.simple(24 * MiB)).data.length, 24 * MiB)
})

t.test('a client that takes no replies is bounded like one that waits for them', async t => {
  const { client, backend, calls, connection, stream } = await serve()
  client.stopReading()
  client.send(Buffer.concat(Array.from({ length: 2000 }, () => request({ type: read, length: 64 << 10 }))))
  await settle(100)
  t.equal(connection.requestsInFlight, 256)
  t.ok(stream.writableLength <= 64 * MiB, `${stream.writableLength} bytes wait`)
  t.equal(calls.length, 256)
  backend.calls = null
  client.readAgain()
  for (let i = 0; i < 2000; i++) t.equal((await client.simple(64 << 10)).error, 0) || t.bailout()
})

t.test('close() takes no more requests, answers what is in flight and hangs up; twice is once', async t => {
  const { client, backend, connection, calls } = await serve()
  backend.holding = true
  client.send(request({ type: flush }), request({ type: write, length: 4096 }), pattern(100))
  await settle()
  const closes = Promise.all([connection.close(), connection.close()])
  client.send(pattern(3996), request({ type: flush }))
  await settle()
  backend.release()
  t.equal((await client.rest()).length, 16)
  client.end()
  await closes
  await connection.closed
  t.equal(calls.length, 1)
})

t.test('close() is over after 10 s, whatever the backend and the client do', async t => {
  const { client, backend, connection, clock } = await serve()
  backend.holding = true
  client.send(request({ type: flush }))
  await settle()
  const close = connection.close()
  clock.pass(10_000)
  await close
  backend.release()
  await connection.closed
  t.equal((await client.rest()).length, 0)
})

t.test('a client that does not hang up after its last reply is hung up on', async t => {
  const { client, connection, clock } = await serve()
  client.send(request({ type: disc }))
  await client.rest()
  await settle()
  t.equal(clock.timersCount, 1)
  clock.pass(2_000)
  await connection.closed
})

t.test('the kernel door: transmission phase at once, simple replies', async t => {
  const backend = new MemoryBackend()
  const { client, connection, clock } = meetTransmission(backend)
  t.equal(await client.errorOf({ type: write, body: pattern(4096) }), 0)
  client.send(request({ type: read, length: 4096 }))
  t.same((await client.simple(4096)).data, pattern(4096))
  t.equal(await client.errorOf({ type: read, flags: df, length: 512 }), EINVAL)
  await connection.close()
  await connection.closed
  t.equal(clock.timersCount, 0, 'the kernel is not waited for')
})

t.test('bytes of one client never reach another, while memory is used again', async t => {
  const backend = new MemoryBackend({ sizeBytes })
  const clients = [0, 1, 2].map(() => meetTransmission(backend).client)
  for (let round = 0; round < 50; round++) {
    clients.forEach((client, i) => {
      client.send(request({ type: write, offset: i * MiB, body: Buffer.alloc(9216, round * 3 + i) }))
      client.send(request({ type: read, offset: i * MiB, length: 9216 }))
    })
    for (const [i, client] of clients.entries()) {
      await client.simple()
      const { data } = await client.simple(9216)
      t.ok(data.every(byte => byte === ((round * 3 + i) & 255))) || t.bailout()
    }
  }
})
