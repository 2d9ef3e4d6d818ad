import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rmcacheBytesDefault } from '../../src/base/limits.js'
import { MiB } from '../../src/base/units.js'
import { withMdm } from '../../src/cli/mdm-session.js'
import type { MdmClient } from '../../src/mdm-client/client.js'
import type { IoMode } from '../runner/options.js'
import type { Target, TargetPlace } from '../runner/target.js'
import { runToEnd } from './programs.js'

const program = fileURLToPath(new URL('../../src/cli/blockmesh.js', import.meta.url))

/** The parts of cluster.json that are used here. */
export interface ClusterFile {
  processes: { name: string; role: string; pid: number; address: string; metrics: string | null }[]
  devices: { path: string }[]
  volumes: { name: string; uri: string; device: string | null }[]
}

export interface BlockmeshOptions {
  name: string
  ioMode: IoMode
  zeroPadding?: boolean
  /** Of 8 GiB each, mapped to the first SDC. The first one is what fio measures. */
  volumes?: readonly string[]
  /** More options of `local up`. */
  shape?: readonly string[]
  env?: NodeJS.ProcessEnv
}

const modes: Record<IoMode, { options: readonly string[]; info: string }> = {
  direct: { options: ['--direct'], info: `direct I/O, ${rmcacheBytesDefault / MiB} MiB of RAM read cache each` },
  cached: { options: ['--direct', '--rmcache', '512M'], info: 'direct I/O, 512 MiB of RAM read cache each' },
  uncached: { options: ['--direct', '--rmcache', 'off'], info: 'direct I/O, no read cache' },
  buffered: { options: ['--buffered'], info: 'page cache' },
}

/** A local cluster of ours. */
export interface BlockmeshTarget extends Target {
  /** HOST:PORT of the first MDM. */
  readonly mdm: string
  daemons(): ClusterFile['processes']
  /** What `cluster.json` says now. */
  file(): ClusterFile
  uriOf(volume: string): string
  /** Asks the MDM as a tool does, without the time that it takes to start a program. */
  withMdm<T>(work: (mdm: MdmClient) => Promise<T>): Promise<T>
}

/** Ours: unless `shape` says otherwise three SDSs and an SDC; thin volumes, two copies. */
export async function startBlockmesh({ directory }: TargetPlace, options: BlockmeshOptions): Promise<BlockmeshTarget> {
  const { name, ioMode, zeroPadding = true, volumes = ['bench'], shape = [], env = {} } = options
  const cluster = join(directory, name)
  const local = (verb: string, ...args: string[]) =>
    runToEnd(process.execPath, [program, 'local', verb, '--dir', cluster, ...args], env)
  const wishes = volumes.flatMap(volume => ['--volume', `${volume}:8G`])
  const padding = ['--zero-padding', zeroPadding ? 'on' : 'off']
  const size = shape.includes('--device-size') ? [] : ['--device-size', '8G']
  await local('up', ...wishes, ...size, ...modes[ioMode].options, ...padding, ...shape)
  const file = () => JSON.parse(readFileSync(join(cluster, 'cluster.json'), 'utf8')) as ClusterFile
  const { processes, devices } = file()
  const uriOf = (volume: string) => file().volumes.find(one => one.name === volume)!.uri
  const mdmAddresses = processes
    .filter(({ role }) => role === 'mdm')
    .map(({ address }) => ({ host: address.split(':')[0]!, port: Number(address.split(':')[1]) }))
  const count = (role: string) => processes.filter(one => one.role === role).length
  return {
    name,
    mdm: processes.find(({ role }) => role === 'mdm')!.address,
    file,
    uriOf,
    daemons: () => processes,
    withMdm: work => withMdm({ addresses: mdmAddresses }, work),
    info: `${count('sds')} SDSs, ${count('sdc')} SDC, two copies, ${modes[ioMode].info}, zero padding ${zeroPadding ? 'on' : 'off'}`,
    fio: () => ['--ioengine=nbd', `--uri=${uriOf(volumes[0]!)}`],
    processes: () => processes.map(({ role, pid }) => ({ role, pid })),
    loopMsP999: () => loopMsP999(processes),
    settle: async () =>
      void (await runToEnd(
        'sync',
        devices.map(device => device.path),
      )),
    stop: async () => void (await local('down')),
  }
}

/** Asking begins the next measurement. */
async function loopMsP999(processes: ClusterFile['processes']): Promise<Record<string, number>> {
  const worst: Record<string, number> = {}
  for (const { role, metrics } of processes) {
    if (metrics === null) continue
    const page = await (await fetch(metrics)).text()
    const delayMs = Number(/^blockmesh_event_loop_delay_p999_ms (\S+)/m.exec(page)?.[1] ?? 0)
    worst[role] = Math.max(worst[role] ?? 0, Math.round(delayMs * 10) / 10)
  }
  return worst
}
