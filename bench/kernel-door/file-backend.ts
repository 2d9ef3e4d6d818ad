import type { Disk } from '../../src/ports/disk.js'
import type { BackendDone, BlockBackend, Extent, NbdErrno } from '../../src/sdc/nbd/index.js'

/** One file as a volume: the kernel door by itself, beside other servers of one file. */
export class FileBackend implements BlockBackend {
  readonly readOnly = false
  readonly description = 'a file'

  constructor(
    readonly name: string,
    readonly disk: Disk,
  ) {}

  get sizeBytes(): number {
    return this.disk.sizeBytes
  }

  read(offsetBytes: number, target: Buffer, done: BackendDone): void {
    this.disk.read(offsetBytes, target, error => done(error === null ? null : 'EIO'))
  }

  write(offsetBytes: number, pieces: readonly Buffer[], fua: boolean, done: BackendDone): void {
    this.disk.write(offsetBytes, pieces, this.#changed(fua, done))
  }

  flush(done: BackendDone): void {
    this.disk.sync(error => done(error === null ? null : 'EIO'))
  }

  trim(offsetBytes: number, lengthBytes: number, fua: boolean, done: BackendDone): void {
    this.disk.erase(offsetBytes, lengthBytes, this.#changed(fua, done))
  }

  zero(offsetBytes: number, lengthBytes: number, _mayPunch: boolean, fua: boolean, done: BackendDone): void {
    this.trim(offsetBytes, lengthBytes, fua, done)
  }

  extents(_offsetBytes: number, lengthBytes: number, done: (errno: NbdErrno | null, extents: Extent[]) => void): void {
    done(null, [{ lengthBytes, hole: false }])
  }

  #changed(fua: boolean, done: BackendDone): (error: string | null) => void {
    return error => {
      if (error !== null) done('EIO')
      else if (fua) this.flush(done)
      else done(null)
    }
  }
}
