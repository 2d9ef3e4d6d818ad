/**
 * Where the time of each daemon goes under one workload, once it is warm. Prints the functions with the most time of their
 * own and how long the event loop was held up; the .cpuprofile files stay in OUT, for a flame graph.
 * `node dist/bench/profile.js WORKLOAD[,WORKLOAD] [SECONDS] [OUT] [direct|buffered]`
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { selfTimes } from './profile/self-times.js'
import { fill, measure } from './runner/fio.js'
import { startBlockmesh } from './targets/blockmesh.js'
import { workloads } from './workloads/index.js'

const [names = '', secondsText = '5', out, ioMode = 'direct'] = process.argv.slice(2)
const wanted = workloads.filter(workload => names.split(',').includes(workload.name))
if (wanted.length === 0 || (ioMode !== 'direct' && ioMode !== 'buffered')) {
  const known = workloads.map(workload => workload.name).join(', ')
  throw new Error(`usage: profile WORKLOAD[,WORKLOAD] [SECONDS] [OUT] [direct|buffered]; workloads: ${known}`)
}

const seconds = Number(secondsText)
const rangeBytes = 512 * 2 ** 20
const rowsShown = 30
const directory = mkdtempSync(join(tmpdir(), 'blockmesh-profile-'))
const profiles = out ?? join(directory, 'profiles')
mkdirSync(profiles, { recursive: true })

const env = {
  NODE_OPTIONS: `--import=${new URL('./profile/agent.js', import.meta.url)}`,
  BENCH_PROFILE_DIR: profiles,
}
const cluster = await startBlockmesh({ directory, rangeBytes }, { name: 'ours', ioMode, env })
try {
  await fill(cluster, rangeBytes)
  for (const workload of wanted) {
    const run = (runSeconds: number) => measure(cluster, workload, { rangeBytes, seconds: runSeconds, repetition: 1 })
    await run(2)
    signalAll()
    const measurement = await run(seconds)
    signalAll()
    console.log(JSON.stringify({ bench: 'profile', ...measurement }))
    for (const { name, pid } of cluster.daemons()) await show(workload.name, name, pid)
  }
} finally {
  await cluster.stop()
  rmSync(directory, { recursive: true, force: true })
}

function signalAll(): void {
  for (const { pid } of cluster.daemons()) process.kill(pid, 'SIGUSR2')
}

async function show(workload: string, daemon: string, pid: number): Promise<void> {
  const written = join(profiles, `${pid}.cpuprofile`)
  for (let tries = 0; tries < 100 && !existsSync(written); tries++) await sleep(50)
  await sleep(200)
  const kept = join(profiles, `${workload}-${ioMode}-${daemon}.cpuprofile`)
  renameSync(written, kept)
  const profile = JSON.parse(readFileSync(kept, 'utf8'))
  const { busyMs, rows } = selfTimes(profile)
  const { loopMsP999, loopMsMax } = profile as { loopMsP999: number; loopMsMax: number }
  const loop = `event loop held up ${loopMsP999.toFixed(1)} ms (p99.9), ${loopMsMax.toFixed(1)} ms (most)`
  console.log(`\n${workload} ${daemon}: ${busyMs.toFixed(0)} ms busy, ${loop}`)
  for (const { place, ms, share } of rows.slice(0, rowsShown))
    console.log(`${(100 * share).toFixed(1).padStart(6)} % ${ms.toFixed(0).padStart(6)} ms  ${place}`)
}
