/**
 * The part of kernel-door that runs in a kernel with the nbd module: attaches all doors, then gives each workload to all of
 * them in turn. Prints a JSON line per run. `node guest.js DOORS WORKLOADS SECONDS REPETITIONS`
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { MiB } from '../../src/base/units.js'
import { print, round, runBench } from '../runner/bench-run.js'
import { measure } from '../runner/fio.js'
import type { Target } from '../runner/target.js'
import { openDoor } from './doors.js'
import { doorWorkloads } from './workloads.js'

const [doors = '', workloads = '', seconds = '2', repetitions = '3'] = process.argv.slice(2)
const rangeBytes = 128 * MiB

interface Device {
  name: string
  path: string
  target: Target
}

const settingOf = (path: string, name: string): string =>
  readFileSync(join('/sys/block', basename(path), 'queue', name), 'utf8').trim()

await runBench('door', async ({ directory, keep }) => {
  const devices: Device[] = []
  for (const spec of doors.split(',')) {
    // NAME[:connections][/setting=value]…
    const [name, ...settings] = spec.split('/')
    const door = keep(await openDoor(name!, { directory, rangeBytes }))
    for (const setting of settings) {
      const [key, value] = setting.split('=')
      writeFileSync(join('/sys/block', basename(door.device), 'queue', key!), value!)
    }
    const queue = ['max_sectors_kb', 'scheduler', 'nr_requests', 'nomerges', 'rotational', 'io_timeout']
    print({
      bench: 'kernel-door-device',
      door: spec,
      info: door.info,
      ...Object.fromEntries(queue.map(key => [key, settingOf(door.device, key)])),
    })
    const target: Target = {
      name: spec,
      info: door.info,
      fio: () => ['--ioengine=libaio', `--filename=${door.device}`],
      processes: () => door.processes(),
      settle: async () => {},
      stop: async () => {},
    }
    devices.push({ name: spec, path: door.device, target })
  }
  const chosen = doorWorkloads.filter(one => workloads === 'all' || workloads.split(',').includes(one.name))
  for (let repetition = 0; repetition <= Number(repetitions); repetition++)
    for (const workload of chosen)
      for (const at of devices.keys()) {
        const { target } = devices[(at + repetition) % devices.length]!
        // Repetition 0 warms everything up.
        const run = await measure(target, workload, {
          rangeBytes,
          seconds: repetition === 0 ? 1 : Number(seconds),
          repetition,
        })
        const { iops, mbPerSec, latencyUsMean, latencyUsP99, cpuSecPerKio } = run
        if (repetition > 0)
          print({
            bench: 'kernel-door',
            workload: workload.name,
            door: target.name,
            repetition,
            iops: round(iops, 0),
            mbPerSec,
            latencyUsMean,
            latencyUsP99,
            cpuSecPerKio,
          })
      }
})
