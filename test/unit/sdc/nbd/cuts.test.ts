import fc from 'fast-check'
import t from 'tap'
import { exportsOf, MemoryBackend } from '../../../support/memory-backend.js'
import { infoRequest, meet, metaRequest, option, request, u32 } from './raw-client.js'

/** A whole conversation of a client that does not wait for answers: options, then every command, right and wrong. */
const conversation = Buffer.concat([
  u32(3),
  option(8),
  option(12),
  option(10, metaRequest('vol1', 'base:allocation')),
  option(7, infoRequest('vol1', 1)),
  request({ type: 1, offset: 512, body: Buffer.alloc(6144, 1), cookie: 1n }),
  request({ type: 1, offset: 1 << 24, body: Buffer.alloc(600, 0x25), cookie: 2n }),
  request({ type: 0, offset: 0, length: 8192, cookie: 3n }),
  request({ type: 3, cookie: 4n }),
  request({ type: 4, offset: 0, length: 1024, cookie: 5n }),
  request({ type: 6, flags: 2, offset: 2048, length: 1024, cookie: 6n }),
  request({ type: 99, cookie: 7n }),
  request({ type: 7, length: 1 << 20, cookie: 8n }),
  request({ type: 0, offset: 0, length: 8192, cookie: 9n }),
  request({ type: 2 }),
])

/** The handshake's answers as they are; those to requests by cookie, since they may come in any order. */
async function answersTo(pieces: Buffer[]): Promise<unknown[]> {
  const { client } = meet(exportsOf(new MemoryBackend()))
  for (const piece of pieces) {
    client.send(piece)
    await new Promise(resolve => setImmediate(resolve))
  }
  const handshake = [await client.bytes(18)]
  for (let i = 0; i < 4; i++) handshake.push(...(await client.optionReplies()).map(reply => reply.data))
  const answers: Record<string, unknown> = {}
  for (let i = 0; i < 9; i++) {
    const answer = await client.reply()
    answers[String(answer.cookie)] = answer
  }
  return [...handshake, answers, (await client.rest()).length]
}

t.test('a conversation cut into single bytes gives the answers of the whole', async t => {
  const whole = await answersTo([conversation])
  const pieces = [...conversation].map(byte => Buffer.from([byte]))
  t.same(await answersTo(pieces), whole)
})

t.test('a conversation cut anywhere gives the answers of the whole', async t => {
  const whole = await answersTo([conversation])
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(conversation.length), { maxLength: 12 }), async cuts => {
      const places = [0, ...cuts.sort((a, b) => a - b), conversation.length]
      const pieces = places.slice(1).map((to, i) => conversation.subarray(places[i], to))
      t.same(await answersTo(pieces), whole) || t.bailout()
    }),
    { numRuns: 60 },
  )
})
