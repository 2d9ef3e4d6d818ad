import { join } from 'node:path'
import { StorageError } from '../base/errors.js'
import type { DeviceId, SystemId } from '../base/ids.js'
import { roleOf } from '../core/sds/index.js'
import type { Disk, Ports } from '../ports/index.js'
import type { SdsAnswers, SdsRequests } from '../wire/control.js'
import type { SdsContext } from './context.js'
import { OwnDevice } from './own-device.js'
import { until } from './stop.js'
import { createDevice, type DeviceIdentity, identify, openDevice, releaseDevice } from './store/index.js'

/** How long a reset waits for the map of the MDM that asks for it. */
const mapWaitMs = 5_000

export interface ShelfOptions {
  context: SdsContext
  ports: Ports
  stateDirectory: string
  searchPlaces: readonly string[]
  direct: boolean
  onOpened(device: OwnDevice): void
  onClosed(device: OwnDevice): void
}

/** Finds devices by what is written on them, never by their path, and opens, initialises and releases them. */
export class DeviceShelf {
  /** Why a device could not be opened, for people. */
  readonly problems = new Map<DeviceId, string>()
  readonly #noted = new Map<string, string>()
  readonly #indexDirectory: string
  /** One job at a time: a disk is open once. */
  #jobs: Promise<unknown> = Promise.resolve()

  constructor(readonly options: ShelfOptions) {
    this.#indexDirectory = join(options.stateDirectory, 'index')
  }

  /** Opens every device of this system among the search places and `paths`. */
  look(paths: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#look(paths))
  }

  prepare(params: SdsRequests['prepareDevice']): Promise<SdsAnswers['prepareDevice']> {
    return this.#inTurn(() => this.#prepare(params))
  }

  reset(params: SdsRequests['resetDevice']): Promise<SdsAnswers['resetDevice']> {
    return this.#inTurn(() => this.#reset(params))
  }

  grow(deviceId: DeviceId): Promise<SdsAnswers['growDevice']> {
    return this.#inTurn(() => this.#grow(deviceId))
  }

  /** Closes the device and clears its label; nothing where it is not open, or not any more. */
  release(deviceId: DeviceId): Promise<SdsAnswers['releaseDevice']> {
    return this.#inTurn(() => this.#release(deviceId))
  }

  /** Waits for what is under way. */
  settled(): Promise<void> {
    return this.#inTurn(async () => {})
  }

