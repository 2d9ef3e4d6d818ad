import t from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import type { SdcId } from '../../../src/base/ids.js'
import { GiB } from '../../../src/base/units.js'
import type { SdcConfig } from '../../../src/config/sdc.js'
import { cleanEpoch, dirtyCellAt } from '../../../src/core/sdc/index.js'
import type { MapChange, Mapping, Volume } from '../../../src/model/index.js'
import { type SdcDaemon, startSdc } from '../../../src/sdc/daemon.js'
import type { BlockBackend, NbdListener } from '../../../src/sdc/nbd/index.js'
import type { VolumeClient } from '../../../src/sdc/volume-client.js'
import { noKernelNbd, SimWorld } from '../../support/index.js'
import { FakeKernel } from './fake-kernel.js'
import { FakeMdm, mdmAt } from './fake-mdm.js'
import { deviceIds, idOf, MemoryState, mappingOf, pool, poolId, systemId, volumeOf } from './world.js'

const sdcId = idOf<'sdc'>(51) as SdcId

/** One SDC daemon, one MDM, no SDS. */
class Bench {
  readonly world = new SimWorld(1)
  readonly mdm = new FakeMdm(this.world.network.linkOf('mdm'), systemId, sdcId)
  readonly state = new MemoryState()
  readonly kernel = new FakeKernel()
  readonly closedExports: string[] = []
  closeExport: (backend: BlockBackend) => Promise<void> = () => Promise.resolve()
  config: SdcConfig = {
    name: 'sdc-1',
    mdm: [mdmAt],
    directory: '/nowhere',
    systemId: null,
    nbdSocket: '/run/nbd.sock',
    nbdListen: null,
    nbdInsecure: false,
    kernel: 'off',
    nbdConnections: 1,
    ioTimeoutMs: null,
    logLevel: 'info',
    metricsListen: null,
  }

  async open(config: Partial<SdcConfig> = {}): Promise<this> {
    this.config = { ...this.config, ...config }
    await this.mdm.start()
    const slices = [0, 1, 2, 3].map(slice => ({
      slice,
      epoch: 1,
      primary: deviceIds[0]!,
      secondary: null,
      joining: null,
      lossEpoch: 0,
    }))
    this.mdm.commit([{ kind: 'put', table: 'pools', value: pool }, { kind: 'slices', poolId, slices }, ...mapped()])
    return this
  }

  start(): Promise<SdcDaemon> {
    const ports = {
      ...this.world.portsOf('sdc'),
      kernelNbd: this.kernel.refusal === 'none' ? noKernelNbd : this.kernel,
    }
    const listener: NbdListener = {
      port: 10_809,
      connections: () => 0,
      closeExport: backend => {
        this.closedExports.push(backend.name)
        return this.closeExport(backend)
      },
      close: () => Promise.resolve(),
    }
    return startSdc(this.config, ports, {
      state: this.state,
      listen: async () => listener,
      openStream: fd => this.kernel.ends.get(fd)!,
    })
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return this.world.clock.finish(promise)
  }
}

const mapped = (volume: Partial<Volume> = {}, mapping: Partial<Mapping> = {}): MapChange[] => [
  { kind: 'put', table: 'volumes', value: { ...volumeOf(31), ...volume } },
  { kind: 'put', table: 'mappings', value: { ...mappingOf(41), ...mapping } },
]
const unmapped: MapChange[] = [{ kind: 'drop', table: 'mappings', id: idOf(41) }]

t.test('the SDC registers, exports what is mapped to it, and says where', async t => {
  const bench = await new Bench().open()
  const daemon = await bench.run(bench.start())
  t.same(
    daemon.exports.list().map(({ name, sizeBytes, readOnly }) => [name, sizeBytes, readOnly]),
    [['vol31', 8 * GiB, false]],
  )
  await bench.world.clock.runFor(100)
  t.same(bench.mdm.status, [
    { volumeId: idOf(31), uri: 'nbd+unix:///vol31?socket=/run/nbd.sock', device: null, error: null },
  ])
  t.equal(bench.mdm.acks.at(-1), bench.mdm.map.version)
  t.ok(daemon.metrics().some(({ name }) => name === 'blockmesh_sdc_reads_total'))
  await bench.run(daemon.stop())
  await bench.run(daemon.stop())
})

