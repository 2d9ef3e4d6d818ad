import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { CountedProcess } from '../runner/process-usage.js'
import type { TargetPlace } from '../runner/target.js'
import { startBlockmesh } from '../targets/blockmesh.js'
import { endProcess, runToEnd, waitForFile } from '../targets/programs.js'

/** A server with its /dev/nbdX. */
export interface Door {
  device: string
  info: string
  processes(): CountedProcess[]
  stop(): Promise<void>
}

/** nbd-client is told which device to take; ours come from the other end. */
let freeIndex = 7
let doorCount = 0

const server = fileURLToPath(new URL('server.js', import.meta.url))

/**
 * `file`, `memory`: our engine by itself on a file with direct I/O, or on memory; `qemu-nbd`, `qemu-memory`: nbd-client with
 * qemu-nbd on the same kinds of file; `cluster`: our SDC with three SDSs. `:N` is the number of connections.
 */
export async function openDoor(spec: string, place: TargetPlace): Promise<Door> {
  const [kind, given] = spec.split(':')
  const connections = Number(given ?? 1)
  const file = (directory: string) => writtenFile(join(directory, `door-${++doorCount}`), place)
  switch (kind) {
    case 'file':
      return ourDoor(await file(place.directory), connections, place)
    case 'memory':
      return ourDoor('memory', connections, place)
    case 'qemu-nbd':
      return qemuDoor(await file(place.directory), 'none', connections)
    case 'qemu-memory':
      return qemuDoor(await file('/dev/shm'), 'writeback', connections)
    case 'cluster':
      return clusterDoor(place, connections)
  }
  throw new Error(`there is no door ${spec}`)
}

async function writtenFile(path: string, { rangeBytes }: TargetPlace): Promise<string> {
  await runToEnd('dd', [
    'if=/dev/zero',
    `of=${path}`,
    'bs=1M',
    `count=${rangeBytes / 2 ** 20}`,
    'conv=fsync',
    'status=none',
  ])
  return path
}

async function ourDoor(path: string, connections: number, { rangeBytes }: TargetPlace): Promise<Door> {
  const args = [server, path, String(rangeBytes), String(connections)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const failed = once(child, 'exit').then(([code]) =>
    Promise.reject(new Error(`the server of ${path} ended with ${code}`)),
  )
  const [device] = (await Promise.race([once(createInterface(child.stdout), 'line'), failed])) as [string]
  failed.catch(() => {})
  return {
    device,
    info: `our engine, ${connections} connections, ${path === 'memory' ? 'memory' : 'a file, direct I/O'}`,
    processes: () => [{ role: 'server', pid: child.pid! }],
    stop: () => endProcess(child),
  }
}

async function qemuDoor(file: string, cache: 'none' | 'writeback', connections: number): Promise<Door> {
  const device = `/dev/nbd${freeIndex--}`
  const socket = `${file}.socket`
  const io = cache === 'none' ? ['--cache=none', '--aio=native'] : ['--cache=writeback']
  const args = ['--persistent', '--shared=8', '--format=raw', ...io, '--socket', socket, file]
  const child = spawn('qemu-nbd', args, { stdio: 'ignore' })
  await waitForFile(socket)
  await runToEnd('nbd-client', ['-unix', socket, device, '-C', String(connections), '-b', '4096'])
  return {
    device,
    info: `nbd-client and qemu-nbd, ${connections} connections, cache=${cache}`,
    processes: () => [{ role: 'server', pid: child.pid! }],
    async stop() {
      await runToEnd('nbd-client', ['-d', device])
      await endProcess(child)
      await runToEnd('rm', ['-f', file, socket])
    },
  }
}

/** Everything of ours in the guest: three SDSs on files with direct I/O, two copies of each write. */
async function clusterDoor(place: TargetPlace, connections: number): Promise<Door> {
  const cluster = await startBlockmesh(place, { name: 'c', ioMode: 'direct' })
  const { device } = cluster.file().volumes[0]!
  const fill = `fio --name=fill --filename=${device} --rw=write --bs=1M --size=${place.rangeBytes} --ioengine=libaio --iodepth=8 --direct=1`
  await runToEnd('sh', ['-c', `${fill} --minimal`])
  return {
    device: device!,
    info: `${cluster.info}, ${connections} connections`,
    processes: cluster.processes,
    stop: cluster.stop,
  }
}
