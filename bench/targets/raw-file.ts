import { join } from 'node:path'
import type { Target, TargetPlace } from '../runner/target.js'

/** The yardstick: a file without a server, through libaio and O_DIRECT. fio makes it when it fills it. */
export async function startRawFile({ directory }: TargetPlace): Promise<Target> {
  const path = join(directory, 'raw')
  return {
    name: 'raw',
    info: 'a file, libaio and O_DIRECT',
    fio: () => ['--ioengine=libaio', `--filename=${path}`, '--fallocate=none', '--overwrite=1'],
    processes: () => [],
    settle: async () => {},
    stop: async () => {},
  }
}
