import { StorageError } from '../base/errors.js'
import { type DeviceId, numberOfId, type SdcId, type SystemId } from '../base/ids.js'
import type { SdcConfig } from '../config/sdc.js'
import { openStateDirectory } from '../io/state-directory.js'
import { type MdmClient, openMdmClient } from '../mdm-client/index.js'
import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Clock, Daemon, Link, Log, MetricSample, Ports, Relay, StateDirectory } from '../ports/index.js'
import type { MdmNotices } from '../wire/control.js'
import { DataPath, type DataPathHost } from './data-path.js'
import { checkDoors, Doors } from './doors.js'
import { Exports } from './exports.js'
import { SdcIdentity } from './identity.js'
import { KernelDoor } from './kernel-door.js'
import { KernelRecord } from './kernel-record.js'
import { MapAcks } from './map-acks.js'
import { sdcMetrics } from './metrics.js'
import { type ExportTable, listenNbd, streamOfSocketFd } from './nbd/index.js'
import { ReachReports } from './reach-reports.js'
import type { VolumeClient } from './volume-client.js'

/** What a test replaces. */
export interface SdcOptions {
  state?: StateDirectory
  listen?: typeof listenNbd
  openStream?: typeof streamOfSocketFd
}

export interface SdcDaemon extends Daemon {
  readonly exports: ExportTable
  readonly failed: Promise<Error>
}

/** How long a start waits for the MDM before it goes on in the background. */
const startWaitMs = 10_000
/** How long a stop waits for requests under way when their clients have gone. */
const stopWaitMs = 5_000

/**
 * Starts the SDC. Resolves when its volumes are served, or after a while without an MDM: it goes on trying. Rejects where
 * the configuration or the system refuses it.
 */
export async function startSdc(config: SdcConfig, ports: Ports, options: SdcOptions = {}): Promise<SdcDaemon> {
  checkDoors(config)
  const noKernel = config.kernel === 'off' ? null : ports.kernelNbd.unavailable()
  if (config.kernel === 'on' && noKernel !== null)
    throw new StorageError('CONFIGURATION', {
      detail: `kernel is on, and /dev/nbdX devices cannot be made here: ${noKernel}`,
      remedy: 'load the module, or write kernel: auto',
    })
  const daemon = new RunningSdc(config, ports, options, noKernel)
  try {
    await daemon.start()
    return daemon
  } catch (error) {
    await daemon.stop()
    throw error
  }
}

class RunningSdc implements SdcDaemon, DataPathHost {
  readonly clock: Clock
  readonly link: Link
  readonly log: Log
  readonly relay: Relay
  readonly failed: Promise<Error>
  readonly exports: Exports
  readonly #identity: SdcIdentity
  readonly #mdm: MdmClient
  readonly #path: DataPath
  readonly #doors: Doors
  readonly #acks: MapAcks
  readonly #reach: ReachReports
  #kernel: KernelDoor | null = null
  #registered: { sdcId: SdcId; incarnation: number } | null = null
  #serving = false
  #end: (error: Error) => void = () => {}
  #endedBy: Error | null = null
  #stopping: Promise<void> | null = null
  #statusDue = false

  constructor(
    readonly config: SdcConfig,
    readonly ports: Ports,
    readonly options: SdcOptions,
    readonly noKernel: string | null,
  ) {
    const { clock, link, log, random, bootId, relay } = ports
    this.clock = clock
    this.link = link
    this.log = log
    this.relay = relay
    const state = options.state ?? openStateDirectory(config.directory)
    this.#identity = new SdcIdentity(state, random, config)
    this.#path = new DataPath(this)
    this.exports = new Exports({ path: this.#path, state, log, bootId, ioTimeoutMs: config.ioTimeoutMs })
    this.#doors = new Doors(config)
    this.#acks = new MapAcks(version => this.#mdm.notice('mapAck', { version }))
    this.#reach = new ReachReports(this, this.#path, report => this.#mdm.notice('sdcReach', report))
    this.failed = new Promise(resolve => {
      this.#end = resolve
    })
    this.#mdm = openMdmClient({
      addresses: config.mdm,
      role: 'sdc',
      name: config.name,
      systemId: this.#identity.systemId,
      clock,
      link,
      log,
      onConnected: client => this.#register(client),
      onMap: () => this.#onMap(),
      onRefused: error => this.#fail(error),
    })
    this.state = state
  }
  readonly state: StateDirectory

  // ---- starting

