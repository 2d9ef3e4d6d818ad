import t from 'tap'
import { GiB } from '../../../src/base/units.js'
import { Bench, comes, mdmConfig, openedDevice, registration, system, Talker } from './harness.js'

t.test('an empty directory becomes a system with a random id; a restart finds it again', async t => {
  const bench = new Bench()
  await bench.start({ systemName: 'prod' })
  const tool = await bench.connect('tool', 'scli')
  const first = await tool.ask('query', {})
  t.match(first.system, { name: 'prod', id: /^[0-9a-f]{16}$/ })
  await bench.finish(bench.mdm!.stop())
  await bench.start({ systemName: 'other' })
  const again = await bench.connect('tool', 'scli', first.system.id)
  t.same((await again.ask('query', {})).system, first.system)
})

t.test(
  'hello: another system is refused, another version is refused, both are told why; a request before it ends the connection',
  async t => {
    const bench = new Bench()
    await bench.start()
    const foreign = new Talker(bench, 'a')
    const hello = { version: 1, role: 'sds', name: 'a' }
    await t.rejects(foreign.ask('hello', { ...hello, systemId: 'f'.repeat(16) } as never), {
      code: 'WRONG_SYSTEM',
      context: { have: 'f'.repeat(16), remedy: /MDM addresses/ },
    })
    await bench.until('closed', () => foreign.closed !== null)
    const newer = new Talker(bench, 'b')
    await t.rejects(newer.ask('hello', { ...hello, version: 2, systemId: null } as never), {
      code: 'PROTOCOL',
      context: { field: 'version', want: 1 },
    })
    const rude = new Talker(bench, 'c')
    rude.send('query', {}).catch(() => {})
    await bench.until('closed', () => rude.closed !== null)
  },
)

t.test('a connection that says no hello is closed after 10 s, one that does stays', async t => {
  const bench = new Bench()
  await bench.start()
  const silent = new Talker(bench, 'silent')
  const tool = await bench.connect('tool', 'scli')
  await bench.world.clock.runFor(9_000)
  t.equal(silent.closed, null)
  await bench.world.clock.runFor(2_000)
  t.not(silent.closed, null)
  t.equal(tool.closed, null)
})

t.test(
  'bad requests: unknown, of another role, or malformed: refused with the field, and the connection goes on',
  async t => {
    const bench = new Bench()
    await bench.start()
    const tool = await bench.connect('tool', 'scli')
    await t.rejects(bench.finish(tool.send('makeCoffee', {})), { code: 'BAD_REQUEST' })
    await t.rejects(bench.finish(tool.send('constructor', {})), { code: 'BAD_REQUEST' })
    await t.rejects(tool.ask('registerSds', registration(0, 'p')), { code: 'BAD_REQUEST' })
    await t.rejects(bench.finish(tool.send('addVolume', { pool: 'p', name: 'v', sizeBytes: 'x', type: 'thin' })), {
      code: 'BAD_ARGUMENT',
      context: { request: 'addVolume', field: 'sizeBytes' },
    })
    await t.rejects(bench.finish(tool.send('addVolume', null)), { code: 'BAD_ARGUMENT', context: { field: 'pool' } })
    const other = await bench.connect('sds', 'sds-x')
    other.connection.send({ kind: 'notice', name: 'mapAck', params: { version: -1 } })
    await bench.until('closed', () => other.closed !== null)
    t.equal(tool.closed, null, 'one peer’s mistake ends its own connection only')
    await tool.ask('addProtectionDomain', { name: 'pd1' })
  },
)

t.test('an SDS waits as a stranger until it is added by its address, then registers again', async t => {
  const bench = new Bench()
  await bench.start()
  const tool = await bench.connect('tool', 'scli')
  await tool.ask('addProtectionDomain', { name: 'pd1' })
  const { talker, answer } = await comes(bench, 0, 'p1')
  t.equal(answer, null)
  const add = { protectionDomain: 'pd1', name: 'sds-0', endpoint: registration(0, '').endpoint }
  await t.rejects(tool.ask('addSds', { ...add, endpoint: { host: 'nowhere', port: 1 } }), {
    code: 'UNREACHABLE',
    context: { sds: 'sds-0', endpoint: 'nowhere:1' },
  })
  const { id } = await tool.ask('addSds', add)
  await bench.until('adopted', () => talker.adopted === 1)
  t.same(await talker.ask('registerSds', registration(0, 'p1')), { sdsId: id, incarnation: 1 })
  await t.rejects(tool.ask('addSds', { ...add, name: 'again' }), { code: 'ALREADY_EXISTS' })
})