  #inTurn<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#jobs.then(job)
    this.#jobs = result.catch(() => {})
    return result
  }

  async #look(paths: readonly string[]): Promise<void> {
    const { context, ports, searchPlaces } = this.options
    if (context.systemId === null || context.isStopping) return
    const candidates = new Set([...(await ports.disks.candidates(searchPlaces)), ...paths])
    const found = new Map<DeviceId, Disk[]>()
    for (const path of candidates) {
      if ([...context.devices.values()].some(device => device.store.path === path)) continue
      const disk = await this.#openIfOurs(path)
      if (disk !== null) found.set(disk.identity.deviceId, [...(found.get(disk.identity.deviceId) ?? []), disk.disk])
    }
    for (const [deviceId, disks] of found) await this.#open(deviceId, disks)
  }

  async #openIfOurs(path: string): Promise<{ disk: Disk; identity: DeviceIdentity } | null> {
    let disk: Disk | null = null
    try {
      disk = await this.options.ports.disks.open(path, { direct: this.options.direct })
      const identity = await identify(disk)
      if (identity !== null && identity.systemId === this.options.context.systemId) return { disk, identity }
      if (identity !== null)
        this.#note(path, 'sds.device-foreign', `it belongs to system ${identity.systemId}; it is left alone`)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.code !== 'NOT_FOUND') this.#note(path, 'sds.device-refused', error.message)
    }
    await disk?.close()
    return null
  }

  async #open(deviceId: DeviceId, disks: Disk[]): Promise<void> {
    const { context } = this.options
    const alreadyOpen = context.devices.get(deviceId)
    const paths = [...(alreadyOpen ? [alreadyOpen.store.path] : []), ...disks.map(disk => disk.path)]
    if (paths.length > 1) {
      for (const disk of disks) await disk.close()
      const detail = `${paths.join(' and ')} are both device ${deviceId}`
      const remedy = 'remove the one that is a copy of the other, then start again'
      if (alreadyOpen === undefined)
        this.problems.set(deviceId, new StorageError('DEVICE_BUSY', { detail, remedy }).message)
      this.#note(deviceId, 'sds.device-twice', `${detail}; ${remedy}`)
      return
    }
    const disk = disks[0]!
    try {
      await this.#take(disk)
    } catch (error) {
      await disk.close()
      if (!(error instanceof StorageError)) throw error
      this.problems.set(deviceId, error.message)
      this.#note(disk.path, 'sds.device-refused', error.message)
    }
  }

  /** Opens the store on an open disk. */
  async #take(disk: Disk): Promise<OwnDevice> {
    const { context, ports, onOpened } = this.options
    const store = await openDevice({
      ...this.#place(disk),
      bootId: ports.bootId,
      clock: ports.clock,
      onFailed: reason => {
        context.log.error('sds.device-failed', { path: disk.path, reason })
        context.reportDevices()
        context.devices.get(store.deviceId)?.callBackLanes()
      },
      onUnreserved: error => context.log.warn('sds.index-unreserved', { path: disk.path, reason: error.message }),
    })
    const device = new OwnDevice(store, context.passes, context.writePasses)
    context.devices.set(device.id, device)
    this.problems.delete(device.id)
    const { cleanStop, sameBoot } = store.opened
    context.log.info('sds.device-opened', { deviceId: device.id, path: store.path, cleanStop, sameBoot })
    onOpened(device)
    return device
  }

  async #prepare({ deviceId, systemId, path, sizeBytes, force }: SdsRequests['prepareDevice']) {
    const { context, ports, direct } = this.options
    if (context.systemId !== systemId)
      throw new StorageError('WRONG_SYSTEM', { have: systemId, want: context.systemId ?? 'none' })
    let device = context.devices.get(deviceId as DeviceId)
    if (device === undefined) {
      const disk = await ports.disks.open(path, sizeBytes === null ? { direct } : { direct, createBytes: sizeBytes })
      try {
        await createDevice({ ...this.#place(disk), deviceId: deviceId as DeviceId, bootId: ports.bootId, force })
        device = await this.#take(disk)
      } catch (error) {
        await disk.close()
        throw error
      }
      // Nothing is on it that could be void: the MDM knows it from our answer.
      device.registered = true
    }
    return { capacityBytes: device.store.capacityBytes, path: device.store.path }
  }

  /** Only what is this very device, or blank, is taken: another disk may have come to be found at its path. */
  async #reset({ deviceId, systemId, path }: SdsRequests['resetDevice']): Promise<SdsAnswers['resetDevice']> {
    const { context, ports, direct } = this.options
    if (context.systemId !== systemId)
      throw new StorageError('WRONG_SYSTEM', { have: systemId, want: context.systemId ?? 'none' })
    await this.#unneeded(deviceId as DeviceId)
    const open = context.devices.get(deviceId as DeviceId)
    if (open !== undefined) await this.#close(open)
    const disk = await ports.disks.open(open?.store.path ?? path, { direct })
    try {
      const force = (await identify(disk))?.deviceId === deviceId
      await createDevice({ ...this.#place(disk), deviceId: deviceId as DeviceId, bootId: ports.bootId, force })
      const device = await this.#take(disk)
      device.registered = true
      context.log.info('sds.device-reset', { deviceId, path: disk.path })
      return { capacityBytes: device.store.capacityBytes, path: disk.path }
    } catch (error) {
      await disk.close()
      throw error
    }
  }

  /** Resolves when the map here, which may be a little behind the MDM's, calls the device no copy of anything. */
  async #unneeded(deviceId: DeviceId): Promise<void> {
    const { context, ports } = this.options
    const isCopy = (): boolean => {
      for (const { records } of context.view.pools.values())
        if (records.some(record => roleOf(record, deviceId) !== 'none')) return true
      return false
    }
    if (await until(ports.clock, () => context.isServing && !isCopy(), mapWaitMs)) return
    throw new StorageError('NOT_READY', { detail: 'the map still calls the device a copy of some data', deviceId })
  }

  async #grow(deviceId: DeviceId): Promise<SdsAnswers['growDevice']> {
    const { store } = this.#openDevice(deviceId)
    const beforeBytes = store.capacityBytes
    await store.grow()
    const { capacityBytes, path } = store
    if (capacityBytes > beforeBytes)
      this.options.context.log.info('sds.device-grown', { deviceId, path, beforeBytes, capacityBytes })
    return { capacityBytes }
  }

  knownCopies(deviceId: DeviceId): SdsAnswers['knownCopies'] {
    const { store } = this.#openDevice(deviceId)
    return {
      copies: store.knownEpochs().map(({ pool, slice, epoch, inSync }) => [pool, slice, epoch, inSync ? 1 : 0]),
      volumes: store.volumes(),
    }
  }

  #openDevice(deviceId: DeviceId): OwnDevice {
    const device = this.options.context.devices.get(deviceId)
    if (device) return device
    throw new StorageError('NOT_FOUND', { detail: 'this SDS has no such device open', deviceId })
  }

  async #close(device: OwnDevice): Promise<void> {
    this.options.context.devices.delete(device.id)
    this.options.context.passes.voidAll()
    this.options.onClosed(device)
    device.callBackLanes()
    await new Promise<void>(resolve => device.whenIdle(resolve))
    await device.store.close()
    device.readsByPass.close()
    device.writesByPass.close()
  }

  async #release(deviceId: DeviceId): Promise<SdsAnswers['releaseDevice']> {
    const { context, ports, direct } = this.options
    const device = context.devices.get(deviceId)
    if (device === undefined) return {}
    await this.#close(device)
    const disk = await ports.disks.open(device.store.path, { direct })
    try {
      await releaseDevice({ ...this.#place(disk), deviceId })
    } finally {
      await disk.close()
    }
    context.log.info('sds.device-released', { deviceId, path: device.store.path })
    return {}
  }

  #place(disk: Disk) {
    const systemId = this.options.context.systemId as SystemId
    return { disk, metaStores: this.options.ports.metaStores, indexDirectory: this.#indexDirectory, systemId }
  }

  /** Says a thing once, not at every look. */
  #note(about: string, event: string, reason: string): void {
    if (this.#noted.get(about) === reason) return
    this.#noted.set(about, reason)
    this.options.context.log.error(event, { about, reason })
  }
}
