import t from 'tap'
import type { ControlMessage } from '../../../src/wire/control.js'
import { ControlParser, encodeControl } from '../../../src/wire/control-parser.js'

const messages: ControlMessage[] = [
  { kind: 'request', id: 1, name: 'query', params: {} },
  { kind: 'answer', id: 1, result: { volumes: [1, 2, 3], text: 'ü' } },
  { kind: 'answer', id: 2, error: { code: 'NOT_FOUND', context: { volume: 'v' } } },
  { kind: 'notice', name: 'map', params: { big: 2 ** 50 } },
]

t.test('control messages: what is sent is what is parsed, byte by byte or all at once', async t => {
  const stream = Buffer.concat(messages.map(encodeControl))
  for (const step of [1, 3, 7, stream.length]) {
    const parser = new ControlParser()
    const received: ControlMessage[] = []
    for (let at = 0; at < stream.length; at += step)
      parser.push(Buffer.from(stream.subarray(at, at + step)), message => received.push(message))
    t.same(received, messages, `in steps of ${step}`)
  }
})

t.test('control messages: an oversized length is refused before its bytes come', async t => {
  const parser = new ControlParser(1000)
  t.throws(() => parser.push(Buffer.from([0, 0, 4, 0]), () => {}), { code: 'PROTOCOL', context: { field: 'length' } })
})

t.test('control messages: what is not msgpack, or not a message, is refused', async t => {
  const framed = (bytes: Buffer) => Buffer.concat([Buffer.from([0, 0, 0, bytes.length]), bytes])
  t.throws(() => new ControlParser().push(framed(Buffer.from([0xc1, 0xff])), () => {}), { code: 'PROTOCOL' })
  t.throws(() => new ControlParser().push(framed(Buffer.from([0x2a])), () => {}), { code: 'PROTOCOL' })
})
