import t from 'tap'
import { MiB } from '../../src/base/units.js'
import { copiesOf } from '../../src/model/index.js'
import { fio, startLocalCluster, until } from '../support/local-cluster.js'
import { healthy, metricOf, recordsOf, reportOf, writeAndVerify } from './failures.js'

t.setTimeout(400_000)

const writesAway = 400

t.test('an SDS that was away', { timeout: 400_000 }, async t => {
  const cluster = await startLocalCluster(t, '--sdss', '4', '--fault-sets', '4', '--volume', 'vol1:8G')
  const { uri } = cluster.volume('vol1')
  const job = `--ioengine=nbd --uri='${uri}'`
  await fio(`--name=fill ${job} --rw=write --bs=1M --iodepth=4 --size=512M`)

  await t.test('for ten seconds gets what was written meanwhile, and no more', async t => {
    await until('all marks are cleared', 90_000, async () => (await metricOf(cluster, 'marks')) === 0)
    const usedBefore = await metricOf(cluster, 'device_slots_used')
    await cluster.local('kill', 'sds-2')
    // All over the volume, so that every write is in a chunk of its own, or nearly.
    await fio(
      `--name=away ${job} --rw=randwrite --bs=4k --iodepth=16 --size=8G --number_ios=${writesAway} ` +
        `--rate_iops=${writesAway / 10} --verify=crc32c --verify_state_save=0 --randseed=7`,
    )
    const marked = await metricOf(cluster, 'marks', ['sds-2'])
    const copiedBefore = await metricOf(cluster, 'resync_bytes_total', ['sds-2'])
    await cluster.local('start', 'sds-2')
    await healthy(cluster)
    const copied = (await metricOf(cluster, 'resync_bytes_total', ['sds-2'])) - copiedBefore
    const byMarks = await metricOf(cluster, 'resync_marked_bytes_total', ['sds-2'])
    t.comment(`${copied / MiB} MiB copied, ${marked} chunks were marked, ${usedBefore / 2} chunks held something`)
    t.ok(copied > 0 && copied <= marked * MiB, 'the bytes copied are bounded by the regions that were marked')
    t.equal(copied, byMarks, 'and all of them were copied because of marks')
    t.ok(copied <= writesAway * MiB, 'which are no more than were written')
    const { devices } = await reportOf(cluster)
    const reported = devices.reduce((sum, { usage }) => sum + (usage?.resyncBytesCopied ?? 0), 0)
    t.equal(reported, copied + copiedBefore, 'the MDM reports them')
  })

  await t.test('for longer than the grace period is replaced by all others, and loses nothing', async t => {
    await cluster.scli('--set_grace_period', '--storage_pool_name', 'pool1', '--grace_period_in_sec', '3')
    const before = await recordsOf(cluster)
    const { devices } = await reportOf(cluster)
    const lost = devices.find(({ name }) => name === 'sds-3-device-1')!.id
    await cluster.local('kill', 'sds-3')
    const load = writeAndVerify(uri, '--offset=6G')
    load.catch(() => {})
    await healthy(cluster)
    const after = await recordsOf(cluster)
    t.notOk(
      after.some(record => copiesOf(record).includes(lost)),
      'no slice has a copy there',
    )
    const sources = new Map<string, number>()
    const targets = new Map<string, number>()
    const note = (counts: Map<string, number>, id: string) => counts.set(id, (counts.get(id) ?? 0) + 1)
    for (const { slice, primary, secondary } of before) {
      if (primary !== lost && secondary !== lost) continue
      const survivor = primary === lost ? secondary! : primary
      note(sources, survivor)
      for (const id of copiesOf(after[slice]!)) if (id !== survivor) note(targets, id)
    }
    const share = [...sources.values()].reduce((sum, count) => sum + count, 0) / 3
    for (const [what, counts] of Object.entries({ sources, targets })) {
      t.equal(counts.size, 3, `${what}: all remaining SDSs`)
      const numbers = [...counts.values()]
      t.ok(Math.min(...numbers) > share * 0.7 && Math.max(...numbers) < share * 1.3, `${what}: ${numbers.join(', ')}`)
    }
    t.equal((await load).error, 0)
    await cluster.check()

    await cluster.scli('--set_rebalance_policy', '--storage_pool_name', 'pool1', '--policy', 'unlimited')
    await cluster.local('start', 'sds-3')
    const verified = writeAndVerify(uri, '--offset=6G')
    await until('it has its share again', 120_000, async () => {
      const records = await recordsOf(cluster)
      return records.filter(record => copiesOf(record).includes(lost)).length > share
    })
    t.equal((await verified).error, 0)
    await healthy(cluster)
    await cluster.check()
    await fio(
      `--name=away ${job} --rw=randwrite --bs=4k --iodepth=16 --size=8G --number_ios=${writesAway} ` +
        '--verify=crc32c --verify_only=1 --randseed=7',
    )
  })
})
