import type { Test } from 'tap'
import { fio, type LocalCluster, shell, until } from '../support/local-cluster.js'

/** I/O on /dev/nbdX goes on when the SDC or an SDS restarts. */
export async function restarts(t: Test, cluster: LocalCluster): Promise<void> {
  const device = cluster.volume('vol1').device!
  const writes = async () => Number((await shell(`cat /sys/block/${device.slice(5)}/stat`)).trim().split(/\s+/)[4])
  const writesBefore = await writes()
  const load = fio(
    `--name=restart --filename=${device} --ioengine=libaio --direct=1 --iodepth=4 --rw=randwrite --bs=16k --size=24M --verify=crc32c --rate_iops=100`,
  )
  // What fio reports is looked at when all else is done.
  load.catch(() => {})
  await until('fio writes', 200_000, async () => (await writes()) > writesBefore + 50)
  await cluster.local('terminate', 'sds-2')
  await cluster.local('start', 'sds-2')
  await cluster.local('kill', 'sdc-1')
  await cluster.local('start', 'sdc-1')
  await cluster.local('terminate', 'sdc-1')
  await cluster.local('start', 'sdc-1')
  t.equal((await load).write.total_ios, 1536)
}

/** A volume is unmapped and mapped again and again, and the device is the kernel’s each time. */
export async function mappedAgain(t: Test, cluster: LocalCluster): Promise<void> {
  const device = cluster.volume('vol1').device!
  const servedBy = async () => (await shell(`cat /sys/block/${device.slice(5)}/pid 2> /dev/null || true`)).trim()
  for (let round = 0; round < 10; round++) {
    await cluster.scli('--unmap_volume_from_sdc', '--volume_name', 'vol1', '--sdc_name', 'sdc-1', '--i_am_sure')
    t.equal(await servedBy(), '', 'the device is not connected')
    await cluster.scli('--map_volume_to_sdc', '--volume_name', 'vol1', '--sdc_name', 'sdc-1')
    await until('the device is connected', 200_000, async () => (await servedBy()) !== '')
  }
}
