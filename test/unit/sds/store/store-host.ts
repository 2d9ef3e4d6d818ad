import type { StorageError } from '../../../../src/base/errors.js'
import type { DeviceId, SystemId } from '../../../../src/base/ids.js'
import { MiB } from '../../../../src/base/units.js'
import type { Disk, MetaKey, MetaWrite } from '../../../../src/ports/index.js'
import {
  createDevice,
  type DeviceStore,
  identify,
  openDevice,
  type StoreError,
} from '../../../../src/sds/store/index.js'
import {
  type MemoryDisks,
  type MemoryFile,
  type MemoryMetaStores,
  memoryDisks,
  memoryMetaStores,
  type ProcessClock,
  SimClock,
  seededRandom,
} from '../../../support/index.js'

export const systemId = '1111222200000000' as SystemId
export const deviceId = '1111222200000007' as DeviceId
export const path = '/dev/sim'
export const indexDirectory = '/state/index'

/** One simulated host with one disk and its index, through processes and boots. */
export class StoreHost {
  readonly clock = new SimClock()
  readonly random
  readonly disks: MemoryDisks
  readonly metaStores: MemoryMetaStores
  bootId = 'boot-1'
  failures: string[] = []
  /** Codes of what could not be set aside. */
  unreserved: string[] = []
  private processClock: ProcessClock

  constructor(readonly options: { slots: number; direct?: boolean; seed?: number } = { slots: 8 }) {
    this.random = seededRandom(options.seed ?? 1)
    this.disks = memoryDisks(this)
    this.metaStores = memoryMetaStores(this)
    this.processClock = this.clock.forProcess()
  }

  /** A new host with a device that has never been opened. */
  static async withDevice(options: StoreHost['options']): Promise<StoreHost> {
    const host = new StoreHost(options)
    await host.create()
    return host
  }

  openDisk(): Promise<Disk> {
    const { slots, direct = true } = this.options
    return this.clock.finish(this.disks.open(path, { createBytes: (slots + 1) * MiB, direct }))
  }

  async create(options: { deviceId?: DeviceId; systemId?: SystemId; force?: boolean } = {}): Promise<void> {
    await this.withDisk(disk => this.beginCreate(disk, options))
  }

  /** Begins to create; whoever calls this runs the clock. */
  beginCreate(disk: Disk, options: { deviceId?: DeviceId; systemId?: SystemId; force?: boolean } = {}): Promise<void> {
    const { metaStores, bootId } = this
    return createDevice({ disk, metaStores, indexDirectory, deviceId, systemId, bootId, ...options })
  }

  /** Changes the index behind the store's back. */
  async changeIndex(writes: MetaWrite[]): Promise<void> {
    const index = await this.clock.finish(this.metaStores.open(`${indexDirectory}/${deviceId}`))
    await this.clock.finish(new Promise(resolve => index.commit(writes, resolve)))
    await this.clock.finish(new Promise(resolve => index.flush(resolve)))
    await this.clock.finish(index.close())
  }

  async readIndex(key: MetaKey): Promise<unknown> {
    const index = await this.clock.finish(this.metaStores.open(`${indexDirectory}/${deviceId}`))
    const value = index.get(key)
    await this.clock.finish(index.close())
    return value
  }

  identify = () => this.withDisk(disk => identify(disk))

  /** Begins to open; whoever calls this runs the clock. */
  beginOpen(disk: Disk, options: { systemId?: SystemId } = {}): Promise<DeviceStore> {
    const { metaStores, bootId, processClock: clock } = this
    const onFailed = (reason: string) => void this.failures.push(reason)
    const onUnreserved = ({ code }: StorageError) => void this.unreserved.push(code)
    const place = { disk, metaStores, indexDirectory, systemId, bootId, clock }
    return openDevice({ ...place, onFailed, onUnreserved, ...options })
  }

  async open(options: { systemId?: SystemId } = {}): Promise<DeviceStore> {
    const disk = await this.openDisk()
    try {
      return await this.clock.finish(this.beginOpen(disk, options))
    } catch (error) {
      await this.clock.finish(disk.close())
      throw error
    }
  }

  async withDisk<T>(use: (disk: Disk) => Promise<T>): Promise<T> {
    const disk = await this.openDisk()
    try {
      return await this.clock.finish(use(disk))
    } finally {
      await this.clock.finish(disk.close())
    }
  }

  changeBytes(offsetBytes: number, bytes: Buffer): void {
    this.file.write(offsetBytes, bytes)
  }

  peek(offsetBytes: number, lengthBytes: number): Buffer {
    return this.file.peek(offsetBytes, lengthBytes)
  }

  get file(): MemoryFile {
    return this.disks.files.get(path)!
  }

  /** SIGKILL: what the operating system has stays. */
  kill(): void {
    this.processClock.kill()
    this.processClock = this.clock.forProcess()
    this.disks.crashProcess()
    this.metaStores.crashProcess()
  }

  losePower(): void {
    this.kill()
    this.disks.powerLoss()
    this.metaStores.powerLoss()
    this.bootId = `boot-${Number(this.bootId.slice(5)) + 1}`
  }

  /** The store's answer; somebody else runs the clock. */
  begin(begin: (done: (error: StoreError | null) => void) => void): Promise<StoreError | null> {
    return new Promise(resolve => begin(resolve))
  }

  /** Runs the clock until the store's answer comes. */
  async ask(begin: (done: (error: StoreError | null) => void) => void): Promise<StoreError | null> {
    return this.clock.finish(this.begin(begin))
  }

  async close(store: DeviceStore): Promise<void> {
    await this.clock.finish(store.close())
  }

  async readBytes(store: DeviceStore, volume: number, chunk: number, offset: number, length: number): Promise<Buffer> {
    const target = Buffer.alloc(length, 0xee)
    const error = await this.ask(done => store.read(volume, chunk, offset, target, done))
    if (error !== null) throw new Error(JSON.stringify(error))
    return target
  }

  /** Reserves a slot if the chunk has none, and writes. */
  async write(
    store: DeviceStore,
    volume: number,
    chunk: number,
    offset: number,
    bytes: Buffer,
  ): Promise<StoreError | null> {
    if (!store.has(volume, chunk) && !store.reserve(volume, chunk, 'thin', false)) return { kind: 'full' }
    return this.ask(done => store.write(volume, chunk, offset, [bytes], done))
  }
}

/** `length` bytes that say who wrote them. */
export function stamped(text: string, length: number): Buffer {
  return Buffer.alloc(length, `[${text}]`)
}
