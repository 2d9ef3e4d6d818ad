import { execFile } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { MiB } from '../../src/base/units.js'

const execute = promisify(execFile)

/** Room for what the load puts on one device, several times over; less than the device's nominal size. */
const fileSystemBytes = 640 * MiB

/** A file system of its own for one device, which something else can fill up. Needs a mount namespace of our own. */
export class SmallFileSystem {
  private constructor(
    readonly dir: string,
    readonly image: string,
  ) {}

  /** `image` is where its bytes are. */
  static async make(dir: string, image: string, sizeBytes = fileSystemBytes): Promise<SmallFileSystem> {
    mkdirSync(dir, { recursive: true })
    await execute('truncate', ['-s', String(sizeBytes), image])
    await execute('mke2fs', ['-q', '-F', '-t', 'ext4', '-m', '0', image])
    await execute('mount', ['-o', 'loop', image, dir])
    return new SmallFileSystem(dir, image)
  }

  /** Takes all the room that is left, but for a few bytes. Returns what gives it back. */
  async fill(leaveBytes = 0): Promise<() => void> {
    const filler = join(this.dir, 'filler')
    // What was freed a moment ago can be taken only when the journal has said so.
    await execute('sync', ['-f', this.dir])
    await execute('fallocate', ['-l', '1', filler])
    for (let sizeBytes = 512 * MiB, takenBytes = 0; sizeBytes >= 4096; ) {
      const { bavail, bsize } = statfsSync(this.dir)
      if (bavail * bsize < sizeBytes) {
        sizeBytes /= 2
        continue
      }
      try {
        await execute('fallocate', ['-o', String(takenBytes), '-l', String(sizeBytes), filler])
        takenBytes += sizeBytes
      } catch {
        sizeBytes /= 2
      }
    }
    if (leaveBytes > 0) {
      truncateSync(filler, statSync(filler).size - leaveBytes)
      await execute('sync', ['-f', this.dir])
    }
    return () => rmSync(filler, { force: true })
  }

  async close(): Promise<void> {
    await execute('umount', ['--lazy', this.dir]).catch(() => {})
    rmSync(this.image, { force: true })
  }
}

/** Why there can be no file systems of our own here; null: there can. */
export async function fileSystemsUnavailable(dir: string): Promise<string | null> {
  try {
    const probe = await SmallFileSystem.make(join(dir, 'probe'), join(dir, 'probe.image'))
    await probe.close()
    rmSync(probe.dir, { recursive: true })
    return null
  } catch (error) {
    return `no file system can be mounted here: ${(error as Error).message.trim().split('\n').at(-1)}`
  }
}

/** Of a device, what lies beyond this fails. Logs and indexes of a process stay below. */
const goodBytes = 48 * MiB

/**
 * From now on each write of the process beyond the start of a file fails (EFBIG): the nearest thing to a disk with
 * failing sectors that needs neither device mapper nor a fault-injecting kernel.
 */
export async function failWrites(pid: number): Promise<void> {
  await execute('prlimit', ['--pid', String(pid), `--fsize=${goodBytes}`])
}
