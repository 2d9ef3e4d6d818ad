/**
 * The NBD engine by itself: fio's nbd engine against a volume in memory, over a unix socket. Prints one JSON line per
 * workload. `node dist/bench/nbd-engine.js [seconds per workload]`
 */
import { run, startNbdServer } from '../test/integration/nbd-server.js'
import { MemoryBackend } from '../test/support/memory-backend.js'

const seconds = Number(process.argv[2] ?? 3)
const sizeBytes = 256 * 1024 * 1024

const backend = new MemoryBackend({ name: 'bench', sizeBytes, chunkBytes: 1024 * 1024 })
backend.zero(0, sizeBytes, false, false, () => {})
const server = await startNbdServer([backend])

for (const [rw, blockSize] of [
  ['randread', '4k'],
  ['randwrite', '4k'],
  ['read', '1m'],
  ['write', '1m'],
] as const) {
  const cpuBefore = process.cpuUsage()
  const stdout = await run(
    'fio',
    '--name=bench',
    '--ioengine=nbd',
    `--uri=${server.uri('bench')}`,
    `--rw=${rw}`,
    `--bs=${blockSize}`,
    '--iodepth=16',
    `--size=${sizeBytes}`,
    '--time_based',
    `--runtime=${seconds}`,
    '--randrepeat=0',
    '--output-format=json',
  )
  const cpu = process.cpuUsage(cpuBefore)
  // fio may put warnings in front of its JSON.
  const job = JSON.parse(stdout.slice(stdout.indexOf('{'))).jobs[0]
  const side = rw.endsWith('read') ? job.read : job.write
  const line = {
    bench: 'nbd-engine',
    rw,
    blockSize,
    iodepth: 16,
    iops: Math.round(side.iops),
    mibPerSec: Math.round(side.bw_bytes / 2 ** 20),
    latencyUsP50: Math.round(side.clat_ns.percentile['50.000000'] / 1000),
    latencyUsP99: Math.round(side.clat_ns.percentile['99.000000'] / 1000),
    serverCpuUsPerRequest: Number(((cpu.user + cpu.system) / side.total_ios).toFixed(2)),
  }
  console.log(JSON.stringify(line))
}
await server.close()
