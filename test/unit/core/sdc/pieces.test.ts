import fc from 'fast-check'
import t from 'tap'
import { chunkBytes, GiB } from '../../../../src/base/units.js'
import { isAllZero, partBytesAt, slicePieces } from '../../../../src/core/sdc/index.js'

t.test('parts cover a request without a gap, and none crosses a chunk', async () => {
  fc.assert(
    fc.property(fc.nat(8 * GiB), fc.integer({ min: 1, max: 40 * chunkBytes }), (start, length) => {
      let at = start
      while (at < start + length) {
        const bytes = partBytesAt(at, start + length)
        if (bytes <= 0 || Math.floor(at / chunkBytes) !== Math.floor((at + bytes - 1) / chunkBytes)) return false
        at += bytes
      }
      return at === start + length
    }),
  )
})

const pieces = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 }).map(all => all.map(one => Buffer.from(one)))

t.test('a range of a payload in pieces is the range of the whole', async () => {
  fc.assert(
    fc.property(pieces, fc.nat(100), fc.nat(100), (all, from, length) => {
      const whole = Buffer.concat(all)
      const start = Math.min(from, whole.length)
      const end = Math.min(start + length, whole.length)
      return Buffer.concat(slicePieces(all, start, end - start)).equals(whole.subarray(start, end))
    }),
  )
})

t.test('a single byte that is not zero is found, wherever it is', async t => {
  t.ok(isAllZero([Buffer.alloc(chunkBytes)]))
  t.ok(isAllZero([]))
  for (const at of [0, 63, 64, 65_535, 65_536, 700_000, chunkBytes - 1]) {
    const whole = Buffer.alloc(chunkBytes)
    whole[at] = 1
    t.notOk(isAllZero([whole]), `at ${at}`)
    t.notOk(isAllZero([whole.subarray(0, 70_001), whole.subarray(70_001)]), `in two pieces, at ${at}`)
  }
})