t.test('devices: pending, initialised by the SDS, ready, placed; what fails leaves nothing behind', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss } = await system(bench, 2)
  const report = await tool.ask('query', {})
  t.match(report.devices, [
    { state: 'ready', capacityBytes: 16 * GiB, path: '/found', connected: true },
    { state: 'ready', connected: true },
  ])
  t.match(report.pools[0]!.slices, { total: 64, healthy: 64 })
  t.match(report.pools[0]!.capacity, { rawBytes: 32 * GiB, spareBytes: 16 * GiB, usableBytes: 8 * GiB })
  sdss[0]!.onRequest = name => (name === 'prepareDevice' ? { code: 'DEVICE_FOREIGN', context: { path: '/x' } } : {})
  const add = { sds: 'sds-0', pool: 'pool1', path: '/x' }
  await t.rejects(tool.ask('addDevice', add), { code: 'DEVICE_FOREIGN' })
  t.equal((await tool.ask('query', {})).devices.length, 2)
  sdss[0]!.onRequest = () => ({ capacityBytes: 'much' })
  await t.rejects(tool.ask('addDevice', add), { code: 'PROTOCOL' })
  sdss[0]!.onRequest = name => (name === 'prepareDevice' ? undefined : {})
  const waiting = tool.send('addDevice', add)
  waiting.catch(() => {})
  await bench.world.clock.runFor(1_000)
  sdss[0]!.connection.close()
  await t.rejects(bench.finish(waiting), { code: 'UNREACHABLE' })
  t.equal((await tool.ask('query', {})).devices.length, 2)
  await t.rejects(tool.ask('addDevice', add), { code: 'UNREACHABLE', context: { sds: 'sds-0' } })
})

t.test('a device that was pending when the MDM stopped is initialised when its SDS registers', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss } = await system(bench, 2)
  sdss[0]!.onRequest = () => undefined
  tool.send('addDevice', { sds: 'sds-0', pool: 'pool1', path: '/x' }).catch(() => {})
  await bench.until('asked', () => sdss[0]!.requests.length === 2)
  bench.world.crashProcess('mdm-1')
  await bench.start()
  const again = await bench.connect('tool', 'scli')
  t.equal((await again.ask('query', {})).devices[2]!.state, 'pending')
  await comes(bench, 0, 'p0-1')
  await bench.world.clock.runFor(1_000)
  t.equal((await again.ask('query', {})).devices[2]!.state, 'ready')
})

t.test('map: SDSs hear of a change first, SDCs when the SDSs have acknowledged or after half a second', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss } = await system(bench, 2)
  const sdc = await bench.connect('sdc', 'sdc-1')
  await sdc.ask('registerSdc', { guid: 'g', processId: 'p', name: 'sdc-1' })
  await sdc.ask('subscribe', { fromVersion: 0 })
  await bench.world.clock.runFor(1_000)
  const before = sdc.map.version
  t.equal(before, sdss[0]!.map.version)

  sdss[1]!.acks = false
  await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
  await bench.world.clock.runFor(100)
  t.equal(sdss[1]!.map.version, before + 1)
  t.equal(sdc.map.version, before, 'one SDS has not acknowledged')
  sdss[1]!.ack()
  await bench.world.clock.runFor(50)
  t.equal(sdc.map.version, before + 1)

  await tool.ask('renameVolume', { volume: 'v', newName: 'w' })
  await bench.world.clock.runFor(400)
  t.equal(sdc.map.version, before + 1)
  await bench.world.clock.runFor(200)
  t.equal(sdc.map.version, before + 2, 'after half a second')

  await tool.ask('renameVolume', { volume: 'w', newName: 'x' })
  sdss[1]!.connection.close()
  await bench.world.clock.runFor(100)
  t.equal(sdc.map.version, before + 3, 'an SDS that is gone is not waited for')
  t.same(sdc.map.tables, sdss[0]!.map.tables)
  t.ok(
    sdc.mapVersions.every((version, i) => i === 0 || version === sdc.mapVersions[i - 1]! + 1),
    'nothing twice',
  )
})

