import t from 'tap'
import { crc32c } from '../../../../src/base/crc32c.js'
import type { DeviceId, SystemId } from '../../../../src/base/ids.js'
import { KiB, MiB } from '../../../../src/base/units.js'
import {
  encodeSuperblock,
  readLabel,
  type Superblock,
  signatureOf,
  slotCountFor,
  superblockOffsets,
} from '../../../../src/core/store/index.js'

const ours: Superblock = {
  systemId: '0123456700000000' as SystemId,
  deviceId: '0123456700000abc' as DeviceId,
  slotCount: 15,
  counter: 41,
}

function labelOf(...copies: (Superblock | Buffer | null)[]): Buffer {
  const label = Buffer.alloc(MiB)
  copies.forEach((copy, at) => {
    if (copy === null) return
    const block = Buffer.isBuffer(copy) ? copy : encodeSuperblock(copy, at as 0 | 1)
    block.copy(label, superblockOffsets[at])
  })
  return label
}

/** A superblock of a later format, as a later program would write it. */
function newer(): Buffer {
  const block = encodeSuperblock(ours, 1)
  block.writeUInt32BE(2, 8)
  block.write('whatever comes later', 100)
  block.writeUInt32BE(crc32c(block.subarray(0, 4092)), 4092)
  return block
}

t.test('checksum: CRC-32C of the reference text is the reference value', async t => {
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
})

t.test('label: what was written is read, from two whole copies', async t => {
  t.same(readLabel(labelOf(ours, ours), 'd')!.superblock, ours)
})

t.test('label: with one copy torn or missing, the other one counts and the bad one is overwritten first', async t => {
  const torn = encodeSuperblock(ours, 0)
  torn.fill(0, 512)
  t.same(readLabel(labelOf(torn, ours), 'd'), { superblock: ours, lesserCopy: 0 })
  t.same(readLabel(labelOf(ours, null), 'd'), { superblock: ours, lesserCopy: 1 })
})

t.test('label: of two whole copies the one with the higher counter counts', async t => {
  const later = { ...ours, counter: 42 }
  t.same(readLabel(labelOf(later, ours), 'd'), { superblock: later, lesserCopy: 1 })
  t.same(readLabel(labelOf(ours, later), 'd'), { superblock: later, lesserCopy: 0 })
})

t.test('label: of two whole copies of a device that grows the larger one counts', async t => {
  const grown = { ...ours, slotCount: 31 }
  t.same(readLabel(labelOf(grown, ours), 'd'), { superblock: grown, lesserCopy: 1 })
  t.same(readLabel(labelOf(ours, grown), 'd'), { superblock: grown, lesserCopy: 0 })
})

t.test('label: a copy in the place of the other one is not taken', async t => {
  t.throws(() => readLabel(labelOf(encodeSuperblock(ours, 1), null), 'd'), { code: 'DEVICE_DAMAGED' })
})

t.test('label: two torn copies are a damaged device, none is no device', async t => {
  const torn = encodeSuperblock(ours, 0)
  torn[60] = 1
  t.throws(() => readLabel(labelOf(torn, torn), '/dev/x'), { code: 'DEVICE_DAMAGED', message: /\/dev\/x.*superblocks/ })
  t.equal(readLabel(labelOf(null, null), 'd'), null)
})

t.test('label: every single damaged byte of a superblock is noticed', async t => {
  for (let at = 0; at < 4096; at += 7) {
    const block = encodeSuperblock(ours, 0)
    block[at]! ^= 0x40
    t.same(readLabel(labelOf(block, ours), 'd')!.lesserCopy, 0, `byte ${at}`)
  }
})

t.test('label: a superblock of a later format says so, beside an older one too', async t => {
  t.throws(() => readLabel(labelOf(null, newer()), 'd'), { code: 'DEVICE_NEWER', message: /2/ })
  t.throws(() => readLabel(labelOf(ours, newer()), 'd'), { code: 'DEVICE_NEWER' })
})

t.test('label: copies that name two devices are a damaged device', async t => {
  const other = { ...ours, deviceId: '0123456700000abd' as DeviceId }
  t.throws(() => readLabel(labelOf(ours, other), 'd'), { code: 'DEVICE_DAMAGED', message: /abc.*abd/ })
})

t.test('slots: the first MiB and the rest of a MiB at the end hold none', async t => {
  t.equal(slotCountFor(8 * MiB), 7)
  t.equal(slotCountFor(8 * MiB - 512), 6)
})

t.test('signature: what people keep on disks is named', async t => {
  const found = (offset: number, text: string) => {
    const label = Buffer.alloc(MiB)
    label.write(text, offset, 'latin1')
    return signatureOf(label)
  }
  t.match(found(1080, '\x53\xef'), /ext4/)
  t.match(found(0, 'XFSB'), /XFS/)
  t.match(found(512, 'EFI PART'), /GPT/)
  t.match(found(510, '\x55\xaa'), /MBR/)
  t.match(found(700 * KiB, 'x'), /unknown/, 'any byte is somebody’s')
  t.equal(signatureOf(Buffer.alloc(MiB)), null)
})
