import { StorageError } from '../base/errors.js'
import { type DeviceId, numberOfId, type PoolId, type SdsId } from '../base/ids.js'
import { checkSdsConfig, type SdsConfig } from '../config/sds.js'
import { devicesOf, voidEpochs } from '../core/sds/index.js'
import { type MdmClient, openMdmClient } from '../mdm-client/index.js'
import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Daemon, MetricSample, Ports, Timer } from '../ports/index.js'
import type { MdmNotices, OpenedDevice, SdsRequests } from '../wire/control.js'
import { SdsContext } from './context.js'
import { DataEndpoint } from './data-endpoint.js'
import { DeviceShelf } from './device-shelf.js'
import { Drains } from './drains.js'
import { JoinedReports } from './joined-reports.js'
import { Leases } from './leases.js'
import { MapAcks } from './map-ack.js'
import { adoptRecords, applyMap } from './map-effects.js'
import { MarkClearing } from './mark-clearing.js'
import { sdsMetrics } from './metrics.js'
import type { OwnDevice } from './own-device.js'
import { Pruning } from './pruning.js'
import { Peers } from './replicas.js'
import { Resync } from './resync.js'
import { fullJoinings, unsoundSlices } from './slice-notes.js'
import { openState, type SdsState } from './state-store.js'
import { leadsAnother, stopDevices } from './stop.js'

const statusEveryMs = 1_000
const lookEveryMs = 5_000
/** An MDM that does not answer keeps nobody from stopping. */
const handOverMsMax = 6_000

/** Starts the data server of one host. It serves once an MDM has confirmed it; until then it is mute. */
export async function startSds(config: SdsConfig, ports: Ports): Promise<Daemon> {
  checkSdsConfig(config)
  if (config.ioMode === 'direct' && config.rmcacheBytes > 0) openReadCache(config.rmcacheBytes, ports)
  const state = await openState(ports, config.directory, config.systemId)
  const earlierLeaseMs = await state.noteLease(config.leaseTimeoutMs)
  const sds = new SdsDaemon(config, ports, state, earlierLeaseMs)
  try {
    await sds.start()
  } catch (error) {
    await sds.stop()
    throw error
  }
  return sds
}

function openReadCache(bytes: number, { readPasses }: Ports): void {
  try {
    readPasses.keepInMemory(bytes)
  } catch (cause) {
    const detail = `there is no RAM read cache of ${bytes} bytes to be had`
    throw new StorageError('CONFIGURATION', { detail, remedy: 'make rmcache.size smaller' }, { cause })
  }
}

class SdsDaemon implements Daemon {
  readonly failed: Promise<Error>
  readonly #context: SdsContext
  readonly #shelf: DeviceShelf
  readonly #endpoint: DataEndpoint
  readonly #mdm: MdmClient
  readonly #acks: MapAcks
  readonly #reports: JoinedReports
  readonly #resyncs = new Map<DeviceId, Resync>()
  /** By device: what goes on in the background. */
  readonly #chores = new Map<DeviceId, { close(): void }[]>()
  readonly #processId: string
  #fail: (error: Error) => void = () => {}
  #listening: Endpoint | null = null
  #status: Timer | null = null
  #search: Timer | null = null
  #stopped: Promise<void> | null = null
  #isReportDue = false