t.test(
  'map: a subscriber comes back for what it lacks; from the future it is refused; after a restart of the MDM it goes on',
  async t => {
    const bench = new Bench()
    await bench.start()
    const { tool, sdss } = await system(bench, 2)
    await bench.world.clock.runFor(100)
    const { version } = sdss[0]!.map
    await tool.ask('addProtectionDomain', { name: 'pd2' })
    const back = await bench.connect('tool', 'watcher')
    await back.ask('subscribe', { fromVersion: version })
    await bench.world.clock.runFor(600)
    t.same(back.mapVersions, [version + 1])
    await t.rejects(back.ask('subscribe', { fromVersion: 1000 }), { code: 'WRONG_SYSTEM', context: { have: 1000 } })
    bench.world.powerLoss('mdm-1')
    await bench.start()
    const after = await bench.connect('tool', 'watcher')
    await after.ask('subscribe', { fromVersion: version })
    await bench.world.clock.runFor(600)
    t.same(after.mapVersions, [version + 1, version + 2], 'what was answered was durable, and the new term has begun')
  },
)

t.test('a second live connection of an SDS with another process: the newest wins, the old one is closed', async t => {
  const bench = new Bench()
  await bench.start()
  const { sdss, deviceIds } = await system(bench, 2)
  const { answer } = await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!)])
  t.equal(answer!.incarnation, 2)
  await bench.until('closed', () => sdss[0]!.closed !== null)
  const again = await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!)])
  t.equal(again.answer!.incarnation, 2, 'a reconnect of the same process')
})

t.test('unmap: answered when the SDC has acknowledged, or when all SDSs with copies have', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss } = await system(bench, 2)
  const sdc = await bench.connect('sdc', 'sdc-1')
  await sdc.ask('registerSdc', { guid: 'g', processId: 'p', name: 'sdc-1' })
  await sdc.ask('subscribe', { fromVersion: 0 })
  await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
  const map = { volume: 'v', sdc: 'sdc-1' }

  await tool.ask('mapVolume', map)
  for (const sds of sdss) sds.acks = false
  await tool.ask('unmapVolume', map)
  t.equal(sdc.map.tables.mappings.size, 0, 'the SDC knows')

  await tool.ask('mapVolume', map)
  await bench.world.clock.runFor(1_000)
  sdc.connection.close()
  let answered = false
  const unmapped = tool.send('unmapVolume', map).then(() => {
    answered = true
  })
  await bench.world.clock.runFor(1_000)
  sdss[0]!.ack()
  await bench.world.clock.runFor(1_000)
  t.notOk(answered, 'one SDS is missing')
  sdss[1]!.ack()
  await bench.finish(unmapped)
})

t.test(
  'unmap: if nobody confirms it fails and says so; asked again it waits for the same; force does not wait',
  async t => {
    const bench = new Bench()
    await bench.start()
    const { tool, sdss } = await system(bench, 2)
    const sdc = await bench.connect('sdc', 'sdc-1')
    await sdc.ask('registerSdc', { guid: 'g', processId: 'p', name: 'sdc-1' })
    await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
    const map = { volume: 'v', sdc: 'sdc-1' }
    await tool.ask('mapVolume', map)
    for (const sds of sdss) sds.acks = false
    const failed = { code: 'TIMED_OUT', context: { volume: 'v', detail: /neither has the SDC/, remedy: /force/ } }
    await t.rejects(tool.ask('unmapVolume', map), failed)
    await t.rejects(tool.ask('unmapVolume', map), failed)
    for (const sds of sdss) sds.ack()
    await bench.world.clock.runFor(100)
    await t.rejects(tool.ask('unmapVolume', map), { code: 'NOT_FOUND' }, 'confirmed by now')
    await tool.ask('mapVolume', map)
    await tool.ask('unmapVolume', { ...map, force: true })
  },
)

t.test('coming back: an SDS that crashed joins again; when the fill is reported both copies are in sync', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss, deviceIds, poolId } = await system(bench, 2)
  await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
  sdss[0]!.connection.close()
  await bench.world.clock.runFor(100)
  t.match((await tool.ask('query', {})).pools[0]!.slices, { total: 64, degraded: 64 })
  await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!, { cleanStop: false })])
  t.match((await tool.ask('query', {})).pools[0]!.slices, { joining: 64 })
  await bench.world.clock.runFor(100)
  const slices = sdss[1]!.map.slices
    .get(poolId)!
    .map(({ slice, epoch, joining }) => ({ slice, epoch, joining: joining! }))
  await sdss[1]!.ask('copiesJoined', { incarnation: 1, poolId, slices })
  t.match((await tool.ask('query', {})).pools[0]!.slices, { healthy: 64, joining: 0 })
})

