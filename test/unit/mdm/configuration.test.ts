import t from 'tap'
import { numberOfId, type PoolId } from '../../../src/base/ids.js'
import type { SliceRecord } from '../../../src/model/index.js'
import type { OpenedDevice } from '../../../src/wire/control.js'
import { Bench, comes, openedDevice, registration, system, Talker } from './harness.js'

const GiB = 2 ** 30

interface Rescued {
  bench: Bench
  tool: Talker
  text: string
  poolId: PoolId
  deviceIds: string[]
  /** The table as it was exported. */
  records: SliceRecord[]
}

/** A system with a volume is exported; its MDM loses its directory; a new one imports the file. */
async function rescued(): Promise<Rescued> {
  const bench = new Bench()
  await bench.start()
  const { tool, poolId, deviceIds } = await system(bench, 3)
  await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
  await tool.ask('subscribe', { fromVersion: 0 })
  await bench.until('the map is there', () => tool.map.slices.has(poolId))
  const { text } = await tool.ask('exportConfiguration', {})
  await bench.finish(bench.mdm!.stop())
  await bench.start({ directory: '/mdm-2' })
  const newTool = await bench.connect('tool', 'scli')
  await newTool.ask('importConfiguration', { text })
  return { bench, tool: newTool, text, poolId, deviceIds, records: tool.map.slices.get(poolId)! }
}

/** An SDS that answers for its device what a record table says, with `change` for some. */
async function returns(
  { bench, deviceIds, poolId, records }: Rescued,
  index: number,
  fields: Partial<OpenedDevice> = {},
) {
  const id = deviceIds[index]!
  const came = await comes(bench, index, `new-${index}`, [openedDevice(id, { epochMax: records[0]!.epoch, ...fields })])
  came.talker.onRequest = name => {
    if (name !== 'knownCopies') return { capacityBytes: 16 * GiB, path: '/found' }
    const own = records.filter(({ primary, secondary }) => primary === id || secondary === id)
    const last = fields.epochMax
    return {
      copies: own.map(({ slice, epoch }, at) => [numberOfId(poolId), slice, at === 0 ? (last ?? epoch) : epoch, 1]),
      volumes: fields.volumeMax === undefined ? [] : [fields.volumeMax],
    }
  }
  return came
}

t.test('import: nothing is served until all SDSs have come; then the system goes on by itself', async t => {
  const made = await rescued()
  const { bench, tool, deviceIds } = made
  t.match(await tool.ask('queryRecovery', {}), { recovery: { why: 'imported', missing: { length: 3 }, newer: [] } })
  await t.rejects(tool.ask('addProtectionDomain', { name: 'x' }), { code: 'CONFIGURATION' })
  const first = await returns(made, 0)
  const second = await returns(made, 1)
  t.equal(first.answer, null, 'it waits')
  t.match(await tool.ask('queryRecovery', {}), { recovery: { missing: [/^device-\d+ of sds-2$/] } })
  const third = await returns(made, 2)
  await bench.until('all are told', () => [first, second, third].every(({ talker }) => talker.adopted === 1))
  t.same(await tool.ask('queryRecovery', {}), { recovery: null })
  const devices = [openedDevice(deviceIds[0]!)]
  const answer = await first.talker.ask('registerSds', registration(0, 'new-0', devices))
  t.ok(answer!.incarnation > 2 ** 20, 'above every incarnation that there may have been')
  const report = await tool.ask('query', {})
  t.equal(report.volumes[0]!.name, 'v')
  await t.rejects(tool.ask('importConfiguration', { text: made.text }), { code: 'IN_USE' })
})

t.test('import: a file that cannot be imported is refused with its first mistake and their number', async t => {
  const bench = new Bench()
  await bench.start()
  const tool = await bench.connect('tool', 'scli')
  await t.rejects(tool.ask('importConfiguration', { text: '{}' }), {
    code: 'BAD_ARGUMENT',
    context: { detail: /cannot be imported: format/, mistakes: 1 },
  })
})

