import type { Test } from 'tap'
import { allocatedBytes, type LocalCluster, shell, until } from '../support/local-cluster.js'

const MiB = 2 ** 20

/** Writes the same non-zero pattern everywhere in a range, past the page cache. */
const fill = (device: string, offsetBytes: number, lengthBytes: number) =>
  shell(
    `fio --name=fill --filename=${device} --ioengine=libaio --iodepth=8 --direct=1 --rw=write --bs=1M ` +
      `--offset=${offsetBytes} --size=${lengthBytes} --buffer_pattern=0xa5 --end_fsync=1 --output-format=terse`,
  )

/** True if every byte of the range is `byte` (as printed by od). */
const reads = async (device: string, offsetBytes: number, lengthBytes: number, byte: 'zero' | 'pattern') => {
  const octal = byte === 'zero' ? '\\000' : '\\245'
  const others = await shell(
    `dd if=${device} iflag=direct,skip_bytes,count_bytes bs=1M skip=${offsetBytes} count=${lengthBytes} status=none ` +
      `| tr -d '${octal}' | wc -c`,
  )
  return Number(others) === 0
}

/** Discarded blocks, chunks and the whole device read as zeroes and their space comes back. */
export async function discard(t: Test, cluster: LocalCluster): Promise<void> {
  const device = cluster.volume('vol1').device!
  const files = cluster.file.devices.map(({ path }) => path)
  const emptyBytes = allocatedBytes(files)

  await fill(device, 0, 64 * MiB)
  t.ok(allocatedBytes(files) >= emptyBytes + 128 * MiB, 'both copies take their space')

  await shell(`blkdiscard -o ${8 * MiB} -l ${8 * MiB} ${device}`)
  t.ok(await reads(device, 8 * MiB, 8 * MiB, 'zero'), 'whole chunks')
  t.ok(
    (await reads(device, 7 * MiB, MiB, 'pattern')) && (await reads(device, 16 * MiB, MiB, 'pattern')),
    'neighbours stay',
  )

  const from = 20 * MiB + 12 * 1024
  const length = 2 * MiB + 40 * 1024
  await shell(`blkdiscard -o ${from} -l ${length} ${device}`)
  t.ok(await reads(device, from, length, 'zero'), 'parts of chunks')
  t.ok(await reads(device, 20 * MiB, 12 * 1024, 'pattern'), 'the head before them stays')
  t.ok(await reads(device, from + length, 64 * 1024, 'pattern'), 'the tail behind them stays')

  await shell(`blkdiscard -z -o ${32 * MiB} -l ${4 * MiB} ${device}`)
  t.ok(await reads(device, 32 * MiB, 4 * MiB, 'zero'), 'blkdiscard -z')
  await cluster.check()

  await shell(`blkdiscard ${device}`)
  await until('the files of both copies are within 1% of empty', 200_000, () => {
    return allocatedBytes(files) <= emptyBytes + 0.01 * 128 * MiB
  })
  t.ok(await reads(device, 0, 72 * MiB, 'zero'), 'the whole device')
}
