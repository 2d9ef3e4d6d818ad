import t from 'tap'
import { KiB, MiB } from '../../../src/base/units.js'
import type { LogFields } from '../../../src/ports/index.js'
import { startSds } from '../../../src/sds/daemon.js'
import { SimWorld } from '../../support/index.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf } from './cluster.js'
import { mdmAt, systemId } from './fake-mdm.js'

async function used(): Promise<Cluster> {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, Buffer.alloc(4 * KiB, 'd'))
  client.close()
  return cluster
}

async function readsBack(cluster: Cluster): Promise<boolean> {
  await cluster.until(() => cluster.isServing(1) && cluster.metric(1, 'device_slots') > 0)
  await cluster.clock.runFor(100)
  const client = await cluster.client(1)
  return (await client.read(0, 0, 1))[0] === 'd'.charCodeAt(0)
}

t.test('devices: one that moved to another path while the SDS was down is found by its identity', async t => {
  const cluster = await used()
  await cluster.stop(1)
  cluster.ports.get(1)!.disks.rename('/disks/1', '/disks/elsewhere')
  await cluster.boot(1)
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('devices: one that is not among the search places is found at the path that the map has', async t => {
  const cluster = await used()
  await cluster.stop(1)
  await cluster.boot(1, { deviceSearch: [] })
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('devices: one that appears only later is opened then, and its clean role stands', async t => {
  const cluster = await used()
  await cluster.stop(1)
  cluster.ports.get(1)!.disks.rename('/disks/1', '/away/1')
  await cluster.boot(1)
  await cluster.until(() => cluster.mdm.status.get(sdsIdOf(1))?.[0]?.error != null)
  t.match(cluster.mdm.status.get(sdsIdOf(1))![0]!.error, /not found.*\/disks\/1/)
  cluster.ports.get(1)!.disks.rename('/away/1', '/disks/back')
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('devices: a device and its copy are both refused, by name, until one is gone', async t => {
  const cluster = await used()
  await cluster.stop(1)
  const { disks } = cluster.world.portsOf('sds-1')
  const original = disks.files.get('/disks/1')!
  const copy = await disks.open('/disks/copy', { createBytes: original.sizeBytes, direct: true })
  for (let at = 0; at < original.sizeBytes; at += MiB) {
    const bytes = original.peek(at, MiB)
    if (bytes.some(byte => byte !== 0))
      await cluster.clock.finish(new Promise<unknown>(resolve => copy.write(at, [bytes], resolve)))
  }
  await cluster.clock.finish(copy.close())
  await cluster.boot(1)
  await cluster.until(() => cluster.mdm.status.get(sdsIdOf(1))?.[0]?.error != null)
  const [report] = cluster.mdm.status.get(sdsIdOf(1))!
  t.equal(report!.deviceId, deviceIdOf(1))
  t.match(report!.error, /\/disks\/1 and \/disks\/copy are both device 5eed0000000000c9/)
  t.equal(cluster.metric(1, 'device_slots'), 0)
  disks.files.delete('/disks/copy')
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('devices: a foreign one is left alone; prepared again the same device is the same', async t => {
  const cluster = await Cluster.start()
  const params = { deviceId: deviceIdOf(1), systemId, path: '/disks/1', sizeBytes: null, force: false }
  const again = await cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'prepareDevice', params))
  t.match(again, { capacityBytes: cluster.mdm.map.tables.devices.get(deviceIdOf(1))!.capacityBytes, path: '/disks/1' })
  const ask = (change: object) =>
    cluster.clock.finish(
      cluster.mdm.ask(sdsIdOf(1), 'prepareDevice', { ...params, deviceId: deviceIdOf(9), ...change }),
    )
  await t.rejects(ask({}), /DEVICE_BUSY/)
  await t.rejects(ask({ systemId: 'ffffffff00000000' }), /WRONG_SYSTEM/)
  await t.rejects(ask({ path: '/disks/none' }), /NOT_FOUND/)
  await cluster.end()
})

t.test(
  'devices: one that the map drops is released, whether or not the MDM asks for it: it is blank, and its sessions end',
  async t => {
    const cluster = await Cluster.start()
    const client = await cluster.client(1)
    cluster.mdm.commit([
      { kind: 'dropSlices', poolId: cluster.mdm.map.tables.pools.values().next().value!.id },
      { kind: 'drop', table: 'devices', id: deviceIdOf(1) },
    ])
    await cluster.settled()
    await cluster.until(() => client.closedBecause !== null)
    await cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'releaseDevice', { deviceId: deviceIdOf(1) }))
    await cluster.stop(1)
    await cluster.boot(1)
    await cluster.clock.runFor(2_000)
    t.equal(cluster.metric(1, 'device_slots'), 0)
    await cluster.end()
  },
)

t.test('system: an SDS of another system ends with the error that names both', async t => {
  const cluster = await Cluster.start()
  const ports = cluster.world.portsOf('sds-7')
  const config = {
    name: 'sds-7',
    listen: { host: '10.0.1.7', port: 7007 },
    mdm: [mdmAt],
    directory: '/state',
    systemId: 'ffffffff00000000',
    deviceSearch: [],
    ioMode: 'direct' as const,
    rmcacheBytes: 0,
    cpus: null,
    logLevel: 'info' as const,
    leaseTimeoutMs: 1_000,
    leaseHeartbeatMs: 250,
    marksIdleMs: 10_000,
    marksKept: 0,
    metricsListen: null,
  }
  const daemon = await cluster.clock.finish(startSds(config, ports))
  const error = await cluster.clock.finish(daemon.failed!)
  t.match(error, { code: 'WRONG_SYSTEM' })
  await cluster.clock.finish(daemon.stop())
  await cluster.end()
})

t.test('devices: one that has failed is made anew on request, empty, and serves on', async t => {
  const cluster = await used()
  const { disks } = cluster.ports.get(1)!
  for (const operation of ['write', 'sync'] as const) disks.fail('/disks/1', { operation, error: 'EIO' })
  const client = await cluster.client(1)
  // It waits for a record without the failed copy.
  client.write(0, 0, Buffer.alloc(4 * KiB, 'e')).catch(() => {})
  const errorOf = () => cluster.mdm.status.get(sdsIdOf(1))?.[0]?.error
  await cluster.until(() => errorOf() === 'EIO')
  const params = { deviceId: deviceIdOf(1), systemId, path: '/disks/1' }
  disks.heal('/disks/1')
  await t.rejects(
    cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'resetDevice', params)),
    { message: 'NOT_READY' },
    'what the map calls a copy is not erased',
  )
  const { secondary } = cluster.record(0)
  cluster.mdm.change(poolId, [0, 1, 2, 3], { primary: secondary!, secondary: null })
  const answer = await cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'resetDevice', params))
  t.match(answer, { path: '/disks/1' })
  await cluster.until(() => errorOf() === null)
  t.equal(cluster.mdm.status.get(sdsIdOf(1))![0]!.slotsUsed, 0)
  await cluster.end()
})

