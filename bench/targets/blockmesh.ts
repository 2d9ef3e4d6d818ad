import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Target, TargetPlace } from '../runner/target.js'
import { runToEnd } from './programs.js'

const program = fileURLToPath(new URL('../../src/cli/blockmesh.js', import.meta.url))

/** The parts of cluster.json that are used here. */
interface ClusterFile {
  processes: { name: string; role: string; pid: number; address: string; metrics: string | null }[]
  devices: { path: string }[]
  volumes: { uri: string }[]
}

export interface BlockmeshOptions {
  name: string
  ioMode: 'direct' | 'buffered'
  zeroPadding?: boolean
  env?: NodeJS.ProcessEnv
}

/** Ours: a local cluster of three SDSs and an SDC, one thin volume, two copies. */
export async function startBlockmesh(
  { directory }: TargetPlace,
  options: BlockmeshOptions,
): Promise<Target & { mdm: string; daemons(): { name: string; pid: number }[] }> {
  const { name, ioMode, zeroPadding = true, env = {} } = options
  const cluster = join(directory, name)
  const padding = ['--zero-padding', zeroPadding ? 'on' : 'off']
  const shape = ['--volume', 'bench:8G', '--device-size', '8G', `--${ioMode}`, ...padding]
  await runToEnd(process.execPath, [program, 'local', 'up', '--dir', cluster, ...shape], env)
  const { processes, devices, volumes } = JSON.parse(readFileSync(join(cluster, 'cluster.json'), 'utf8')) as ClusterFile
  return {
    name,
    mdm: processes.find(({ role }) => role === 'mdm')!.address,
    daemons: () => processes,
    info: `3 SDSs, 1 SDC, two copies, ${ioMode} I/O, zero padding ${zeroPadding ? 'on' : 'off'}`,
    fio: () => ['--ioengine=nbd', `--uri=${volumes[0]!.uri}`],
    processes: () => processes.map(({ role, pid }) => ({ role, pid })),
    loopMsP999: () => loopMsP999(processes),
    settle: async () =>
      void (await runToEnd(
        'sync',
        devices.map(device => device.path),
      )),
    stop: async () => void (await runToEnd(process.execPath, [program, 'local', 'down', '--dir', cluster])),
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
