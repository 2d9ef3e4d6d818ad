import { assert } from '../../src/base/assert.js'
import { StorageError } from '../../src/base/errors.js'
import type { Clock } from '../../src/ports/clock.js'
import type { Disk, DiskDone, DiskPort } from '../../src/ports/disk.js'
import type { Random } from '../../src/ports/random.js'
import { MemoryFile } from './memory-file.js'

export type DiskOperation = 'read' | 'write' | 'sync' | 'erase'

/** What goes wrong with a file, by operation: an errno name, for all of it or where it touches `fromBytes`..`toBytes`. */
export interface DiskFault {
  operation: DiskOperation
  error: string
  fromBytes?: number
  toBytes?: number
  /** How often; default: until `heal`. */
  times?: number
}

/** The disks of one host, in memory: sparse, with locks, faults, and writes that a power loss can take back. */
export class MemoryDisks implements DiskPort {
  readonly files = new Map<string, MemoryFile>()
  readonly #open = new Map<string, MemoryDisk>()
  readonly #faults = new Map<string, DiskFault[]>()
  readonly #slow = new Map<string, number>()
  /** Completions come after this and up to as much again. */
  latencyMs = 0.2
  /** Hands completions to the process that waits for them. */
  deliver: (event: () => void) => void = event => event()

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  async open(path: string, options: { createBytes?: number; direct: boolean }): Promise<Disk> {
    if (this.#open.has(path)) throw new StorageError('DEVICE_BUSY', { path })
    let file = this.files.get(path)
    if (file === undefined) {
      if (options.createBytes === undefined) throw new StorageError('NOT_FOUND', { path })
      file = new MemoryFile(options.createBytes)
      this.files.set(path, file)
    }
    const disk = new MemoryDisk(this, path, file, options.direct ? 4096 : 1)
    this.#open.set(path, disk)
    return disk
  }

  async candidates(places: readonly string[]): Promise<string[]> {
    const under = (path: string, place: string) => path === place || path.startsWith(`${place.replace(/\/$/, '')}/`)
    return [...this.files.keys()].filter(path => places.some(place => under(path, place))).sort()
  }

  /** The file is found under another path from now on. It must not be open. */
  rename(path: string, newPath: string): void {
    assert(!this.#open.has(path), 'a file that moves is not open')
    this.files.set(newPath, this.files.get(path)!)
    this.files.delete(path)
  }

  /** Somebody puts an empty disk in its place. Nothing has it open. */
  replace(path: string, sizeBytes: number): void {
    assert(!this.#open.has(path), 'a disk that is replaced is not open')
    this.files.set(path, new MemoryFile(sizeBytes))
    this.heal(path)
  }
  isOpen(path: string): boolean {
    return this.#open.has(path)
  }

  fail(path: string, fault: DiskFault): void {
    this.#faults.set(path, [...(this.#faults.get(path) ?? []), fault])
  }
  /** Adds `delayMs` to every operation. */
  slow(path: string, delayMs: number): void {
    this.#slow.set(path, delayMs)
  }
  heal(path: string): void {
    this.#faults.delete(path)
    this.#slow.delete(path)
  }

  /** The process ends: locks go, nothing completes; of each write under way any sectors may have landed. */
  crashProcess(): void {
    for (const disk of this.#open.values()) disk.crash()
    this.#open.clear()
  }

  /** The host loses power: of what was not synced any sectors may be lost. */
  powerLoss(): void {
    this.crashProcess()
    for (const file of this.files.values()) file.powerLoss(this.random)
  }

  /** The errno that this operation meets now, or null. */
  faultAt(path: string, operation: DiskOperation, offsetBytes: number, endBytes: number): string | null {
    for (const fault of this.#faults.get(path) ?? []) {
      if (fault.operation !== operation || fault.times === 0) continue
      const touches = offsetBytes < (fault.toBytes ?? Number.POSITIVE_INFINITY) && endBytes > (fault.fromBytes ?? 0)
      if (operation !== 'sync' && !touches) continue
      if (fault.times !== undefined) fault.times--
      return fault.error
    }
    return null
  }

  delayMs(path: string): number {
    return this.latencyMs * (1 + this.random.integer(1000) / 1000) + (this.#slow.get(path) ?? 0)
  }

  closed(disk: MemoryDisk): void {
    if (this.#open.get(disk.path) === disk) this.#open.delete(disk.path)
  }
}

export const memoryDisks = ({ clock, random }: { clock: Clock; random: Random }) => new MemoryDisks(clock, random)

interface UnderWay {
  offsetBytes: number
  /** null: erased. */
  bytes: Buffer | null
  lengthBytes: number
}

class MemoryDisk implements Disk {
  readonly #writes = new Set<UnderWay>()
  #underWay = 0
  #state: 'open' | 'closed' | 'crashed' = 'open'
  #idle: (() => void)[] = []

  constructor(
    readonly disks: MemoryDisks,
    readonly path: string,
    readonly file: MemoryFile,
    readonly alignBytes: number,
  ) {}

  get sizeBytes(): number {
    return this.file.sizeBytes
  }

  read(offsetBytes: number, target: Buffer, done: DiskDone): void {
    this.#check(offsetBytes, target.length)
    this.#complete('read', offsetBytes, target.length, done, () => this.file.read(offsetBytes, target))
  }

  write(offsetBytes: number, pieces: readonly Buffer[], done: DiskDone): void {
    const bytes = Buffer.concat(pieces)
    this.#check(offsetBytes, bytes.length)
    const write: UnderWay = { offsetBytes, bytes, lengthBytes: bytes.length }
    this.#writes.add(write)
    const act = () => {
      assert(isMadeOf(bytes, pieces), 'a buffer does not change while it is being written')
      this.file.write(offsetBytes, bytes)
    }
    this.#complete('write', offsetBytes, bytes.length, done, act, () => this.#writes.delete(write))
  }

  erase(offsetBytes: number, lengthBytes: number, done: DiskDone): void {
    this.#check(offsetBytes, lengthBytes)
    const write: UnderWay = { offsetBytes, bytes: null, lengthBytes }
    this.#writes.add(write)
    const act = () => this.file.erase(offsetBytes, lengthBytes)
    this.#complete('erase', offsetBytes, lengthBytes, done, act, () => this.#writes.delete(write))
  }

  sync(done: DiskDone): void {
    this.#check(0, 0)
    const covered = this.file.unsyncedCount
    this.#complete('sync', 0, 0, done, () => this.file.sync(covered))
  }

  async close(): Promise<void> {
    if (this.#state !== 'open') return
    this.#state = 'closed'
    if (this.#underWay > 0) await new Promise<void>(resolve => this.#idle.push(resolve))
    this.disks.closed(this)
  }

  crash(): void {
    this.#state = 'crashed'
    for (const { offsetBytes, bytes, lengthBytes } of this.#writes)
      this.file.tear(offsetBytes, bytes, lengthBytes, this.disks.random)
  }

  #check(offsetBytes: number, lengthBytes: number): void {
    assert(this.#state === 'open', 'a closed disk is not used')
    assert(
      offsetBytes % this.alignBytes === 0 && lengthBytes % this.alignBytes === 0,
      'offset and length are multiples of alignBytes',
    )
  }

  #complete(
    operation: DiskOperation,
    offsetBytes: number,
    lengthBytes: number,
    done: DiskDone,
    act: () => void,
    settled: () => void = () => {},
  ): void {
    this.#underWay++
    this.disks.clock.setTimer(this.disks.delayMs(this.path), () => {
      if (this.#state === 'crashed') return
      const endBytes = offsetBytes + lengthBytes
      const beyond = endBytes > this.sizeBytes ? (operation === 'read' ? 'EIO' : 'ENOSPC') : null
      const error = beyond ?? this.disks.faultAt(this.path, operation, offsetBytes, endBytes)
      if (error === null) act()
      settled()
      this.disks.deliver(() => {
        this.#underWay--
        done(error)
        if (this.#underWay === 0) for (const idle of this.#idle.splice(0)) idle()
      })
    })
  }
}

function isMadeOf(bytes: Buffer, pieces: readonly Buffer[]): boolean {
  let at = 0
  for (const piece of pieces) {
    if (bytes.compare(piece, 0, piece.length, at, at + piece.length) !== 0) return false
    at += piece.length
  }
  return at === bytes.length
}