t.test(
  'coming back: all lost power, one SDS stays away: after the grace period the slices whose primary is here go on',
  async t => {
    const bench = new Bench()
    await bench.start()
    const { tool, sdss, deviceIds } = await system(bench, 2)
    await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * GiB, type: 'thin' })
    const primaries = [...sdss[0]!.map.slices.values()][0]!.filter(({ primary }) => primary === deviceIds[0]).length
    for (const sds of sdss) sds.connection.close()
    const lost = { cleanStop: false, sameBoot: false }
    await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!, lost)])
    await bench.world.clock.runFor(59_000)
    t.match((await tool.ask('query', {})).pools[0]!.slices, { failed: 64 })
    await bench.world.clock.runFor(2_000)
    t.match((await tool.ask('query', {})).pools[0]!.slices, { failed: 64 - primaries, degraded: primaries })
    const { talker } = await comes(bench, 1, 'p1-2', [openedDevice(deviceIds[1]!, lost)])
    await bench.world.clock.runFor(1_000)
    t.match((await tool.ask('query', {})).pools[0]!.slices, { joining: 64 })
    t.ok([...talker.map.slices.values()][0]!.every(({ lossEpoch }) => lossEpoch > 0))
  },
)

t.test(
  'coming back: an MDM restart while slices wait: the same process registers again and they are decided once',
  async t => {
    const bench = new Bench()
    await bench.start()
    const { sdss, deviceIds, poolId } = await system(bench, 2)
    for (const sds of sdss) sds.connection.close()
    await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!, { cleanStop: false })])
    bench.world.crashProcess('mdm-1')
    await bench.start()
    const { talker } = await comes(bench, 0, 'p0-2', [openedDevice(deviceIds[0]!, { cleanStop: false })])
    await bench.world.clock.runFor(1_000)
    t.equal(talker.map.tables.devices.get(deviceIds[0]!)!.waiting!.slices.length, 64)
    await comes(bench, 1, 'p1-1', [openedDevice(deviceIds[1]!)])
    await bench.world.clock.runFor(1_000)
    t.ok(talker.map.slices.get(poolId)!.every(({ joining }) => joining === deviceIds[0]))
  },
)

t.test('the log: a thousand commands make a snapshot, and a power loss after each answer loses nothing', async t => {
  const bench = new Bench()
  await bench.start()
  const tool = await bench.connect('tool', 'scli')
  const { id } = await tool.ask('addProtectionDomain', { name: 'pd-0' })
  for (let count = 1; count <= 1010; count++)
    await tool.ask('renameProtectionDomain', { protectionDomain: id, newName: `pd-${count}` })
  const { mapVersion: version } = await tool.ask('query', {})
  bench.world.powerLoss('mdm-1')
  await bench.start()
  const again = await bench.connect('tool', 'scli')
  const report = await again.ask('query', {})
  t.match(report, { mapVersion: version + 1, protectionDomains: [{ name: 'pd-1010' }] }, 'and the new term has begun')
  const entries = bench.mdm!.metrics().find(({ name }) => name === 'blockmesh_mdm_log_entries')
  t.ok(entries!.value < 100)
})

t.test(
  'the log: a command that cannot be written waits, others are refused with the reason, until it can be',
  async t => {
    const bench = new Bench()
    const ports = bench.world.portsOf('mdm-1')
    await bench.start()
    const tool = await bench.connect('tool', 'scli')
    ports.metaStores.fail(mdmConfig.directory, 'ENOSPC')
    const first = tool.send('addProtectionDomain', { name: 'a' })
    await bench.world.clock.runFor(2_000)
    t.same((await tool.ask('query', {})).protectionDomains, [])
    ports.metaStores.fail(mdmConfig.directory, null)
    await bench.finish(first)
    t.match((await tool.ask('query', {})).protectionDomains, [{ name: 'a' }])
    await tool.ask('addProtectionDomain', { name: 'b' })
  },
)

