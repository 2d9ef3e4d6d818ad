import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'
import { shell, startLocalCluster, until } from '../support/local-cluster.js'

t.test('kernel door', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  await t.test('I/O on /dev/nbdX goes on when the SDC or an SDS restarts', async t => {
    const device = cluster.volume('vol1').device!
    const fio = promisify(execFile)('fio', [
      '--name=restart',
      `--filename=${device}`,
      '--ioengine=libaio',
      '--direct=1',
      '--iodepth=4',
      '--rw=randwrite',
      '--bs=16k',
      '--size=24M',
      '--verify=crc32c',
      '--rate_iops=100',
      '--output-format=json',
    ])
    await until(
      'fio writes',
      20_000,
      async () => Number((await shell(`cat /sys/block/${device.slice(5)}/stat`)).trim().split(/\s+/)[4]) > 50,
    )
    await cluster.local('terminate', 'sds-2')
    await cluster.local('start', 'sds-2')
    await cluster.local('kill', 'sdc-1')
    await cluster.local('start', 'sdc-1')
    await cluster.local('terminate', 'sdc-1')
    await cluster.local('start', 'sdc-1')
    const { jobs } = JSON.parse((await fio).stdout) as { jobs: { error: number; write: { total_ios: number } }[] }
    t.equal(jobs[0]!.error, 0)
    t.equal(jobs[0]!.write.total_ios, 1536)
  })

  await t.test('a volume is unmapped and mapped again and again, and the device is the kernel’s each time', async t => {
    const connected = async () => (await shell('cat /sys/block/nbd*/pid 2>/dev/null || true')).trim()
    for (let round = 0; round < 10; round++) {
      await cluster.scli('--unmap_volume_from_sdc', '--volume_name', 'vol1', '--sdc_name', 'sdc-1', '--i_am_sure')
      t.equal(await connected(), '', 'no device is connected')
      await cluster.scli('--map_volume_to_sdc', '--volume_name', 'vol1', '--sdc_name', 'sdc-1')
      await until('a device is connected', 20_000, async () => (await connected()) !== '')
    }
  })
  await cluster.check()
})
