import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Clock, type Log, silentLog } from '../../src/ports/index.js'
import { type BlockBackend, listenNbd, type NbdListener } from '../../src/sdc/nbd/index.js'
import { exportsOf } from '../support/memory-backend.js'

/** The engine alone behind a unix socket, for real clients. */
export interface NbdServer {
  directory: string
  socketPath: string
  listener: NbdListener
  uri(name: string): string
  close(): Promise<void>
}

export const wallClock: Clock = {
  nowMs: () => performance.now(),
  setTimer(delayMs, fire) {
    const timer = setTimeout(fire, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
  endOfTurn: fire => void setImmediate(fire),
}

export async function startNbdServer(backends: BlockBackend[], log: Log = silentLog): Promise<NbdServer> {
  const directory = await mkdtemp(join(tmpdir(), 'blockmesh-nbd-'))
  const socketPath = join(directory, 'nbd.sock')
  const listener = await listenNbd({ socketPath }, exportsOf(...backends), { clock: wallClock, log })
  return {
    directory,
    socketPath,
    listener,
    uri: name => `nbd+unix:///${name}?socket=${socketPath}`,
    async close() {
      await listener.close()
      await rm(directory, { recursive: true })
    },
  }
}

const execute = promisify(execFile)

/** Runs a program for at most half a minute; its standard output. An error's message has all that it printed. */
export async function run(program: string, ...args: string[]): Promise<string> {
  try {
    return (await execute(program, args, { timeout: 30_000, maxBuffer: 16 * 1024 * 1024 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${program} failed: ${stdout}${stderr}`, { cause: error })
  }
}