  constructor(
    readonly config: SdsConfig,
    readonly ports: Ports,
    readonly state: SdsState,
    earlierLeaseMs: number,
  ) {
    const { clock, link, log, random, readPasses, writePasses } = ports
    this.failed = new Promise(resolve => {
      this.#fail = resolve
    })
    this.#processId = random.hex(16)
    this.#context = new SdsContext(clock, link, log, readPasses, writePasses)
    this.#context.systemId = state.systemId
    this.#context.tables = () => this.#mdm.map.tables
    this.#context.takeChanges = deltas => void this.#mdm.offerDeltas(deltas)
    this.#context.reportDevices = () => this.#reportSoon()
    const { leaseTimeoutMs: leaseMs, leaseHeartbeatMs: heartbeatMs } = config
    this.#context.leases = new Leases(
      this.#context,
      { leaseMs, heartbeatMs, earlierLeaseMs },
      () => this.#mayAct(),
      unreachable => this.#alive(unreachable),
    )
    this.#context.drains = new Drains(this.#context, () => this.#endpoint.unpark())
    this.#context.peers = new Peers(
      this.#context,
      deviceId => this.#endpointOf(deviceId),
      () => this.#peerUp(),
    )
    this.#endpoint = new DataEndpoint(this.#context)
    this.#shelf = new DeviceShelf({
      context: this.#context,
      ports,
      stateDirectory: config.directory,
      searchPlaces: config.deviceSearch,
      direct: config.ioMode === 'direct',
      onOpened: device => this.#opened(device),
      onClosed: device => this.#closed(device),
    })
    this.#mdm = openMdmClient({
      addresses: config.mdm,
      role: 'sds',
      name: config.name,
      systemId: state.systemId,
      clock,
      link,
      log,
      onConnected: () => this.#connected(),
      onMap: (map, deltas, whole) => this.#mapped(map, deltas, whole),
      onRequest: (name, params) => this.#serve(name, params),
      onAdopted: () => this.#registerAgain(),
      onRefused: error => this.#fail(error),
    })
    this.#acks = new MapAcks(version => this.#mdm.notice('mapAck', { version }))
    this.#reports = new JoinedReports(this.#context, this.#mdm)
  }

  async start(): Promise<void> {
    await this.#shelf.look(this.state.devicePaths)
    this.#listening = await this.#endpoint.listen(this.config.listen)
    const { hasLocalDoor } = this.#endpoint
    const fields = { name: this.config.name, endpoint: this.#listening, hasLocalDoor, guid: this.state.guid }
    this.ports.log.info('sds.started', fields)
    this.#mdm.start()
    this.#context.leases.start()
    this.#report()
  }

  metrics(): MetricSample[] {
    return sdsMetrics(this.#context, this.#endpoint, this.#resyncs)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    await this.#handOver()
    this.#context.isStopping = true
    this.#status?.cancel()
    this.#search?.cancel()
    await this.#shelf.settled()
    for (const resync of this.#resyncs.values()) resync.close()
    for (const chores of this.#chores.values()) for (const chore of chores) chore.close()
    this.#reports.close()
    await stopDevices(this.#context, this.#endpoint)
    this.#context.leases.close()
    await this.#mdm.close()
    await this.state.close()
    this.ports.log.info('sds.stopped', { name: this.config.name })
  }

  /** What this SDS leads goes to the other copies before it drains, so that nobody waits for them to be promoted. */
  async #handOver(): Promise<void> {
    const { isServing, incarnation } = this.#context
    if (!isServing || !this.#mdm.connected || !leadsAnother(this.#context, this.#mdm.map)) return
    await this.#mdm
      .request('handOver', { incarnation }, { timeoutMs: handOverMsMax })
      .catch(error => this.ports.log.warn('sds.roles-kept', { reason: String(error) }))
  }

  // --- Registration.

  async #connected(): Promise<void> {
    const systemId = this.#mdm.systemId
    if (systemId !== null && this.#context.systemId === null) {
      await this.state.learnSystem(systemId)
      this.#context.systemId = systemId
      await this.#shelf.look(this.state.devicePaths)
    } else if (systemId !== null) await this.state.learnSystem(systemId)
    await this.#register()
  }

  async #register(): Promise<void> {
    const listed = [...this.#context.devices.values()]
    const answer = await this.#mdm.request('registerSds', {
      guid: this.state.guid,
      processId: this.#processId,
      endpoint: this.#listening!,
      devices: listed.map(openedDevice),
    })
    if (answer === null) {
      this.ports.log.info('sds.not-added', { name: this.config.name, endpoint: this.#listening })
      return
    }
    this.#identified(answer)
    for (const device of listed) this.#confirmed(device)
    await this.#mdm.subscribe()
    this.#acks.repeat()
    this.#updateServing()
  }

  #identified({ sdsId, incarnation }: { sdsId: SdsId; incarnation: number }): void {
    const context = this.#context
    const isAnother = context.sdsId !== null && context.sdsId !== sdsId
    context.sdsId = sdsId
    context.number = numberOfId(sdsId)
    context.incarnation = incarnation
    if (!isAnother) return
    context.peers.renumbered()
    context.leases.renumbered()
  }

  #confirmed(device: OwnDevice): void {
    if (device.registered) return
    device.registered = true
    const { map } = this.#mdm
    if (!device.store.opened.cleanStop && map.version > 0) device.voidEpochs = voidEpochs(map, device.id)
    adoptRecords(device, map, null)
  }

  #registerAgain(): void {
    if (!this.#mdm.connected || this.#context.isStopping) return
    this.#register().catch(error => this.ports.log.warn('sds.register-failed', { reason: String(error) }))
  }

  /** Mute until the map itself names this process as the current one. */
  #updateServing(): void {
    const { sdsId, incarnation } = this.#context
    const sds = sdsId === null ? undefined : this.#mdm.map.tables.sdss.get(sdsId)
    const isServing = sds?.processId === this.#processId && sds.incarnation === incarnation
    if (isServing === this.#context.isServing) return
    this.#context.isServing = isServing
    this.ports.log.info(isServing ? 'sds.serving' : 'sds.mute', { sdsId, incarnation, version: this.#mdm.map.version })
    if (!isServing) {
      this.#context.passes.voidAll()
      this.#context.callBackLanes()
      return
    }
    this.#context.leases.serving()
    for (const resync of this.#resyncs.values()) resync.update()
    this.#endpoint.unpark()
  }

  #mapped(map: ClusterMap, deltas: MapDelta[], whole: boolean): void {
    applyMap(this.#context, this.#acks, map, deltas, whole)
    this.#updateServing()
    this.#context.peers.mapChanged()
    for (const resync of this.#resyncs.values()) resync.update()
    this.#endpoint.unpark()
    this.#releaseRemoved(map)
    this.#lookForMissing()
  }

  /** The master that removed a device may not have come to ask for it. */
  #releaseRemoved(map: ClusterMap): void {
    for (const device of this.#context.devices.values()) {
      const wasInMap = device.isInMap
      device.isInMap = map.tables.devices.has(device.id)
      if (!wasInMap || device.isInMap) continue
      this.#shelf
        .release(device.id)
        .catch(error => this.ports.log.warn('sds.device-not-released', { deviceId: device.id, reason: String(error) }))
    }
  }

  async #serve<N extends keyof SdsRequests>(name: N, params: SdsRequests[N]): Promise<unknown> {
    if (name === 'prepareDevice') return this.#shelf.prepare(params as SdsRequests['prepareDevice'])
    if (name === 'resetDevice') return this.#shelf.reset(params as SdsRequests['resetDevice'])
    if (name === 'growDevice') return this.#shelf.grow((params as SdsRequests['growDevice']).deviceId as DeviceId)
    if (name === 'knownCopies')
      return this.#shelf.knownCopies((params as SdsRequests['knownCopies']).deviceId as DeviceId)
    if (name === 'drainSlices') return this.#context.drains.drain(params as SdsRequests['drainSlices'])
    return this.#shelf.release((params as SdsRequests['releaseDevice']).deviceId as DeviceId)
  }

  /** Slices may be acted on that had to wait for a former primary. */
  #mayAct(): void {
    for (const resync of this.#resyncs.values()) resync.update()
    this.#endpoint.unpark()
  }

  #alive(unreachable: MdmNotices['sdsAlive']['unreachable']): void {
    const { sdsId, incarnation } = this.#context
    if (sdsId !== null) this.#mdm.notice('sdsAlive', { incarnation, unreachable })
  }

  // --- Devices.

  #opened(device: OwnDevice): void {
    const resync = new Resync(this.#context, device, (poolId: PoolId, joined) => this.#reports.add(poolId, joined))
    this.#resyncs.set(device.id, resync)
    const clearing = new MarkClearing(this.#context, device, this.config)
    this.#chores.set(device.id, [clearing, new Pruning(this.#context, device)])
    this.state.noteDevicePath(device.store.path)
    adoptRecords(device, this.#mdm.map, null)
  }

  #closed(device: OwnDevice): void {
    this.#resyncs.get(device.id)?.close()
    this.#resyncs.delete(device.id)
    for (const chore of this.#chores.get(device.id) ?? []) chore.close()
    this.#chores.delete(device.id)
    this.state.forgetDevicePath(device.store.path)
    this.#endpoint.endSessionsOf(device.id)
  }

  /** Devices of this SDS that the map has and we have not opened. */
  #missing(): { id: DeviceId; paths: string[] }[] {
    const { sdsId } = this.#context
    if (sdsId === null) return []
    return devicesOf(this.#mdm.map, sdsId).filter(({ id }) => !this.#context.devices.has(id))
  }

  #lookForMissing(): void {
    if (this.#search !== null || this.#missing().length === 0 || this.#context.isStopping) return
    this.#look()
  }

  #look(): void {
    const before = new Set(this.#context.devices.keys())
    const paths = this.#missing().flatMap(device => device.paths)
    this.#search = this.ports.clock.setTimer(lookEveryMs, () => {
      this.#search = null
      this.#lookForMissing()
    })
    this.#shelf.look(paths).then(
      () => {
        if ([...this.#context.devices.values()].some(device => !before.has(device.id) && !device.registered))
          this.#registerAgain()
      },
      error => this.ports.log.error('sds.look-failed', { reason: String(error) }),
    )
  }

  #endpointOf(deviceId: DeviceId): Endpoint | null {
    const { devices, sdss } = this.#mdm.map.tables
    const device = devices.get(deviceId)
    return (device && sdss.get(device.sdsId)?.endpoint) ?? null
  }

  #peerUp(): void {
    for (const resync of this.#resyncs.values()) resync.peerUp()
  }

  // --- Once a second.

  #report(): void {
    this.#status = this.ports.clock.setTimer(statusEveryMs, () => {
      this.#sendReport()
      this.#report()
    })
  }

  /** Many requests fail together; the MDM hears of it once. */
  #reportSoon(): void {
    if (this.#isReportDue) return
    this.#isReportDue = true
    this.ports.clock.endOfTurn(() => {
      this.#isReportDue = false
      this.#sendReport()
    })
  }

  #sendReport(): void {
    this.#mdm.notice('sdsStatus', { devices: [...this.#deviceReports()] })
  }

  *#deviceReports(): Generator<MdmNotices['sdsStatus']['devices'][number]> {
    for (const device of this.#context.devices.values()) {
      yield {
        deviceId: device.id,
        error: device.store.failed ?? device.failure,
        ...device.store.usage(),
        ...fillReport(this.#context, device, this.#resyncs.get(device.id)),
      }
    }
    for (const { id, paths } of this.#missing()) {
      const error = this.#shelf.problems.get(id) ?? `not found; it was last seen at ${paths.join(', ')}`
      const usage = { slotsTotal: 0, slotsUsed: 0, thinChunks: 0, thickChunks: 0 }
      yield { deviceId: id, error, ...usage, resyncChunksLeft: 0 }
    }
  }
}

function openedDevice({ store }: OwnDevice): OpenedDevice {
  const { deviceId, path, capacityBytes, opened } = store
  const volumeMax = store.volumes().reduce((max, volume) => Math.max(max, volume), 0)
  return { deviceId, path, capacityBytes, ...opened, epochMax: store.epochMax(), volumeMax }
}

/** What the device copies as primary. */
function fillReport(context: SdsContext, device: OwnDevice, resync: Resync | undefined) {
  const report = {
    resyncChunksLeft: resync?.chunksLeft ?? 0,
    resyncChunksTotal: resync?.chunksTotal ?? 0,
    resyncBytesCopied: resync?.bytesCopied ?? 0,
    resyncBytesByMarks: resync?.bytesByMarks ?? 0,
  }
  const joiningFull = fullJoinings(context, device)
  const unsound = unsoundSlices(context, device)
  return {
    ...report,
    ...(joiningFull.length > 0 ? { joiningFull } : {}),
    ...(unsound.length > 0 ? { unsound } : {}),
  }
}
