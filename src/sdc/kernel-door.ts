import { StorageError } from '../base/errors.js'
import { blockBytes } from '../base/units.js'
import type { Clock, KernelAttach, KernelDevice, KernelNbd, Log, Timer } from '../ports/index.js'
import type { KernelRecord } from './kernel-record.js'
import { type NbdConnection, type NbdStream, serveTransmission, transmissionFlagsOf } from './nbd/index.js'
import type { VolumeClient } from './volume-client.js'

export interface KernelDoorOptions {
  kernel: KernelNbd
  record: KernelRecord
  clock: Clock
  log: Log
  systemId: string
  /** Socket pairs of each device. */
  connections: number
  openStream(fd: number): NbdStream
  /** A device appeared or went, or something could not be done. */
  onChange(): void
}

/** How long the kernel keeps requests for an SDC that does not come back. */
const deadConnectionTimeoutMs = 30 * 24 * 3_600_000
const retryMs = 2_000

/** What the kernel shows as the device's backend, and udev makes its stable name of. */
export const kernelIdentifier = (systemId: string, volumeId: string): string => `emc-vol-${systemId}-${volumeId}`

/** The kernel's /dev/nbdX for every mapped volume. */
export class KernelDoor {
  readonly #devices = new Map<string, DeviceDoor>()

  constructor(readonly options: KernelDoorOptions) {}

  /** Attaches the volume, or takes its device over from the process before us. */
  open(volume: VolumeClient): void {
    const door = new DeviceDoor(this.options, volume)
    this.#devices.set(volume.volume.id, door)
    door.start()
  }

  /** The volume may have grown. Never waits: resizing freezes the queue until what is under way has been answered. */
  follow(volume: VolumeClient): void {
    this.#devices.get(volume.volume.id)?.follow()
  }

  /** The mapping is gone: resolves when the kernel has let go of the device, or will not. */
  async detach(volume: VolumeClient): Promise<void> {
    const door = this.#devices.get(volume.volume.id)
    if (door?.volume !== volume) return
    this.#devices.delete(volume.volume.id)
    await door.detach()
  }

  /** `settled`: the first attempt is over. */
  stateOf(volumeId: string): { device: string | null; error: string | null; settled: boolean } {
    const door = this.#devices.get(volumeId)
    return door === undefined ? { device: null, error: null, settled: true } : door.state
  }

