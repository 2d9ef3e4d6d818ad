import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { shell, startLocalCluster } from '../support/local-cluster.js'

// The same operations on a volume and on a plain file of the same size must end in the same bytes. The plain file is
// served by qemu-nbd's sibling tools directly; comparisons are made by qemu-img and nbdcopy, not by us.
t.test('interoperability: nbdinfo, nbdcopy, qemu-img and qemu-io agree with a plain file', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  const uri = cluster.volume('vol1').uri
  const dir = mkdtempSync(join(tmpdir(), 'blockmesh-interop-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const plain = join(dir, 'plain')
  await shell(`truncate -s 8G ${plain}`)
  const compare = () => shell(`qemu-img compare -f raw -F raw '${uri}' ${plain}`)
  const same = async (title: string) => t.match(await compare(), /identical/, title)

  await t.test('nbdinfo sees size, flags, the export list and the holes of a thin volume', async t => {
    const info = JSON.parse(await shell(`nbdinfo --json '${uri}'`)) as { exports: Record<string, unknown>[] }
    t.match(info.exports[0], {
      'export-size': 8 * 2 ** 30,
      can_fua: true,
      can_trim: true,
      can_zero: true,
      can_multi_conn: true,
    })
    const socket = new URL(uri.replace('nbd+unix', 'http')).searchParams.get('socket')
    const list = JSON.parse(await shell(`nbdinfo --json --list 'nbd+unix:///?socket=${socket}'`)) as {
      exports: { 'export-name': string }[]
    }
    t.same(
      list.exports.map(one => one['export-name']),
      ['vol1'],
    )
    const map = JSON.parse(await shell(`nbdinfo --map --json '${uri}'`)) as { length: number; type: number }[]
    t.same(map, [{ offset: 0, length: 8 * 2 ** 30, type: 3, description: 'hole,zero' }])
  })

  await t.test('qemu-io writes, zeroes, discards and reads through several requests at once', async t => {
    const operations = [
      'write -P 0x11 0 3M',
      'write -f -P 0x22 1M 64k',
      'writev -P 0x33 5M 4k 12k 512',
      'aio_write -P 0x44 6M 1M',
      'aio_write -P 0x55 7M 128k',
      'aio_flush',
      'write -z 512k 1M',
      'write -z -u 2M 1M',
      'discard 6M 1M',
      'discard 5243392 1024',
      'write -P 0x66 8388096 1024',
      'flush',
    ]
    const script = operations.map(operation => `-c '${operation}'`).join(' ')
    await shell(`qemu-io -f raw ${script} '${uri}'`)
    await shell(`qemu-io -f raw -d unmap ${script} ${plain}`)
    t.match(await shell(`qemu-io -f raw -c 'read -P 0x55 7M 128k' -c 'read -P 0 6M 1M' '${uri}'`), /128 KiB|131072/)
    await same('after qemu-io')
  })

  await t.test('nbdcopy in and out, qemu-img convert in', async () => {
    const source = join(dir, 'source')
    const target = join(dir, 'target')
    await shell(
      `truncate -s 8G ${source} && dd if=/dev/urandom of=${source} bs=1M count=24 seek=100 conv=notrunc status=none`,
    )
    await shell(`nbdcopy ${source} '${uri}' && cp --sparse=always ${source} ${plain}`)
    await same('after nbdcopy in')
    await shell(`nbdcopy '${uri}' ${target} && cmp ${target} ${source}`)
    await shell(`dd if=/dev/urandom of=${source} bs=64k count=40 seek=77 conv=notrunc status=none`)
    await shell(`qemu-img convert -n -f raw -O raw ${source} '${uri}' && cp --sparse=always ${source} ${plain}`)
    await same('after qemu-img convert -n')
  })

  await cluster.check()
})
