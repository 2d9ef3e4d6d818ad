import t from 'tap'
import { tcpLink } from '../../src/io/tcp-link.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { releasePieces, takePayload } from '../../src/wire/payload-memory.js'

const lengths = [1, 512, 4096, 8192, 8193, 65_536, 300_000, 1_048_576]
const fillOf = (requestId: number): number => (requestId * 37) & 255

/** Bytes that differ from place to place and from request to request. */
function payloadOf(requestId: number, lengthBytes: number): Buffer {
  const payload = takePayload(lengthBytes)
  for (let at = 0; at < lengthBytes; at++) payload[at] = (fillOf(requestId) + at * 7) & 255
  return payload
}

function isIntact({ requestId, body, bodyBytes }: DataFrame): boolean {
  let at = 0
  for (const piece of body)
    for (const byte of piece) {
      if (byte !== ((fillOf(requestId) + at * 7) & 255)) return false
      at++
    }
  return at === bodyBytes
}

t.test(
  'tcp: payloads are whole on both sides, while memory is used again, some of it held back, some never released',
  async t => {
    const held: DataFrame[] = []
    let bad = 0
    const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => ({
      onMessage: frame => {
        if (!isIntact(frame)) bad++
        // An echo of what came, in memory that the connection takes over.
        const echo = payloadOf(frame.requestId, frame.bodyBytes)
        connection.send(makeReply(frame, 0, [echo]), true)
        held.push(frame)
        if (held.length < 8) return
        const oldest = held.shift()!
        if (!isIntact(oldest)) bad++
        if (oldest.requestId % 5 !== 0) releasePieces(oldest.body)
      },
      onClose() {},
    }))
    const frames = 400
    await new Promise<void>((resolve, reject) => {
      let sent = 0
      let answered = 0
      const next = (): void => {
        const requestId = ++sent
        const length = lengths[(requestId * 5) % lengths.length]!
        client.send(makeFrame({ opcode: opcodes.write, requestId, length, body: [payloadOf(requestId, length)] }), true)
      }
      const client = tcpLink.connectData(listener.endpoint, {
        onMessage: frame => {
          if (!isIntact(frame)) bad++
          releasePieces(frame.body)
          if (++answered === frames) {
            client.close()
            resolve()
          } else if (sent < frames) next()
        },
        onClose: reason => reject(new Error(reason)),
      })
      for (let i = 0; i < 16; i++) next()
    })
    t.equal(bad, 0)
    await listener.close()
  },
)

t.test(
  'tcp: after a close that drops what is unsent, payload may be used again: its new bytes never arrive',
  async t => {
    const lengthBytes = 1_048_576
    let whole = 0
    let bad = 0
    const ended = new Promise<void>(resolve => {
      void tcpLink
        .listenData({ host: '127.0.0.1', port: 0 }, connection => {
          // Reads only when the other side has closed: most of what was sent is still queued there.
          connection.pause()
          setTimeout(() => connection.resume(), 300)
          return {
            onMessage: frame => {
              if (isIntact(frame)) whole++
              else bad++
            },
            onClose: () => resolve(),
          }
        })
        .then(async listener => {
          const client = tcpLink.connectData(listener.endpoint, { onMessage() {}, onClose() {} })
          const payloads = Array.from({ length: 32 }, (_, requestId) => payloadOf(requestId, lengthBytes))
          for (const [requestId, payload] of payloads.entries())
            client.send(makeFrame({ opcode: opcodes.write, requestId, length: lengthBytes, body: [payload] }))
          await new Promise(resolve => setTimeout(resolve, 100))
          t.ok(client.queuedBytes > lengthBytes, 'not all of it has left')
          client.close(true)
          for (const payload of payloads) payload.fill(0xdb)
          t.teardown(() => listener.close())
        })
    })
    await ended
    t.equal(bad, 0)
    t.ok(whole < 32)
  },
)