  async start(): Promise<void> {
    this.#mdm.start()
    this.#reach.start()
    const served = this.#serve()
    const failed = this.failed.then(error => Promise.reject(error))
    served.catch(error => this.#fail(error instanceof Error ? error : new Error(String(error))))
    const waited = new Promise<void>(resolve => this.clock.setTimer(startWaitMs, resolve))
    await Promise.race([served, failed, waited])
    failed.catch(() => {})
    if (!this.#serving) this.log.warn('sdc.waitsForMdm', { mdm: this.config.mdm.map(at => `${at.host}:${at.port}`) })
  }

  /** The first map, then the doors: a client that comes back finds its export. */
  async #serve(): Promise<void> {
    await this.#mdm.subscribe()
    if (this.#stopping !== null) return
    this.#openKernelDoor()
    this.#serving = true
    this.#follow()
    await this.#doors.open(this.options.listen ?? listenNbd, this.exports, { clock: this.clock, log: this.log })
    const left = this.exports.removeLeftNotes()
    if (left.length > 0) this.log.info('flush.filesRemoved', { volumeIds: left })
    await this.#kernel?.detachLeft()
    this.#statusSoon()
  }

  #openKernelDoor(): void {
    if (this.config.kernel === 'off') return
    if (this.noKernel !== null) {
      this.log.warn('kernel.unavailable', { reason: this.noKernel })
      return
    }
    this.#kernel = new KernelDoor({
      kernel: this.ports.kernelNbd,
      record: new KernelRecord(this.state, this.ports.bootId),
      clock: this.clock,
      log: this.log,
      systemId: this.#identity.systemId!,
      connections: this.config.nbdConnections,
      openStream: this.options.openStream ?? streamOfSocketFd,
      onChange: () => this.#statusSoon(),
    })
  }

  async #register(client: MdmClient): Promise<void> {
    const { guid, processId } = this.#identity
    const before = this.#registered
    this.#registered = await client.request('registerSdc', { guid, processId, name: this.config.name })
    if (before !== null && before.sdcId !== this.#registered.sdcId) this.#path.renumbered()
    this.#identity.join(client.systemId as SystemId)
    this.log.info('sdc.registered', this.#registered)
    this.#acks.repeat()
    this.#sendStatus()
  }

  // ---- following the map

  #onMap(): void {
    if (this.#endedBy !== null) return
    if (this.#stopping !== null) {
      // No new exports; but what is still under way has to find its primary.
      this.#path.onMapChange()
      for (const volume of this.exports.volumes) volume.onMapChange()
      return
    }
    const me = this.#registered && this.map.tables.sdcs.get(this.#registered.sdcId)
    if (me && me.incarnation > this.#registered!.incarnation) this.#superseded()
    else if (this.#serving) this.#follow()
  }

  #follow(): void {
    this.#path.onMapChange()
    const { opened, removed } = this.exports.follow(this.map, this.#registered!.sdcId)
    for (const volume of this.exports.volumes) this.#kernel?.follow(volume)
    for (const volume of opened) this.#kernel?.open(volume)
    this.#acks.reached(
      this.map.version,
      removed.map(volume => this.#closeVolume(volume)),
    )
    this.#statusSoon()
  }

  /** Resolves when nothing of the removed mapping is left. */
  async #closeVolume(volume: VolumeClient): Promise<void> {
    this.log.info('volume.unmapped', { volumeId: volume.volume.id, name: volume.name })
    const closed = volume.close()
    await Promise.all([closed, this.#doors.closeExport(volume), this.#kernel?.detach(volume)])
    volume.notes.remove()
    this.#statusSoon()
  }

  /** An SDS refuses this process; whether a newer one has taken over, the map will say. */
  onNoSession(deviceId: DeviceId): void {
    this.log.warn('sdc.noSession', { deviceId })
  }

  #superseded(): void {
    this.#fail(
      new StorageError('NO_SESSION', {
        detail: 'a newer process of this SDC has taken over',
        remedy: 'run one SDC for each state directory',
      }),
    )
  }

  #fail(error: Error): void {
    if (this.#endedBy !== null || this.#stopping !== null) return
    this.#endedBy = error
    this.log.error('sdc.ended', { reason: error.message })
    // Not answered here: the kernel keeps its requests for the newer process, clients see their connections end.
    this.#path.close()
    this.#end(error)
    void this.stop()
  }

  // ---- telling the MDM

  #statusSoon(): void {
    if (this.#statusDue) return
    this.#statusDue = true
    this.clock.endOfTurn(() => {
      this.#statusDue = false
      this.#sendStatus()
    })
  }

  #sendStatus(): void {
    if (!this.#serving || this.#stopping !== null) return
    const exports: MdmNotices['sdcStatus']['exports'] = []
    for (const volume of this.exports.volumes) {
      const kernel = this.#kernel?.stateOf(volume.volume.id)
      // Listed once there is something to use.
      if (kernel !== undefined && !kernel.settled) continue
      const uri = this.#doors.uriOf(volume.name)
      const device = kernel?.device ?? null
      // Where the kernel has no driver and nobody insists on it, the socket is all that was promised.
      const error = kernel?.error ?? (uri === '' && device === null ? this.noKernel : null)
      exports.push({ volumeId: volume.volume.id, uri, device, error })
    }
    this.#mdm.notice('sdcStatus', { exports })
  }

  // ---- what the data path asks

  get map(): ClusterMap {
    return this.#mdm.map
  }

  endpointOf(deviceId: DeviceId): Endpoint | null {
    const device = this.map.tables.devices.get(deviceId)
    return (device && this.map.tables.sdss.get(device.sdsId)?.endpoint) ?? null
  }

  hello() {
    const { sdcId, incarnation } = this.#registered!
    return { systemId: this.#identity.systemId!, client: numberOfId(sdcId), incarnation, mapVersion: this.map.version }
  }

  offerDeltas(deltas: MapDelta[]): void {
    this.#mdm.offerDeltas(deltas)
  }

  metrics(): MetricSample[] {
    return sdcMetrics(this.#path, this.exports.volumes, this.#mdm.connected)
  }

  // ---- stopping

  stop(): Promise<void> {
    this.#stopping ??= this.#stop()
    return this.#stopping
  }

  /** Clients get answers to what is under way; the kernel's devices stay, and wait for the next process. */
  async #stop(): Promise<void> {
    await Promise.all([this.#doors.close(), this.#kernel?.leave()])
    const volumes = [...this.exports.volumes]
    const idle = Promise.all(volumes.map(volume => volume.whenIdle()))
    if (this.#endedBy === null) await Promise.race([idle, this.#after(stopWaitMs)])
    this.#reach.close()
    this.#path.close()
    for (const { notes } of volumes) {
      // After a failure the file may be a newer process's by now.
      if (this.#endedBy === null) notes.settle()
      notes.close()
    }
    await this.#mdm.close()
  }

  #after(delayMs: number): Promise<void> {
    return new Promise(resolve => this.clock.setTimer(delayMs, resolve))
  }
}
