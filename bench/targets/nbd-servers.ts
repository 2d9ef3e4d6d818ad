import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Target, TargetPlace } from '../runner/target.js'
import { endProcess, runToEnd, waitForFile } from './programs.js'

interface Recipe {
  program: string
  info: string
  /** Stays in the foreground. */
  args(file: string, socket: string): string[]
}

const recipes: Record<'nbdkit' | 'qemu-nbd', Recipe> = {
  nbdkit: {
    program: 'nbdkit',
    info: 'file plugin, page cache, one copy, unix socket',
    args: (file, socket) => ['--foreground', '--unix', socket, 'file', `file=${file}`],
  },
  'qemu-nbd': {
    program: 'qemu-nbd',
    info: 'O_DIRECT and linux-aio, one copy, unix socket',
    args: (file, socket) => [
      '--persistent',
      '--shared=8',
      '--format=raw',
      '--cache=none',
      '--aio=native',
      '--socket',
      socket,
      file,
    ],
  },
}

/** A server of one file of its own, which is written whole first. */
export async function startNbdServer(name: keyof typeof recipes, place: TargetPlace): Promise<Target> {
  const { program, info, args } = recipes[name]
  const file = join(place.directory, name)
  const socket = join(place.directory, `${name}.socket`)
  const mebibytes = String(place.rangeBytes / 2 ** 20)
  await runToEnd('dd', ['if=/dev/zero', `of=${file}`, 'bs=1M', `count=${mebibytes}`, 'conv=fsync', 'status=none'])
  const child = spawn(program, args(file, socket), { stdio: 'ignore' })
  await waitForFile(socket)
  return {
    name,
    info,
    fio: () => ['--ioengine=nbd', `--uri=nbd+unix:///?socket=${socket}`],
    processes: () => [{ role: 'server', pid: child.pid! }],
    settle: async () => void (await runToEnd('sync', [file])),
    stop: () => endProcess(child),
  }
}
