import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { stringify } from 'yaml'
import { GiB, MiB } from '../../src/base/units.js'
import { findFreePorts } from '../../src/cli/local/free-ports.js'
import { copiesOf, type SliceRecord } from '../../src/model/index.js'
import { fio, type LocalCluster, startLocalCluster, until } from '../support/local-cluster.js'
import { healthy, recordsOf, reportOf, sleep } from './failures.js'

t.setTimeout(500_000)

const program = fileURLToPath(new URL('../../src/cli/blockmesh.js', import.meta.url))

/** A daemon beside those of the cluster, started as an administrator would on another host. */
async function startSds(t: Test, cluster: LocalCluster, name: string): Promise<{ address: string; dir: string }> {
  const [port, metrics] = await findFreePorts(2)
  const dir = join(cluster.dir, name)
  mkdirSync(join(dir, 'state'), { recursive: true })
  const config = join(dir, 'sds.yaml')
  const mdm = [cluster.file.processes.find(({ role }) => role === 'mdm')!.address]
  const listen = `127.0.0.1:${port}`
  const keys = { name, listen, mdm, directory: join(dir, 'state'), metrics: { listen: `127.0.0.1:${metrics}` } }
  writeFileSync(config, stringify(keys))
  const log = openSync(join(dir, 'log'), 'a')
  const child: ChildProcess = spawn(process.execPath, [program, 'sds', '--config', config], {
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  t.teardown(async () => {
    child.kill('SIGTERM')
    await gone
  })
  return { address: listen, dir }
}

/** Copies that stand on another device than before. */
function movedCopies(before: readonly SliceRecord[], after: readonly SliceRecord[]): number {
  let moved = 0
  for (const record of before) {
    const now = copiesOf(after[record.slice]!)
    moved += copiesOf(record).filter(id => !now.includes(id)).length
  }
  return moved
}

const isBalanced = async (cluster: LocalCluster): Promise<boolean> => {
  const { rebuild, rebalance, slices } = (await reportOf(cluster)).pools[0]!
  return slices.healthy === slices.total && rebuild?.slicesLeft === 0 && rebalance?.slicesLeft === 0
}

/** The MDM dies in the midst of it; what has been begun goes on when it is back. */
async function killMdm(cluster: LocalCluster): Promise<void> {
  await cluster.local('kill', 'mdm-1')
  await sleep(2_000)
  await cluster.local('start', 'mdm-1')
}

/** Reads and writes what it verifies, over and over, until it is told to end; the longest that a request waited. */
function steadyLoad(uri: string): { end(): Promise<number> } {
  let isOver = false
  const running = (async () => {
    let pauseMsMax = 0
    while (!isOver) {
      const { write, read } = await fio(
        `--name=load --ioengine=nbd --uri='${uri}' --rw=randwrite --bs=16k --iodepth=8 --offset=1G --size=32M ` +
          '--rate_iops=400 --verify=crc32c --verify_state_save=0 --randrepeat=0',
      )
      pauseMsMax = Math.max(pauseMsMax, write.clat_ns.max / 1e6, read.clat_ns.max / 1e6)
    }
    return pauseMsMax
  })()
  running.catch(() => {})
  return {
    end() {
      isOver = true
      return running
    },
  }
}

t.test('servers come, grow and go while applications go on', { timeout: 500_000 }, async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  const { uri } = cluster.volume('vol1')
  await fio(`--name=fill --ioengine=nbd --uri='${uri}' --rw=write --bs=1M --iodepth=4 --size=512M`)
  const sliceCount = (await recordsOf(cluster)).length
  const { address, dir } = await startSds(t, cluster, 'sds-4')

  await t.test('a fourth SDS in a new fault set gets its share, and nothing else moves', async t => {
    const before = await recordsOf(cluster)
    const load = steadyLoad(uri)
    await cluster.scli('--add_fault_set', '--protection_domain_name', 'pd1', '--fault_set_name', 'fs-4')
    await until('the SDS has found the MDM', 20_000, () =>
      cluster
        .scli(
          ...['--add_sds', '--protection_domain_name', 'pd1', '--fault_set_name', 'fs-4'],
          ...['--sds_name', 'sds-4', '--sds_ip', address],
        )
        .then(
          () => true,
          () => false,
        ),
    )
    await cluster.scli(
      ...['--add_sds_device', '--sds_name', 'sds-4', '--storage_pool_name', 'pool1'],
      ...['--device_path', join(dir, 'device'), '--device_name', 'fourth', '--device_size', '16385M'],
    )
    await sleep(3_000)
    t.notOk(await isBalanced(cluster), 'it takes its time')
    await killMdm(cluster)
    await until('shares fit', 180_000, () => isBalanced(cluster))
    const pauseMs = await load.end()
    t.ok(pauseMs < 5_000, `the longest pause is ${pauseMs.toFixed(0)} ms`)
    const after = await recordsOf(cluster)
    const { id } = (await reportOf(cluster)).devices.find(({ name }) => name === 'fourth')!
    const share = after.filter(record => copiesOf(record).includes(id)).length
    t.ok(Math.abs(share - sliceCount / 2) <= 1, `a quarter of all copies: ${share} of ${2 * sliceCount}`)
    t.equal(movedCopies(before, after), share, 'no other copy has moved')
    await cluster.check()
  })

  await t.test('a device whose file has grown gets a larger share', async t => {
    const device = (await reportOf(cluster)).devices.find(({ name }) => name === 'fourth')!
    const share = async () => (await recordsOf(cluster)).filter(record => copiesOf(record).includes(device.id)).length
    const shareBefore = await share()
    truncateSync(device.path, 24 * GiB + MiB)
    await cluster.scli('--modify_sds_device_capacity', '--device_name', 'fourth')
    const grown = (await reportOf(cluster)).devices.find(({ name }) => name === 'fourth')!
    t.equal(grown.capacityBytes, 24 * GiB)
    await until('shares fit', 180_000, async () => (await share()) > shareBefore * 1.2 && (await isBalanced(cluster)))
    await healthy(cluster)
  })

  await t.test('an SDS that is removed is drained first', async t => {
    const load = steadyLoad(uri)
    const { id } = (await reportOf(cluster)).devices.find(({ name }) => name === 'fourth')!
    await cluster.scli('--remove_sds', '--sds_name', 'sds-4', '--i_am_sure')
    const draining = (await reportOf(cluster)).sdss.find(({ name }) => name === 'sds-4')
    t.equal(draining?.removing, true, 'it is still there')
    await sleep(3_000)
    t.ok(
      (await recordsOf(cluster)).some(record => copiesOf(record).includes(id)),
      'with some of its copies',
    )
    await killMdm(cluster)
    let degraded = 0
    await until('it is gone', 240_000, async () => {
      const { pools, sdss } = await reportOf(cluster)
      degraded = Math.max(degraded, pools[0]!.slices.total - pools[0]!.slices.healthy - pools[0]!.slices.joining)
      return !sdss.some(({ name }) => name === 'sds-4')
    })
    const pauseMs = await load.end()
    t.ok(pauseMs < 5_000, `the longest pause is ${pauseMs.toFixed(0)} ms`)
    t.comment(`at most ${degraded} slices at a time were not reported as healthy or joining`)
    await healthy(cluster)
    await cluster.check()
  })
})
