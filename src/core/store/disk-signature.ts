interface Signature {
  what: string
  offset: number
  bytes: string
}

/** What may lie on a disk that somebody offers us by mistake; the more telling ones first. */
const signatures: readonly Signature[] = [
  { what: 'a LUKS container', offset: 0, bytes: 'LUKS\xba\xbe' },
  { what: 'an XFS file system', offset: 0, bytes: 'XFSB' },
  { what: 'a Btrfs file system', offset: 0x10040, bytes: '_BHRfS_M' },
  { what: 'an ext2, ext3 or ext4 file system', offset: 0x438, bytes: '\x53\xef' },
  { what: 'a swap area', offset: 4086, bytes: 'SWAPSPACE2' },
  { what: 'an LVM physical volume', offset: 512, bytes: 'LABELONE' },
  { what: 'a member of a Linux RAID', offset: 4096, bytes: '\xfc\x4e\x2b\xa9' },
  { what: 'a Ceph BlueStore device', offset: 0, bytes: 'bluestore block device' },
  { what: 'a qcow2 image', offset: 0, bytes: 'QFI\xfb' },
  { what: 'an NTFS file system', offset: 3, bytes: 'NTFS    ' },
  { what: 'a GPT partition table', offset: 512, bytes: 'EFI PART' },
  { what: 'an MBR partition table or a FAT file system', offset: 510, bytes: '\x55\xaa' },
]

/** Names what the first MiB of a disk that is not ours seems to hold; null if every byte is zero. */
export function signatureOf(label: Buffer): string | null {
  for (const { what, offset, bytes } of signatures)
    if (label.toString('latin1', offset, offset + bytes.length) === bytes) return what
  return isZero(label) ? null : 'data of an unknown kind'
}

/** True if all bytes are zero; compares the buffer with itself, shifted, so that the work is memcmp's. */
export const isZero = (bytes: Buffer): boolean =>
  bytes.length === 0 || (bytes[0] === 0 && bytes.compare(bytes, 0, bytes.length - 1, 1) === 0)
