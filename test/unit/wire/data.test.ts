import fc from 'fast-check'
import t from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import { frameBodyBytesMax } from '../../../src/base/limits.js'
import { type DataFrame, dataHeaderBytes, encodeHeader, makeFrame, makeReply, opcodes } from '../../../src/wire/data.js'
import { DataParser } from '../../../src/wire/data-parser.js'

const bytesOfFrame = (frame: DataFrame): Buffer => {
  const header = Buffer.alloc(dataHeaderBytes)
  encodeHeader(frame, header, 0)
  return Buffer.concat([header, ...frame.body])
}

const comparable = (frame: DataFrame) => ({ ...frame, body: Buffer.concat(frame.body).toString('hex') })

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const frames = fc
  .record({
    opcode: fc.constantFrom(...Object.values(opcodes)),
    flags: fc.integer({ min: 0, max: 0xffff }),
    status: fc.integer({ min: 0, max: 0xffff }),
    requestId: u32,
    slice: u32,
    epoch: u32,
    mapping: u32,
    volume: u32,
    chunk: u32,
    offset: u32,
    length: u32,
    pool: u32,
    mapVersion: fc.maxSafeNat(),
    body: fc.array(
      fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
      { maxLength: 3 },
    ),
  })
  .map(makeFrame)

t.test('data frames: what is sent is what is parsed, however the stream is cut', async t => {
  fc.assert(
    fc.property(fc.array(frames, { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 300 })), (sent, cuts) => {
      const stream = Buffer.concat(sent.map(bytesOfFrame))
      const parser = new DataParser()
      const received: DataFrame[] = []
      let at = 0
      for (const length of [...cuts, stream.length]) {
        parser.push(Buffer.from(stream.subarray(at, at + length)), frame => received.push(frame))
        at += length
      }
      t.same(received.map(comparable), sent.map(comparable))
    }),
    { numRuns: 200 },
  )
})

t.test(
  'data frames: a wrong magic, another version and an oversized payload are refused, and the field is named',
  async t => {
    const refusal = (spoil: (header: Buffer) => void): string => {
      const header = bytesOfFrame(makeFrame({ opcode: opcodes.ping }))
      spoil(header)
      try {
        new DataParser().push(header, () => {})
      } catch (error) {
        if (error instanceof StorageError && error.code === 'PROTOCOL') return String(error.context.field)
        throw error
      }
      return 'accepted'
    }
    t.equal(
      refusal(() => {}),
      'accepted',
    )
    t.equal(
      refusal(header => header.writeUInt16BE(0x1234, 0)),
      'magic',
    )
    t.equal(
      refusal(header => header.writeUInt8(99, 2)),
      'version',
    )
    t.equal(
      refusal(header => header.writeUInt32BE(frameBodyBytesMax + 1, 12)),
      'bodyBytes',
    )
  },
)

t.test('data frames: a reply repeats the place of its request and counts its own payload', async t => {
  const request = makeFrame({
    opcode: opcodes.read,
    requestId: 7,
    slice: 3,
    epoch: 9,
    chunk: 5,
    offset: 512,
    length: 4,
  })
  const reply = makeReply(request, 0, [Buffer.from('ab'), Buffer.from('cd')])
  t.match(reply, {
    opcode: opcodes.read,
    requestId: 7,
    slice: 3,
    epoch: 9,
    chunk: 5,
    offset: 512,
    bodyBytes: 4,
    flags: 1,
  })
})
