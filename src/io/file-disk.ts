import type { BigIntStats } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { assert } from '../base/assert.js'
import type { Disk, DiskDone } from '../ports/disk.js'
import { addon, type OpenedFile } from './addon.js'
import { type OpKind, type OpOwner, opKinds, queueOp } from './file-engine.js'

const noPieces: readonly Buffer[] = []

/** A file or block device, opened and locked by the addon, worked on by the addon's threads. */
export class FileDisk implements Disk, OpOwner {
  sizeBytes: number
  readonly alignBytes: number
  /** The addon's number for it. */
  readonly handle: number
  private inFlight = 0
  private closing: Promise<void> | null = null
  private drained: (() => void) | null = null

  constructor(
    readonly path: string,
    file: OpenedFile,
    /** What the path led to when it was opened; null: nobody knows. */
    private readonly opened: BigIntStats | null,
  ) {
    this.sizeBytes = file.sizeBytes
    this.alignBytes = file.alignBytes
    this.handle = file.handle
  }

  read(offsetBytes: number, target: Buffer, done: DiskDone): void {
    this.queue(opKinds.read, offsetBytes, target.length, [target], done)
  }

  write(offsetBytes: number, pieces: readonly Buffer[], done: DiskDone): void {
    let lengthBytes = 0
    for (const piece of pieces) lengthBytes += piece.length
    this.queue(opKinds.write, offsetBytes, lengthBytes, pieces, done)
  }

  sync(done: DiskDone): void {
    this.queue(opKinds.sync, 0, 0, noPieces, done)
  }

  erase(offsetBytes: number, lengthBytes: number, done: DiskDone): void {
    this.queue(opKinds.erase, offsetBytes, lengthBytes, noPieces, done)
  }

  /** The path may lead elsewhere by now: only what it led to when it was opened counts. */
  async noteGrowth(): Promise<void> {
    const now = await stat(this.path, { bigint: true }).catch(() => null)
    if (now === null || this.opened === null || now.dev !== this.opened.dev || now.ino !== this.opened.ino) return
    const sizeBytes = now.isBlockDevice() ? await blockDeviceBytes(now.rdev) : Number(now.size)
    this.sizeBytes = Math.max(this.sizeBytes, sizeBytes)
  }

  close(): Promise<void> {
    this.closing ??= this.drainAndClose()
    return this.closing
  }

  /** Called by the engine for each operation that has ended. */
  opEnded(): void {
    this.inFlight -= 1
    if (this.inFlight === 0) this.drained?.()
  }

  private queue(
    kind: OpKind,
    offsetBytes: number,
    lengthBytes: number,
    pieces: readonly Buffer[],
    done: DiskDone,
  ): void {
    assert(this.closing === null, 'a disk that is being closed takes no operations')
    if (!this.covers(offsetBytes, lengthBytes)) {
      process.nextTick(done, 'EINVAL')
      return
    }
    this.inFlight += 1
    queueOp(this, kind, this.handle, offsetBytes, lengthBytes, pieces, done)
  }

  /** A range beyond the end must not make a file longer; one that is not aligned must not reach a direct descriptor. */
  private covers(offsetBytes: number, lengthBytes: number): boolean {
    if (!(offsetBytes >= 0 && lengthBytes >= 0 && offsetBytes + lengthBytes <= this.sizeBytes)) return false
    return offsetBytes % this.alignBytes === 0 && lengthBytes % this.alignBytes === 0
  }

  private async drainAndClose(): Promise<void> {
    if (this.inFlight > 0)
      await new Promise<void>(resolve => {
        this.drained = resolve
      })
    await addon.fileClose(this.handle)
  }
}

const sectorBytes = 512

/** 0 where the kernel does not say. */
async function blockDeviceBytes(rdev: bigint): Promise<number> {
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)
  const text = await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8').catch(() => '0')
  return Number(text) * sectorBytes
}
