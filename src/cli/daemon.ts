import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { StorageError } from '../base/errors.js'
import type { ConfigKeys, ConfigOf } from '../config/keys.js'
import { loadConfig } from '../config/load.js'
import { mdmKeys } from '../config/mdm.js'
import { sdcKeys } from '../config/sdc.js'
import { sdsKeys } from '../config/sds.js'
import { becomeIoFlusher, keepLoopOn, lockMemory, readBootId } from '../io/host.js'
import { serveMetrics } from '../io/metrics.js'
import { realPorts } from '../io/real-ports.js'
import { sdNotify } from '../io/sd-notify.js'
import type { Endpoint } from '../model/objects.js'
import type { Daemon, Listener, Log, Ports } from '../ports/index.js'
import { failureOf } from './format/failure.js'
import { keepHeapSmall } from './small-heap.js'

/** A daemon that cannot finish what is under way within this gives up; what it then leaves is an unclean stop. */
const stopTimeoutMs = 25_000

export type DaemonRole = 'mdm' | 'sds' | 'sdc'

/** What every daemon's configuration has, whatever else is in it. */
interface CommonConfig {
  name: string
  logLevel: string
  metricsListen: Endpoint | null
  /** Of some roles. */
  cpus?: number[] | null
}

interface RoleTraits {
  keys: ConfigKeys
  start(config: unknown, ports: Ports): Promise<Daemon>
  /** On the I/O path of block devices: must never wait for memory that is written to those. */
  servesBlockIo: boolean
}

const roles: Record<DaemonRole, RoleTraits> = {
  mdm: {
    keys: mdmKeys,
    start: async (config, ports) => (await import('../mdm/daemon.js')).startMdm(config as never, ports),
    servesBlockIo: false,
  },
  sds: {
    keys: sdsKeys,
    start: async (config, ports) => (await import('../sds/daemon.js')).startSds(config as never, ports),
    servesBlockIo: true,
  },
  sdc: {
    keys: sdcKeys,
    start: async (config, ports) => (await import('../sdc/daemon.js')).startSdc(config as never, ports),
    servesBlockIo: true,
  },
}

/** Reads and checks the file; throws CONFIGURATION with everything that is wrong with it. */
export function readConfig(role: DaemonRole, path: string): CommonConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause)
    const detail = `the configuration file ${path} cannot be read: ${why}`
    throw new StorageError('CONFIGURATION', { detail, remedy: 'name a file with --config' }, { cause })
  }
  const { keys } = roles[role]
  return loadConfig(keys, text, path) as ConfigOf<typeof keys> as unknown as CommonConfig
}

/**
 * Runs one daemon in the foreground until a signal ends it. Returns the exit code: 0 after a clean stop, else that of
 * the error. A second signal ends the process at once.
 */
export async function runDaemon(role: DaemonRole, configFile: string): Promise<number> {
  const config = readConfig(role, configFile)
  readBootId()
  const ports = realPorts({ logLevel: config.logLevel as never, name: config.name })
  const { log } = ports
  endOnBugs(log)
  const signal = firstSignal()
  log.info('daemon.starting', { role, pid: process.pid, config: basename(configFile), node: process.version })
  if (roles[role].servesBlockIo) hardenProcess(log)
  let daemon: Daemon | null = null
  let metrics: Listener | null = null
  let exit = 0
  try {
    const first = await Promise.race([roles[role].start(config, ports), signal])
    if (typeof first === 'string') {
      log.info('daemon.stopped', { signal: first, detail: 'before it had started' })
      return 0
    }
    daemon = first
    if (config.metricsListen) metrics = await serveMetrics(config.metricsListen, () => first.metrics())
    if (config.cpus) keepLoop(config.cpus, log)
    void sdNotify('READY=1')
    log.info('daemon.ready', { role })
    keepHeapSmall()
    const reason = await Promise.race([signal, first.failed ?? new Promise<never>(() => {})])
    if (reason instanceof Error) throw reason
    log.info('daemon.stopping', { signal: reason })
  } catch (error) {
    exit = sayFatal(log, error)
  }
  void sdNotify('STOPPING=1')
  const clean = await within(stopTimeoutMs, async () => {
    await metrics?.close()
    await daemon?.stop()
  }).catch(error => {
    exit = sayFatal(log, error)
    return true
  })
  if (!clean) log.error('daemon.stop-timed-out', { afterMs: stopTimeoutMs })
  else if (exit === 0) log.info('daemon.stopped', {})
  return clean ? exit : exit || 1
}

/** One clear line for people, one event for the log; returns the exit code. */
function sayFatal(log: Log, error: unknown): number {
  const failure = failureOf(error)
  log.error('daemon.failed', { code: failure.json.error.code, message: failure.json.error.message })
  process.stderr.write(`${failure.text}\n`)
  return failure.exit
}

/** The first SIGTERM or SIGINT; a second one ends the process without waiting for anything. */
function firstSignal(): Promise<string> {
  return new Promise(resolve => {
    let count = 0
    const hear = (signal: string) => {
      if (++count > 1) process.exit(1)
      resolve(signal)
    }
    process.on('SIGTERM', hear)
    process.on('SIGINT', hear)
  })
}

/** Our own bugs: said in full, then the process ends, because nothing after them can be trusted. */
function endOnBugs(log: Log): void {
  const end = (error: unknown) => {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    log.error('daemon.bug', { message: text })
    process.stderr.write(`Error: something inside went wrong: ${text}\n`)
    process.exit(70)
  }
  process.on('uncaughtException', end)
  process.on('unhandledRejection', end)
}

function hardenProcess(log: Log): void {
  const measures = { ioFlusher: becomeIoFlusher, memoryLock: lockMemory }
  for (const [measure, take] of Object.entries(measures)) {
    const whyNot = take()
    if (whyNot === null) log.info('daemon.hardened', { measure })
    else log.warn('daemon.not-hardened', { measure, reason: whyNot })
  }
}

/** Once everything runs: threads that are there by then stay where they are. Where it cannot be done, all goes on as without. */
function keepLoop(cpus: readonly number[], log: Log): void {
  const whyNot = keepLoopOn(cpus)
  if (whyNot === null) log.info('daemon.cpus-kept', { cpus })
  else log.warn('daemon.cpus-not-kept', { cpus, reason: whyNot })
}

/** True if `work` is done in time. */
async function within(timeoutMs: number, work: () => Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>(resolve => {
    timer = setTimeout(() => resolve(false), timeoutMs)
  })
  try {
    return await Promise.race([work().then(() => true as const), late])
  } finally {
    clearTimeout(timer)
  }
}