t.test(
  'a tool that names itself and repeats a request after a lost connection is answered, not served twice',
  async t => {
    const bench = new Bench()
    await bench.start()
    const hello = { version: 1 as const, role: 'tool' as const, name: 'scli', systemId: null, client: 'c1' }
    const first = new Talker(bench, 'scli')
    await first.ask('hello', hello)
    const answer = await first.ask('addProtectionDomain', { name: 'a' }, 40)
    const second = new Talker(bench, 'scli')
    await second.ask('hello', hello)
    t.same(await second.ask('addProtectionDomain', { name: 'a' }, 40), answer)
    t.equal((await second.ask('query', {})).protectionDomains.length, 1)
  },
)

t.test('a device that was added is not initialised again when the tool asks again', async t => {
  const bench = new Bench()
  await bench.start()
  const { sdss } = await system(bench, 2)
  const hello = { version: 1 as const, role: 'tool' as const, name: 'scli', systemId: null, client: 'c1' }
  const params = { sds: 'sds-0', pool: 'pool1', path: '/dev/more' }
  const answers: unknown[] = []
  for (let time = 0; time < 2; time++) {
    const tool = new Talker(bench, 'scli')
    await tool.ask('hello', hello)
    answers.push(await tool.ask('addDevice', params, 40))
    t.equal((await tool.ask('query', {})).devices.length, 3)
  }
  t.same(answers[1], answers[0])
  t.same(sdss[0]!.requests, ['prepareDevice', 'prepareDevice'], 'its first device, and this one once')
})

t.test('names that several domains use need the domain', async t => {
  const bench = new Bench()
  await bench.start()
  const tool = await bench.connect('tool', 'scli')
  for (const name of ['pd1', 'pd2']) {
    await tool.ask('addProtectionDomain', { name })
    await tool.ask('addStoragePool', { protectionDomain: name, name: 'pool' })
  }
  await t.rejects(tool.ask('renameStoragePool', { pool: 'pool', newName: 'x' }), {
    code: 'BAD_ARGUMENT',
    context: { remedy: /name the protection domain/ },
  })
  await tool.ask('renameStoragePool', { pool: 'pool', protectionDomain: 'pd2', newName: 'x' })
  const report = await tool.ask('query', {})
  t.same(
    report.pools.map(({ name }) => name),
    ['pool', 'x'],
  )
  await tool.ask('removeStoragePool', { pool: report.pools[0]!.id })
})

t.test('metrics: counters, and gauges per pool', async t => {
  const bench = new Bench()
  await bench.start()
  await system(bench, 2)
  const samples = bench.mdm!.metrics()
  const value = (name: string, labels = {}) =>
    samples.find(
      sample =>
        sample.name === `blockmesh_mdm_${name}` && Object.entries(labels).every(([k, v]) => sample.labels?.[k] === v),
    )?.value
  t.equal(value('pool_usable_bytes', { pool: 'pool1' }), 8 * GiB)
  t.equal(value('pool_slices', { state: 'healthy' }), 64)
  t.equal(value('objects', { table: 'devices' }), 2)
  t.ok(value('commands_applied_total')! > 5)
})

t.test('an SDS that is silent for 15 s is not counted as connected, whatever its connection says', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool, sdss } = await system(bench, 2)
  await bench.world.clock.runFor(30_000)
  t.match((await tool.ask('query', {})).sdss, [{ connected: true }, { connected: true }])
  sdss[1]!.reports = false
  await bench.world.clock.runFor(25_000)
  t.match((await tool.ask('query', {})).sdss, [{ connected: true }, { connected: false }])
  t.not(sdss[1]!.closed, null)
})

t.test('large slice tables make a snapshot early', async t => {
  const bench = new Bench()
  await bench.start()
  const { tool } = await system(bench, 2)
  await tool.ask('addStoragePool', { protectionDomain: 'pd1', name: 'big', sliceCount: 8192 })
  for (let index = 0; index < 20; index++)
    await tool.ask('addDevice', { sds: `sds-${index % 2}`, pool: 'big', path: `/dev/b${index}` })
  const entries = bench.mdm!.metrics().find(({ name }) => name === 'blockmesh_mdm_log_entries')
  t.ok(entries!.value < 30, 'not all of the 50 entries are in the log')
  const before = await tool.ask('query', {})
  bench.world.powerLoss('mdm-1')
  await bench.start()
  const after = await (await bench.connect('tool', 'scli')).ask('query', {})
  t.same(after.pools[1]!.slices, { total: 8192, healthy: 0, joining: 0, degraded: 0, failed: 8192 })
  t.equal(after.mapVersion, before.mapVersion + 1, 'the new term has begun')
})