t.test('devices: another disk that has come to be found at the path of a failed one is not taken', async t => {
  const cluster = await used()
  const { disks } = cluster.ports.get(1)!
  await cluster.stop(1)
  disks.rename('/disks/1', '/away/1')
  await (await disks.open('/disks/1', { createBytes: 16 * MiB, direct: true })).close()
  disks.files.get('/disks/1')!.write(MiB - 4 * KiB, Buffer.alloc(4 * KiB, 'x'))
  await cluster.boot(1)
  await cluster.until(() => cluster.mdm.status.get(sdsIdOf(1))?.[0]?.error != null)
  cluster.mdm.change(poolId, [0, 1, 2, 3], { primary: cluster.record(0).secondary!, secondary: null })
  const params = { deviceId: deviceIdOf(1), systemId, path: '/disks/1' }
  await t.rejects(cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'resetDevice', params)), { message: /FOREIGN/ })
  await cluster.end()
})

t.test('devices: what a disk has grown by is taken in on request', async t => {
  const cluster = await used()
  const file = cluster.ports.get(1)!.disks.files.get('/disks/1')!
  await cluster.until(() => cluster.mdm.status.has(sdsIdOf(1)))
  const { slotsTotal } = cluster.mdm.status.get(sdsIdOf(1))![0]!
  file.sizeBytes += 8 * MiB
  const answer = await cluster.clock.finish(cluster.mdm.ask(sdsIdOf(1), 'growDevice', { deviceId: deviceIdOf(1) }))
  t.same(answer, { capacityBytes: (slotsTotal + 8) * MiB })
  await cluster.until(() => cluster.mdm.status.get(sdsIdOf(1))![0]!.slotsTotal === slotsTotal + 8)
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('start: until the MDM has confirmed the process nothing is served', async t => {
  const cluster = await used()
  await cluster.stop(1)
  cluster.world.network.refuse(mdmAt)
  await cluster.boot(1)
  await t.rejects(cluster.client(1), /refused with status 2/)
  await cluster.clock.runFor(10_000)
  await t.rejects(cluster.client(1), /refused with status 2/)
  cluster.world.network.accept(mdmAt)
  t.ok(await readsBack(cluster))
  await cluster.end()
})

t.test('start: without an MDM and stopped again, an SDS leaves its devices as they were', async t => {
  const world = new SimWorld(3)
  const events: string[] = []
  const note = (event: string, _fields?: LogFields) => void events.push(event)
  const log = { error: note, warn: note, info: note, debug: note, child: () => log }
  const ports = world.portsOf('sds-1', log)
  const listen = { host: '10.0.1.1', port: 7001 }
  const common = {
    systemId: null,
    deviceSearch: ['/disks'],
    ioMode: 'direct' as const,
    rmcacheBytes: 0,
    cpus: null,
    logLevel: 'info' as const,
  }
  const lease = { leaseTimeoutMs: 1_000, leaseHeartbeatMs: 250, marksIdleMs: 10_000, marksKept: 0 }
  const config = { name: 'sds-1', listen, mdm: [mdmAt], directory: '/state', metricsListen: null, ...common, ...lease }
  const daemon = await world.clock.finish(startSds(config, ports))
  await world.clock.runFor(3_000)
  await world.clock.finish(daemon.stop())
  await world.clock.finish(daemon.stop())
  t.ok(events.includes('sds.started') && events.includes('sds.stopped'))
})
