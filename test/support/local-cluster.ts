import { type ExecFileException, execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The daemons that tests start overwrite payload memory when they release it. */
process.env.BLOCKMESH_POISON ??= '1'

/** dist/src/cli of this build. */
const cliDir = fileURLToPath(new URL('../../src/cli/', import.meta.url))

/** The parts of `cluster.json` (design section 12) that tests use. */
export interface ClusterFile {
  systemId: string
  processes: { name: string; role: string; pid: number; address: string; metrics: string; log: string }[]
  devices: { id: string; sds: string; faultSet: string; path: string }[]
  volumes: { id: string; name: string; sizeBytes: number; sdc: string; uri: string; device: string | null }[]
}

interface Teardown {
  teardown(run: () => Promise<void>): void
}

/** A local cluster of real processes, as users start it; ended and removed with the test. */
export class LocalCluster {
  constructor(readonly dir: string) {}

  get file(): ClusterFile {
    return JSON.parse(readFileSync(join(this.dir, 'cluster.json'), 'utf8')) as ClusterFile
  }

  volume(name: string): ClusterFile['volumes'][number] {
    const volume = this.file.volumes.find(candidate => candidate.name === name)
    if (!volume) throw new Error(`cluster.json has no volume ${name}`)
    return volume
  }

  /** `blockmesh local VERB … --dir DIR`. */
  local(verb: string, ...args: string[]): Promise<string> {
    return blockmesh('local', verb, ...args, '--dir', this.dir)
  }

  /** `scli … --json --dir DIR`, parsed. */
  async scli(...args: string[]): Promise<unknown> {
    const { stdout } = await execute('node', [join(cliDir, 'scli.js'), ...args, '--json', '--dir', this.dir])
    return stdout.trim() === '' ? null : (JSON.parse(stdout) as unknown)
  }

  /**
   * Both copies of every chunk are equal, or it throws with the differences. On a busy host an SDS may be taken for lost
   * meanwhile: then the wait is for its copies to be filled.
   */
  check(): Promise<string> {
    return blockmesh('check', '--dir', this.dir, '--wait', '200')
  }
}

const bounds = { timeout: 300_000, maxBuffer: 64 * 1024 * 1024 }

/**
 * Runs a program to its end; throws an error with its command line and what it printed. (Errors of execFile itself have an
 * exit code in `code`, which tap does not take for an error: it would report nothing but "unhandled error".)
 */
async function execute(program: string, args: string[]): Promise<{ stdout: string }> {
  try {
    return await promisify(execFile)(program, args, bounds)
  } catch (error) {
    const { message, stdout, signal } = error as ExecFileException & { stdout: string }
    throw new Error(`${message}${signal ? ` (${signal})` : ''}\n${stdout.slice(-4096)}`)
  }
}

/** Runs the `blockmesh` program; throws with its stderr if it fails. */
export async function blockmesh(...args: string[]): Promise<string> {
  return (await execute('node', [join(cliDir, 'blockmesh.js'), ...args])).stdout
}

/** Starts a cluster in a fresh directory with `blockmesh local up ARGS`. */
export async function startLocalCluster(t: Teardown, ...args: string[]): Promise<LocalCluster> {
  const dir = mkdtempSync(join(process.env.KERNEL_TEST_DIR ?? tmpdir(), 'blockmesh-test-'))
  const cluster = new LocalCluster(dir)
  t.teardown(async () => {
    await cluster.local('down').catch(() => {})
    rmSync(dir, { recursive: true, force: true })
  })
  await cluster.local('up', ...args)
  return cluster
}

/** Runs a command line in a shell; its stdout, or an error with its stderr. */
export async function shell(command: string): Promise<string> {
  return (await execute('bash', ['-euo', 'pipefail', '-c', command])).stdout
}

/** Runs one fio job and returns its JSON result; throws with its output if fio reports an error. */
export async function fio(options: string): Promise<FioJob> {
  const output = await shell(`fio ${options} --verify_state_save=0 --output-format=json`)
  // Remarks of fio come before its JSON.
  const job = (JSON.parse(output.slice(output.indexOf('{\n'))) as { jobs: FioJob[] }).jobs[0]!
  if (job.error !== 0) throw new Error(`fio ${options}: ${output}`)
  return job
}

export interface FioJob {
  error: number
  read: FioSide
  write: FioSide
}
interface FioSide {
  total_ios: number
  iops: number
  bw_bytes: number
  clat_ns: { max: number; mean: number }
}

/** Bytes that files really take on their host file system. */
export function allocatedBytes(paths: string[]): number {
  return paths
    .map(path => Number(execFileSync('stat', ['-c', '%b', path], { encoding: 'utf8' })) * 512)
    .reduce((sum, bytes) => sum + bytes, 0)
}

/** Asks until `holds` is true, at most `withinMs`; for what other processes do in their own time. */
export async function until(what: string, withinMs: number, holds: () => boolean | Promise<boolean>): Promise<void> {
  const endMs = Date.now() + withinMs
  for (;;) {
    if (await holds()) return
    if (Date.now() > endMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
