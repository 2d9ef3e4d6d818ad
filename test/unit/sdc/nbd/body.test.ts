import fc from 'fast-check'
import t from 'tap'
import { BodyPieces } from '../../../../src/sdc/nbd/body.js'
import { ByteQueue } from '../../../../src/sdc/nbd/byte-queue.js'

const partsOf = (body: Buffer, sizes: number[]): Buffer[] => {
  const parts: Buffer[] = []
  for (let at = 0, i = 0; at < body.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1)
    parts.push(body.subarray(at, at + size))
    at += size
  }
  return parts
}

t.test('a payload is the same bytes, however it came in', t => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 70_000 }),
      fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1 }),
      (n, sizes) => {
        const body = Buffer.from(Array.from({ length: n }, (_, i) => (i * 31) & 255))
        const pieces = new BodyPieces()
        let missing = n
        for (const part of partsOf(body, sizes)) {
          pieces.add(part, 0, part.length, missing)
          missing -= part.length
        }
        return Buffer.concat(pieces.take()).equals(body) && pieces.take().length === 0
      },
    ),
    { numRuns: 100 },
  )
  t.end()
})

t.test('large parts are not copied, and single bytes do not become single pieces', t => {
  const pieces = new BodyPieces()
  const large = Buffer.alloc(65536)
  pieces.add(large, 0, 65536, 131072)
  pieces.add(large, 0, 65536, 65536)
  t.same(
    pieces.take().map(piece => piece.buffer === large.buffer),
    [true, true],
  )
  for (let i = 0; i < 65536; i++) pieces.add(Buffer.from([i & 255]), 0, 1, 65536 - i)
  const few = pieces.take()
  t.equal(few.length, 4)
  t.ok(Buffer.concat(few).every((byte, i) => byte === (i & 255)))
  t.end()
})

t.test('bytes wait until they are all there', t => {
  const queue = new ByteQueue()
  for (let i = 0; i < 1000; i++) queue.push(Buffer.from([i & 255]))
  t.equal(queue.take(1001), null)
  t.equal(queue.skip(600), 600)
  t.equal(queue.take(1)?.[0], 600 & 255)
  t.equal(queue.takeAll().length, 399)
  t.equal(queue.skip(5), 0)
  t.end()
})
