import t from 'tap'
import { exportsOf, MemoryBackend } from '../../../support/memory-backend.js'
import { infoRequest, meet, metaRequest, option, request, settle, string, u16, u32 } from './raw-client.js'

const ack = 1
const [unsupported, invalid, unknown, tooBig] = [0x80000001, 0x80000003, 0x80000006, 0x80000009]
const volume = () => new MemoryBackend({ name: 'vol1', sizeBytes: 1 << 20, description: 'first' })

t.test('the server greets with fixed newstyle and no zeroes', async t => {
  const { client } = meet(exportsOf(volume()))
  t.same(await client.bytes(18), Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(3)]))
})

t.test('client flags that nobody knows end the connection', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet(4)
  t.equal((await client.rest()).length, 0)
})

t.test('EXPORT_NAME answers size and flags, and 124 zeroes unless they are not wanted', async t => {
  for (const [flags, zeroes] of [
    [1, 124],
    [3, 0],
  ] as const) {
    const { client, connection } = meet(exportsOf(volume()))
    await client.greet(flags)
    client.send(option(1, Buffer.from('vol1')), request({ type: 3, cookie: 9n }))
    const answer = await client.bytes(10 + zeroes)
    t.equal(answer.readBigUInt64BE(0), 1n << 20n)
    t.equal(answer.readUInt16BE(8), 0b101_0110_1101)
    t.equal((await client.simple()).cookie, 9n, 'a request sent along with the option is served')
    t.equal(connection.backend?.name, 'vol1')
  }
})

t.test('without fixed newstyle EXPORT_NAME is the only option', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet(0)
  client.option(3)
  t.equal((await client.rest()).length, 0)
})

t.test('EXPORT_NAME of an export that does not exist ends the connection', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.option(1, Buffer.from('vol2'))
  t.equal((await client.rest()).length, 0)
})

t.test('LIST names every export and refuses data', async t => {
  const { client } = meet(exportsOf(volume(), new MemoryBackend({ name: 'vol2', description: '' })))
  await client.greet()
  client.option(3)
  const replies = await client.optionReplies()
  t.same(
    replies.map(({ type, data }) => [type, data.toString()]),
    [
      [2, `${string('vol1')}first`],
      [2, string('vol2').toString()],
      [ack, ''],
    ],
  )
  client.option(3, Buffer.from('x'))
  t.equal((await client.optionReply()).type, invalid)
})

t.test('INFO tells size, flags and block sizes always, name and description when asked, and lets go on', async t => {
  const { client, connection } = meet(exportsOf(volume()))
  await client.greet()
  client.option(6, infoRequest('vol1', 1, 2, 77))
  const replies = await client.optionReplies()
  const info = (type: number) => replies.find(reply => reply.type === 3 && reply.data.readUInt16BE(0) === type)?.data
  t.same(info(0), Buffer.concat([u16(0), u32(0), u32(1 << 20), u16(0b101_0110_1101)]))
  t.same(info(3), Buffer.concat([u16(3), u32(512), u32(4096), u32(32 << 20)]))
  t.equal(info(1)?.toString('utf8', 2), 'vol1')
  t.equal(info(2)?.toString('utf8', 2), 'first')
  t.equal(replies.at(-1)?.type, ack)
  client.option(6, infoRequest('vol1'))
  t.equal((await client.optionReplies()).length, 3)
  t.equal(connection.backend, null)
})

t.test('GO enters the transmission phase; DF is offered with structured replies, READ_ONLY where it is', async t => {
  const { client, connection } = meet(exportsOf(new MemoryBackend({ name: 'ro', readOnly: true, sizeBytes: 4096 })))
  await client.greet()
  client.option(8)
  t.equal((await client.optionReply()).type, ack)
  client.option(7, infoRequest('ro'))
  const replies = await client.optionReplies()
  t.equal(replies[0]?.data.readUInt16BE(10), 0b101_1110_1111)
  client.send(request({ type: 0, length: 4096 }))
  t.equal((await client.chunk()).type, 1)
  t.equal(connection.backend?.name, 'ro')
})

t.test('the empty name is the only export, if there is only one', async t => {
  const one = meet(exportsOf(volume()))
  await one.client.greet()
  one.client.option(6, infoRequest('', 1))
  t.ok((await one.client.optionReplies()).some(reply => reply.data.toString('utf8', 2) === 'vol1'))
  const two = meet(exportsOf(volume(), new MemoryBackend({ name: 'vol2' })))
  await two.client.greet()
  two.client.option(7, infoRequest(''))
  t.equal((await two.client.optionReply()).type, unknown)
})

t.test('an unknown export is refused, and the next option is served', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.option(7, infoRequest('vol2'))
  t.equal((await client.optionReply()).type, unknown)
  client.option(7, infoRequest('vol1'))
  t.equal((await client.optionReplies()).at(-1)?.type, ack)
})

t.test('STARTTLS, EXTENDED_HEADERS and unknown options are unsupported', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  for (const code of [4, 5, 11, 12, 4711, 0xffffffff]) {
    client.option(code, Buffer.from('data'))
    const reply = await client.optionReply()
    t.same([reply.option, reply.type], [code, unsupported])
  }
})

t.test('ABORT is acknowledged, then the server hangs up', async t => {
  const { client, connection } = meet(exportsOf(volume()))
  await client.greet()
  client.option(2)
  t.equal((await client.optionReply()).type, ack)
  t.equal((await client.rest()).length, 0)
  client.end()
  await connection.closed
})