t.test('growing, renaming and new limits are seen without a reconnect', async t => {
  const bench = await new Bench().open()
  const daemon = await bench.run(bench.start())
  const before = daemon.exports.find('vol31')
  bench.mdm.commit(mapped({ name: 'renamed', sizeBytes: 16 * GiB }, { iopsLimit: 100 }))
  await bench.world.clock.runFor(10)
  t.equal(daemon.exports.find('vol31'), undefined)
  const after = daemon.exports.find('renamed')
  t.equal(after, before, 'the same backend: its connections stay')
  t.equal(after?.sizeBytes, 16 * GiB)
  await bench.world.clock.runFor(100)
  t.equal(bench.mdm.status[0]?.uri, 'nbd+unix:///renamed?socket=/run/nbd.sock')
  await bench.run(daemon.stop())
})

t.test('a volume that is unmapped is acknowledged when its clients are gone, not before', async t => {
  const bench = await new Bench().open()
  const daemon = await bench.run(bench.start())
  let close = () => {}
  bench.closeExport = () => new Promise(resolve => (close = resolve))
  const version = bench.mdm.commit(unmapped)
  await bench.world.clock.runFor(100)
  t.same(daemon.exports.list(), [])
  t.same(bench.closedExports, ['vol31'])
  bench.mdm.commit([])
  await bench.world.clock.runFor(100)
  t.equal(bench.mdm.acks.at(-1), version - 1)
  close()
  await bench.world.clock.runFor(100)
  t.equal(bench.mdm.acks.at(-1), version + 1)
  t.same(
    bench.state.list().filter(name => name.startsWith('flush')),
    [],
    'its notes are gone',
  )
  await bench.run(daemon.stop())
})

t.test('the identity outlives the process, the process id does not', async t => {
  const bench = await new Bench().open()
  const first = await bench.run(bench.start())
  await bench.run(first.stop())
  const second = await bench.run(bench.start())
  const [before, after] = bench.mdm.registrations
  t.equal(before?.guid, after?.guid)
  t.not(before?.processId, after?.processId)
  await bench.run(second.stop())
})

t.test('notes of mappings that went while the SDC was away are removed', async t => {
  const bench = await new Bench().open()
  const first = await bench.run(bench.start())
  await bench.run(first.stop())
  t.ok(bench.state.list().includes(`flush-${idOf(31)}`))
  bench.mdm.commit(unmapped)
  const second = await bench.run(bench.start())
  t.notOk(bench.state.list().includes(`flush-${idOf(31)}`))
  await bench.run(second.stop())
})

t.test('an SDC of another system does not start', async t => {
  const bench = await new Bench().open()
  const first = await bench.run(bench.start())
  await bench.run(first.stop())
  bench.state.write('system', '0123456789abcdef\n')
  await t.rejects(bench.run(bench.start()), { code: 'WRONG_SYSTEM' })
  bench.config = { ...bench.config, systemId: systemId }
  await t.rejects(bench.run(bench.start()), { code: 'WRONG_SYSTEM', message: /0123456789abcdef/ })
})

t.test('a newer process of the same SDC ends this one', async t => {
  const bench = await new Bench().open()
  const old = await bench.run(bench.start())
  const next = await bench.run(bench.start())
  const error = await bench.run(old.failed!)
  t.match(error, { code: 'NO_SESSION' })
  await bench.run(old.stop())
  await bench.run(next.stop())
})

/** Slice 0 is written and flushed; returns how to read what the file says of it. */
function flushedOnce(bench: Bench, daemon: SdcDaemon): () => number {
  const { notes } = daemon.exports.find('vol31') as VolumeClient
  notes.note(0, 1)
  const covered = notes.dirty.beginFlush(false)
  notes.dirty.finishFlush(new Uint32Array(4).fill(1))
  notes.flushed(covered)
  return () => bench.state.read(`flush-${idOf(31)}`)!.readUInt32BE(dirtyCellAt(4, 0))
}

t.test('an SDC that is stopped leaves a flush file that calls clean what is', async t => {
  const bench = await new Bench().open()
  const daemon = await bench.run(bench.start())
  const cellNow = flushedOnce(bench, daemon)
  t.equal(cellNow(), 1, 'the slice may be written again')
  await bench.run(daemon.stop())
  t.equal(cellNow(), cleanEpoch)
})

t.test('an SDC that a newer process ends leaves the flush file alone', async t => {
  const bench = await new Bench().open()
  const old = await bench.run(bench.start())
  const cellNow = flushedOnce(bench, old)
  const next = await bench.run(bench.start())
  await bench.run(old.failed)
  await bench.run(old.stop())
  t.equal(cellNow(), 1)
  await bench.run(next.stop())
})

t.test('without an MDM the SDC starts, and serves when one comes', async t => {
  const bench = new Bench()
  const daemon = await bench.run(bench.start())
  t.same(daemon.exports.list(), [])
  await bench.open()
  await bench.world.clock.runFor(5_000)
  t.equal(daemon.exports.list().length, 1)
  await bench.run(daemon.stop())
})