t.test(
  'import: an SDS that knows a higher epoch is an alarm; the explicit command raises every epoch above it',
  async t => {
    const made = await rescued()
    const { bench, tool, poolId, records } = made
    const newest = records[0]!.epoch + 30
    const came = [
      await returns(made, 0),
      await returns(made, 1, { epochMax: newest, volumeMax: 4711 }),
      await returns(made, 2),
    ]
    await bench.world.clock.runFor(5_000)
    t.same(
      came.map(({ talker }) => talker.adopted),
      [0, 0, 0],
      'nobody goes on by himself',
    )
    t.match(await tool.ask('queryRecovery', {}), {
      recovery: { missing: [], newer: [{ sds: 'sds-1', detail: new RegExp(`knows epoch ${newest}`) }] },
    })
    t.ok(bench.logged.some(({ event, level }) => event === 'configuration.behind' && level === 'error'))
    const voided = await tool.ask('acceptConfiguration', {})
    t.match(voided, { unheard: [], slicesUnproven: 0, volumes: [4711] })
    t.ok(voided.copiesDropped > 0)
    t.ok(
      bench.logged.some(
        ({ event, fields }) => event === 'configuration.accepted' && String(fields.volumesDropped) === '4711',
      ),
      'what became void is an event',
    )
    await bench.until('all are told', () => came.every(({ talker }) => talker.adopted === 1))
    const watcher = await bench.connect('tool', 'watcher')
    await watcher.ask('subscribe', { fromVersion: 0 })
    await bench.until('the map is there', () => watcher.map.slices.has(poolId))
    for (const record of watcher.map.slices.get(poolId)!) t.ok(record.epoch > newest)
    const device = openedDevice(made.deviceIds[1]!, { epochMax: newest })
    t.ok(await came[1]!.talker.ask('registerSds', registration(1, 'new-1', [device])), 'and it is taken in')
  },
)

t.test('going on without an SDS that has not come needs --force', async t => {
  const made = await rescued()
  const { bench, tool } = made
  const came = await returns(made, 0)
  await returns(made, 1)
  await t.rejects(tool.ask('acceptConfiguration', {}), {
    code: 'CONFIGURATION',
    context: { devices: 1, first: /of sds-2$/, remedy: /--force/ },
  })
  const voided = await tool.ask('acceptConfiguration', { force: true })
  t.match(voided, { unheard: [made.deviceIds[2]] })
  t.ok(voided.slicesUnproven > 0)
  await bench.until('they are told', () => came.talker.adopted === 1)
  t.same(await tool.ask('queryRecovery', {}), { recovery: null })
  await t.rejects(tool.ask('acceptConfiguration', {}), {
    code: 'BAD_ARGUMENT',
    context: { detail: /nothing to accept/ },
  })
})

t.test('an MDM that has gone back in time stops everything when the first SDS says so', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss, poolId, deviceIds } = await system(bench, 2)
  await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
  await bench.until('the map is there', () => sdss[1]!.map.slices.has(poolId))
  const { era } = (await tool.ask('query', {})).system
  t.equal(era, undefined)
  const { answer } = await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!, { epochMax: 1000 })]).catch(() => ({
    answer: 'dropped',
  }))
  t.not(typeof answer, 'object')
  await bench.until('the others are sent away', () => sdss[1]!.closed !== null)
  t.match((await tool.ask('query', {})).system, { era: /^[0-9a-f]{16}$/, recovery: { why: 'behind' } })
  // A process that goes on with the map that it has is not let in; it has to start anew.
  const old = new Talker(bench, 'sds-1')
  const hello = { version: 1 as const, role: 'sds' as const, name: 'sds-1', systemId: null, era: '' }
  await t.rejects(old.ask('hello', hello), { code: 'WRONG_SYSTEM', context: { detail: /another one has replaced/ } })
  const again = await comes(bench, 0, 'p0-3', [openedDevice(deviceIds[0]!, { epochMax: 1000 })])
  t.equal(again.answer, null)
  t.match(await tool.ask('queryRecovery', {}), { recovery: { newer: [{ sds: 'sds-0' }], missing: [/of sds-1$/] } })
})
