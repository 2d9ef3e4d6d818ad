import t from 'tap'
import { fio, type LocalCluster, shell, startLocalCluster, until } from '../support/local-cluster.js'

interface Measured {
  iops: number
  mbPerSec: number
}

/** Mean of five seconds of random writes, after two to settle. */
async function measure(uri: string, blockKiB: number): Promise<Measured> {
  const { read, write } = await fio(
    `--name=limit --ioengine=nbd --uri='${uri}' --rw=randrw --rwmixread=50 --bs=${blockKiB}k --iodepth=16 --size=256M ` +
      '--time_based --ramp_time=2 --runtime=6',
  )
  return { iops: read.iops + write.iops, mbPerSec: (read.bw_bytes + write.bw_bytes) / 2 ** 20 }
}

const policy = (cluster: LocalCluster, ...more: string[]) =>
  cluster.scli('--set_limit_policy', '--protection_domain_name', 'pd1', '--storage_pool_name', 'pool1', ...more)

t.test('limits: fio sees what the size of the volume says, growing and unsetting work without a reconnect', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:104G')
  const { uri } = cluster.volume('vol1')
  // Written before it is measured, so that the limits bind and not the first touch of each chunk.
  await fio(`--name=fill --ioengine=nbd --uri='${uri}' --rw=write --bs=1M --iodepth=4 --size=256M`)
  await policy(cluster, '--iops', '500', '--bandwidth_kbps_per_gb', '256')
  const within = (have: number, want: number, title: string) =>
    t.ok(Math.abs(have - want) <= 0.05 * want, `${title}: ${have.toFixed(1)}, wanted ${want} within 5%`)

  /** A machine that is busy with something else may reach less, for a while; more would be no limit. */
  const reaches = async (measureOnce: () => Promise<number>, want: number, title: string) => {
    let have = await measureOnce()
    for (let again = 0; again < 3 && have < 0.95 * want; again++) have = await measureOnce()
    within(have, want, title)
  }

  await reaches(async () => (await measure(uri, 32)).iops, 500, '104 GB, 32 KiB blocks are bound by IOPS')
  await reaches(async () => (await measure(uri, 64)).mbPerSec, 26, '104 GB, 64 KiB blocks are bound by bandwidth')
  await reaches(async () => (await measure(uri, 128)).mbPerSec, 26, '104 GB, 128 KiB blocks are bound by bandwidth')

  // One fio process, one connection: limits change under it.
  const running = measureOverChange(uri, async () => {
    await cluster.scli('--modify_volume_capacity', '--volume_name', 'vol1', '--size_gb', '128')
  })
  within((await running).afterMbPerSec, 32, 'grown to 128 GB')

  await cluster.scli(
    '--set_volume_limit',
    '--volume_name',
    'vol1',
    '--sdc_name',
    'sdc-1',
    '--limit_iops',
    '0',
    '--limit_bandwidth_in_mbps',
    '0',
  )
  await until('free', 5_000, async () => (await measure(uri, 128)).mbPerSec > 48)
})

/**
 * Runs fio for 24 s, calls `change` after 3 s; from fio's own log of bandwidth the mean of the best six seconds after it: the
 * most that the new limit lets through, and what a machine that is busy with something else for a while reaches, too.
 */
async function measureOverChange(uri: string, change: () => Promise<void>): Promise<{ afterMbPerSec: number }> {
  const log = (await shell('mktemp')).trim()
  const running = shell(
    `fio --name=grow --ioengine=nbd --uri='${uri}' --rw=randwrite --bs=128k --iodepth=16 --size=256M --time_based --runtime=24 ` +
      `--write_bw_log=${log} --log_avg_msec=1000 --output-format=terse`,
  )
  await new Promise(resolve => setTimeout(resolve, 3_000))
  await change()
  await running
  const kibPerSec = (await shell(`cut -d, -f2 ${log}_bw.1.log`)).trim().split('\n').map(Number)
  await shell(`rm -f ${log} ${log}_bw.*.log`)
  const sums = kibPerSec.slice(6).map((_, at, after) => after.slice(at, at + 6).reduce((sum, one) => sum + one, 0))
  return { afterMbPerSec: Math.max(...sums) / 6 / 1024 }
}