t.test('malformed option data is refused with ERR_INVALID', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  const bad: [number, Buffer][] = [
    [7, Buffer.alloc(0)],
    [7, Buffer.alloc(5)],
    [7, Buffer.concat([u32(0xffffffff), u16(0)])],
    [6, Buffer.concat([u32(5), Buffer.from('vol1'), u16(0)])],
    [6, Buffer.concat([infoRequest('vol1'), Buffer.from('x')])],
    [6, Buffer.concat([string('vol1'), u16(2), u16(0)])],
    [6, infoRequest('n'.repeat(4097))],
    [8, Buffer.from('x')],
    [9, metaRequest('vol1')],
    [10, metaRequest('vol1', 'base:allocation')],
  ]
  for (const [code, data] of bad) {
    client.option(code, data)
    t.same(await client.optionReply().then(reply => [reply.option, reply.type]), [code, invalid])
  }
  client.option(8)
  await client.optionReply()
  const badMeta = [
    Buffer.alloc(3),
    string('vol1'),
    Buffer.concat([string('vol1'), u32(1)]),
    Buffer.concat([string('vol1'), u32(0xffffffff), string('base:')]),
    Buffer.concat([metaRequest('vol1', 'base:'), Buffer.from('x')]),
  ]
  for (const data of badMeta) {
    client.option(10, data)
    t.equal((await client.optionReply()).type, invalid, data.toString('hex'))
  }
})

t.test('meta contexts: base:allocation can be listed and selected, and nothing else', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.option(8)
  await client.optionReply()
  const ask = async (code: number, ...queries: string[]) => {
    client.option(code, metaRequest('vol1', ...queries))
    return (await client.optionReplies()).map(({ type, data }) => [type, data.toString('latin1')])
  }
  const selected = [4, '\0\0\0\x01base:allocation']
  const listed = [4, '\0\0\0\0base:allocation']
  t.same(await ask(9), [listed, [ack, '']])
  t.same(await ask(9, 'base:'), [listed, [ack, '']])
  t.same(await ask(9, 'qemu:dirty-bitmap:x'), [[ack, '']])
  t.same(await ask(10, 'x-none:', 'base:allocation'), [selected, [ack, '']])
  t.same(await ask(10, 'base:'), [[ack, '']])
  t.same(await ask(10), [[ack, '']])
  client.option(10, metaRequest('vol2', 'base:allocation'))
  t.equal((await client.optionReply()).type, unknown)
})

t.test('block status is served only for the export whose context was selected last', async t => {
  const exports = exportsOf(volume(), new MemoryBackend({ name: 'vol2' }))
  for (const [selectedFor, served] of [
    ['vol1', true],
    ['vol2', false],
  ] as const) {
    const { client } = meet(exports)
    await client.greet()
    client.option(8)
    await client.optionReply()
    client.option(10, metaRequest(selectedFor, 'base:allocation'))
    await client.optionReplies()
    client.option(7, infoRequest('vol1'))
    await client.optionReplies()
    client.send(request({ type: 7, length: 4096 }))
    t.equal((await client.chunk()).type, served ? 5 : 0x8001)
  }
})

t.test('option data that is too long is skipped and answered with ERR_TOO_BIG', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.option(6, Buffer.alloc((64 << 10) + 1))
  t.equal((await client.optionReply()).type, tooBig)
  client.option(6, infoRequest('vol1'))
  t.equal((await client.optionReplies()).at(-1)?.type, ack)
})

t.test('a length that nobody would send ends the connection', async t => {
  for (const [code, length] of [
    [6, 0xffffffff],
    [1, 4097],
  ] as const) {
    const { client } = meet(exportsOf(volume()))
    await client.greet()
    client.send(Buffer.from('IHAVEOPT'), u32(code), u32(length))
    t.equal((await client.rest()).length, 0)
  }
})

t.test('a wrong option magic ends the connection', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.send(Buffer.from('IHAVEOPX'), u32(3), u32(0))
  t.equal((await client.rest()).length, 0)
})

t.test('a client that goes on and on with options is turned away', async t => {
  const { client } = meet(exportsOf(volume()))
  await client.greet()
  client.send(...Array.from({ length: 4097 }, () => option(12)))
  const answers = await client.rest()
  t.equal(answers.toString('latin1').split('\0\x03\xe8\x89\x04\x55\x65\xa9').length - 1, 4096)
})

t.test('options of a client that takes no replies wait, and are answered when it does', async t => {
  const { client, stream } = meet(exportsOf(new MemoryBackend({ description: 'x'.repeat(4000) })))
  await client.greet()
  client.stopReading()
  client.send(...Array.from({ length: 1000 }, () => option(3)))
  await settle()
  const queuedBytes = stream.writableLength
  t.ok(queuedBytes > 200 << 10 && queuedBytes < 400 << 10, `${queuedBytes} bytes wait in memory`)
  client.readAgain()
  let answered = 0
  while (answered < 1000) if ((await client.optionReplies()).length === 2) answered++
  t.equal(answered, 1000)
})

t.test('half a handshake and then nothing is hung up on after 10 s', async t => {
  const { client, connection, clock } = meet(exportsOf(volume()))
  await client.greet()
  client.send(Buffer.from('IHAVEOPT'), u32(7))
  await settle()
  clock.pass(9_999)
  t.equal(clock.timersCount, 1)
  clock.pass(1)
  t.equal((await client.rest()).length, 0)
  await connection.closed
  t.equal(clock.timersCount, 0, 'no timer is left behind')
})

t.test('the time for the handshake is not the time for the transmission', async t => {
  const { client, clock } = meet(exportsOf(volume()))
  await client.go('vol1')
  t.equal(clock.timersCount, 0)
  t.equal(await client.errorOf({ type: 3 }), 0)
})