t.test('doors: TCP needs nbd.insecure, and there must be one', async t => {
  const bench = await new Bench().open()
  bench.config = { ...bench.config, nbdListen: { host: '127.0.0.1', port: 0 } }
  await t.rejects(bench.start(), { code: 'CONFIGURATION', message: /nbd\.insecure/ })
  bench.config = { ...bench.config, nbdListen: null, nbdSocket: null }
  await t.rejects(bench.start(), { code: 'CONFIGURATION', message: /no door/ })
  bench.config = { ...bench.config, nbdSocket: null, nbdListen: { host: '::1', port: 0 }, nbdInsecure: true }
  const daemon = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.equal(bench.mdm.status[0]?.uri, 'nbd://[::1]:10809/vol31')
  await bench.run(daemon.stop())
})

t.test('kernel: a mapped volume is attached, resized, and detached when it is unmapped', async t => {
  const bench = await new Bench().open({ kernel: 'on' })
  const daemon = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.equal(bench.mdm.status[0]?.device, '/dev/nbd0')
  bench.mdm.commit(mapped({ sizeBytes: 16 * GiB }))
  await bench.world.clock.runFor(100)
  const version = bench.mdm.commit(unmapped)
  await bench.world.clock.runUntil(() => bench.mdm.acks.includes(version))
  t.same(bench.kernel.calls, [`attach emc-vol-${systemId}-${idOf(31)}`, `resize nbd0 ${16 * GiB}`, 'detach nbd0'])
  await bench.run(daemon.stop())
})

t.test('kernel: a stop leaves the device, the next process takes it over and brings it to its size', async t => {
  const bench = await new Bench().open({ kernel: 'on', nbdConnections: 2 })
  const first = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  await bench.run(first.stop())
  t.equal(bench.kernel.devices.size, 1)
  bench.mdm.commit(mapped({ sizeBytes: 24 * GiB }))
  const second = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.same(bench.kernel.calls.slice(1), ['reconfigure nbd0', `resize nbd0 ${24 * GiB}`])
  t.equal(bench.mdm.status[0]?.device, '/dev/nbd0')
  await bench.run(second.stop())
})

t.test('kernel: a device whose mapping went while the SDC was away is detached', async t => {
  const bench = await new Bench().open({ kernel: 'on' })
  const first = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  await bench.run(first.stop())
  bench.mdm.commit(unmapped)
  const second = await bench.run(bench.start())
  t.equal(bench.kernel.devices.size, 0)
  await bench.run(second.stop())
})

t.test('kernel: a device that another SDC of this host has attached is left alone', async t => {
  const bench = await new Bench().open({ kernel: 'on' })
  await bench.kernel.attach({
    sizeBytes: 8 * GiB,
    blockBytes: 4096,
    transmissionFlags: 0,
    connections: 1,
    deadConnectionTimeoutMs: 1,
    index: null,
    identifier: `emc-vol-${systemId}-${idOf(31)}`,
  })
  const daemon = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.match(bench.mdm.status[0], { device: null, error: /somebody else/ })
  await bench.run(daemon.stop())
  t.equal(bench.kernel.devices.size, 1)
})

t.test('kernel: when the driver hangs up, the device is taken over again', async t => {
  const bench = await new Bench().open({ kernel: 'on' })
  const daemon = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  bench.kernel.devices.get(0)!.sockets[0]!.destroy()
  await bench.world.clock.runFor(10_000)
  t.same(bench.kernel.calls.slice(1), ['reconfigure nbd0'])
  t.equal(bench.mdm.status[0]?.device, '/dev/nbd0')
  await bench.run(daemon.stop())
})

t.test('kernel: without the driver, on refuses to start, auto serves the socket', async t => {
  const bench = await new Bench().open({ kernel: 'on' })
  bench.kernel.refusal = 'run modprobe nbd'
  const error = await bench.start().catch((reason: unknown) => reason)
  t.ok(error instanceof StorageError)
  t.match(error, { code: 'CONFIGURATION', message: /run modprobe nbd/ })
  bench.config = { ...bench.config, kernel: 'auto' }
  const daemon = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.match(bench.mdm.status[0], { device: null, error: null })
  await bench.run(daemon.stop())
  bench.config = { ...bench.config, nbdSocket: null }
  const without = await bench.run(bench.start())
  await bench.world.clock.runFor(100)
  t.match(bench.mdm.status[0], { uri: '', device: null, error: 'run modprobe nbd' })
  await bench.run(without.stop())
})
