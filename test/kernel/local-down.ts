import { mkdtempSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type LocalCluster, shell } from '../support/local-cluster.js'

/** A device in use stays after `local down` and goes on with the next up; one that nobody uses is let go. */
export async function localDown(t: Test, cluster: LocalCluster): Promise<void> {
  const device = cluster.volume('vol1').device!
  const place = mkdtempSync(join('/run', 'blockmesh-mount-'))
  await shell(`mkfs.ext4 -q -E nodiscard ${device} && mount ${device} ${place} && echo kept > ${place}/file && sync`)
  t.teardown(() => shell(`umount ${place} 2> /dev/null || true`).then(() => {}))
  const servedBy = () => shell(`cat /sys/block/${device.slice(5)}/pid 2> /dev/null || true`)

  await cluster.local('down')
  t.match(await servedBy(), /^\d+$/m, 'mounted: still attached')
  await cluster.local('up')
  t.equal(cluster.volume('vol1').device, device, 'the same device')
  await shell(`echo more >> ${place}/file && sync`)
  t.equal(readFileSync(join(place, 'file'), 'utf8'), 'kept\nmore\n')

  await shell(`umount ${place}`)
  await cluster.local('down')
  t.equal((await servedBy()).trim(), '', 'not mounted: the kernel has let go')
  await cluster.local('up')
  await shell(`fsck.ext4 -fn ${cluster.volume('vol1').device!}`)
}