  /** Detaches what an earlier process of this SDC attached and is no longer mapped. */
  async detachLeft(): Promise<void> {
    const { record, kernel, log, systemId } = this.options
    const left = record.volumeIds.filter(volumeId => !this.#devices.has(volumeId))
    if (left.length === 0) return
    const attached = await kernel.attached()
    for (const volumeId of left) {
      const identifier = kernelIdentifier(systemId, volumeId)
      try {
        for (const device of attached) if (device.identifier === identifier) await kernel.detach(device.index)
        record.remove(volumeId)
      } catch (error) {
        log.warn('kernel.notDetached', { volumeId, reason: String(error) })
      }
    }
  }

  /** Ends our side and leaves the devices: the kernel keeps requests until the next process takes them over. */
  async leave(): Promise<void> {
    await Promise.all([...this.#devices.values()].map(door => door.leave()))
  }
}

/** One volume's device. What is done to it, is done one after the other. */
class DeviceDoor {
  #device: KernelDevice | null = null
  #sizeBytes = 0
  #error: string | null = null
  #settled = false
  #connections: NbdConnection[] = []
  #retryTimer: Timer | null = null
  #ending = false
  #work: Promise<void> = Promise.resolve()

  constructor(
    readonly options: KernelDoorOptions,
    readonly volume: VolumeClient,
  ) {}

  get state(): { device: string | null; error: string | null; settled: boolean } {
    return { device: this.#device?.path ?? null, error: this.#error, settled: this.#settled }
  }

  start(): void {
    this.#then(() => this.#attach())
  }

  follow(): void {
    if (this.#device !== null && this.volume.sizeBytes !== this.#sizeBytes) this.#then(() => this.#resize())
  }

  async detach(): Promise<void> {
    this.#stopRetrying()
    this.#then(async () => {
      try {
        await this.#disconnect()
      } finally {
        await this.#closeConnections()
      }
      this.options.record.remove(this.volume.volume.id)
    }, true)
    await this.#work
  }

  async leave(): Promise<void> {
    this.#stopRetrying()
    this.#then(() => this.#closeConnections(), true)
    await this.#work
  }

  #stopRetrying(): void {
    this.#ending = true
    this.#retryTimer?.cancel()
    this.#retryTimer = null
  }

  /** `last`: also after the door has begun to end. */
  #then(step: () => Promise<void>, last = false): void {
    this.#work = this.#work.then(async () => {
      if (this.#ending && !last) return
      try {
        await step()
        this.#error = null
      } catch (error) {
        this.#error = error instanceof Error ? error.message : String(error)
        this.options.log.error('kernel.failed', { volumeId: this.volume.volume.id, reason: this.#error })
        if (!this.#ending) this.#retryLater()
      }
      this.#settled = true
      this.options.onChange()
    })
  }

  #retryLater(): void {
    this.#retryTimer ??= this.options.clock.setTimer(retryMs, () => {
      this.#retryTimer = null
      if (this.#connections.length > 0) this.follow()
      else this.start()
    })
  }

  async #attach(): Promise<void> {
    const { kernel, record, log, systemId } = this.options
    const volumeId = this.volume.volume.id
    const identifier = kernelIdentifier(systemId, volumeId)
    const there = await this.#attached(identifier)
    if (there !== null && !record.has(volumeId))
      throw new StorageError('DEVICE_BUSY', {
        detail: 'the volume is attached by somebody else on this host',
        device: `/dev/nbd${there.index}`,
        remedy: 'unmap it from the other SDC, or detach the device',
      })
    record.add(volumeId)
    const sizeBytes = this.volume.sizeBytes
    const wanted = this.#attachOptions(identifier, sizeBytes)
    if (there === null) this.#device = await kernel.attach(wanted)
    else this.#device = await kernel.reconfigure(there.index, wanted)
    this.#serve(this.#device.socketFds)
    // A device that was taken over keeps the size that it had; another process's is not known.
    if (there === null) this.#sizeBytes = sizeBytes
    log.info('kernel.attached', { volumeId, device: this.#device.path, takenOver: there !== null })
    this.follow()
  }

  async #resize(): Promise<void> {
    const { sizeBytes } = this.volume
    if (this.#device === null || sizeBytes === this.#sizeBytes) return
    await this.options.kernel.resize(this.#device.index, sizeBytes)
    this.#sizeBytes = sizeBytes
    this.options.log.info('kernel.resized', { volumeId: this.volume.volume.id, device: this.#device.path, sizeBytes })
  }

  async #disconnect(): Promise<void> {
    const { kernel, record, systemId } = this.options
    const volumeId = this.volume.volume.id
    const mine =
      this.#device ?? (record.has(volumeId) ? await this.#attached(kernelIdentifier(systemId, volumeId)) : null)
    if (mine) await kernel.detach(mine.index)
    this.#device = null
  }

  async #attached(identifier: string): Promise<{ index: number } | null> {
    return (await this.options.kernel.attached()).find(device => device.identifier === identifier) ?? null
  }

  #attachOptions(identifier: string, sizeBytes: number): KernelAttach {
    const { connections } = this.options
    return {
      sizeBytes,
      blockBytes,
      transmissionFlags: transmissionFlagsOf(this.volume, connections),
      connections,
      deadConnectionTimeoutMs,
      index: null,
      identifier,
    }
  }

  #serve(socketFds: readonly number[]): void {
    const { clock, log, openStream } = this.options
    this.#connections = socketFds.map(fd => {
      const connection = serveTransmission(openStream(fd), this.volume, { clock, log })
      void connection.closed.then(() => this.#onClosed(connection))
      return connection
    })
  }

  /** The kernel hung up although nobody here meant to end: take the device over again, or attach it anew. */
  #onClosed(connection: NbdConnection): void {
    const mine = this.#connections.includes(connection)
    if (!mine || this.#ending) return
    this.options.log.warn('kernel.hungUp', { volumeId: this.volume.volume.id, device: this.#device?.path })
    this.#then(async () => {
      await this.#closeConnections()
      this.#device = null
      this.#retryLater()
    })
  }

  async #closeConnections(): Promise<void> {
    const closing = this.#connections
    this.#connections = []
    await Promise.all(closing.map(connection => connection.close()))
  }
}
