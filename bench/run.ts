/**
 * Blockmesh beside the raw file and other servers, with the same fio jobs in one run. The whole range is written first;
 * within each repetition every workload goes to all targets in turn, so that they see the same noise. Systems that do not
 * rest while nobody uses them have their turn alone, within the same repetition.
 * `npm run bench -- --help`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { fill, measure, readAll } from './runner/fio.js'
import type { Measurement } from './runner/measurement.js'
import { type BenchOptions, parseOptions, sdssDefault, usage } from './runner/options.js'
import { formatReport } from './runner/report.js'
import { type Summary, summarize } from './runner/summary.js'
import type { Target, TargetPlace } from './runner/target.js'
import { startBlockmesh } from './targets/blockmesh.js'
import { startNbdServer } from './targets/nbd-servers.js'
import { startPeer } from './targets/peer.js'
import { isInstalled } from './targets/programs.js'
import { startRawFile } from './targets/raw-file.js'

const note = (sentence: string): void => void process.stderr.write(`bench: ${sentence}\n`)
const print = (line: unknown): void => console.log(JSON.stringify(line))

/** Set by Ctrl-C: the run under way is finished, then everything is taken down. */
let isInterrupted = false
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    isInterrupted = true
  })

async function startTargets(options: BenchOptions, place: TargetPlace, targets: Target[]): Promise<void> {
  const starts: [string, () => Promise<Target>][] = [
    ...options.ioModes.flatMap(ioMode =>
      options.sdss.map((count): [string, () => Promise<Target>] => {
        const mode = ioMode === 'direct' ? [] : [ioMode]
        const sdss = count === sdssDefault ? [] : [`${count}sdss`]
        const name = ['ours', ...mode, ...sdss].join('-')
        const shape = ['--sdss', String(count), '--fault-sets', String(count)]
        return [name, () => startBlockmesh(place, { name, ioMode, shape })]
      }),
    ),
    ['raw', () => startRawFile(place)],
  ]
  if (await isInstalled('nbdkit')) starts.push(['nbdkit', () => startNbdServer('nbdkit', place)])
  else note('nbdkit is not installed: left out')
  for (const peer of options.peers) starts.push([peer, () => startPeer(peer, place)])
  for (const [name, start] of starts) {
    if (isInterrupted) return
    note(`starting ${name}`)
    const target = await start()
    targets.push(target)
    note(`writing ${place.rangeBytes / 2 ** 20} MiB of ${target.name} (${target.info})`)
    await fill(target, place.rangeBytes)
    await target.settle()
    await target.rest?.()
  }
}

/** From `from` on, round to it: whoever comes after the one that fills caches would always be the same one. */
const turned = <T>(list: readonly T[], from: number): T[] => list.map((_, index) => list[(index + from) % list.length]!)

/** First some rounds that do not count: daemons that have run for minutes are what users have, and V8 compiles what is hot. */
async function measureAll(options: BenchOptions, targets: readonly Target[]): Promise<Measurement[]> {
  const measurements: Measurement[] = []
  const restless = targets.filter(({ rest }) => rest !== undefined)
  const groups = [targets.filter(target => !restless.includes(target)), ...restless.map(target => [target])]
  for (let round = 0; round < options.warmUpRounds + options.repetitions; round++)
    for (const group of turned(groups, round)) {
      for (const target of group)
        await wake(target, options.rangeBytes).catch(error => note(`${target.name}: ${(error as Error).message}`))
      measurements.push(...(await measureGroup(options, group, round)))
      for (const target of group)
        await target.rest?.().catch(error => note(`${target.name}: ${(error as Error).message}`))
      if (isInterrupted) return measurements
    }
  return measurements
}

async function wake(target: Target, rangeBytes: number): Promise<void> {
  if (target.wake === undefined) return
  note(`starting ${target.name} again`)
  await target.wake()
  await readAll(target, rangeBytes)
}

async function measureGroup(options: BenchOptions, group: readonly Target[], round: number): Promise<Measurement[]> {
  const { rangeBytes, seconds, warmUpRounds, repetitions } = options
  const measurements: Measurement[] = []
  const repetition = round - warmUpRounds + 1
  const counts = repetition >= 1
  for (const workload of options.workloads) {
    note(`${counts ? `repetition ${repetition} of ${repetitions}` : 'warming up'}: ${workload.title}`)
    for (const target of turned(group, round)) {
      if (isInterrupted) return measurements
      try {
        const measurement = await measure(target, workload, { rangeBytes, seconds, repetition })
        if (counts) measurements.push(measurement)
        print({ bench: counts ? 'run' : 'warm-up', ...measurement })
      } catch (error) {
        note(`${target.name}, ${workload.name}: ${(error as Error).message}`)
      }
      await target.settle()
    }
  }
  return measurements
}

async function main(options: BenchOptions): Promise<void> {
  if (!(await isInstalled('fio'))) throw new Error('fio is not installed; on Debian: apt-get install fio')
  const directory = mkdtempSync(join(options.directory, 'blockmesh-bench-'))
  const targets: Target[] = []
  try {
    await startTargets(options, { directory, rangeBytes: options.rangeBytes }, targets)
    const measurements = await measureAll(options, targets)
    const summaries: Summary[] = options.workloads.flatMap(workload =>
      targets.flatMap(target => summarize(workload, target.name, measurements) ?? []),
    )
    for (const summary of summaries) print({ bench: 'summary', ...summary })
    console.log(
      `${cpus().length} cores, everything on this machine; range ${options.rangeBytes / 2 ** 20} MiB, ` +
        `${options.repetitions} x ${options.seconds} s; median (least-most)`,
    )
    for (const target of targets) console.log(`${target.name}: ${target.info}`)
    console.log(formatReport(options.workloads, summaries))
  } finally {
    for (const target of targets.reverse())
      await target.stop().catch(error => note(`${target.name} did not stop: ${(error as Error).message}`))
    rmSync(directory, { recursive: true, force: true })
  }
}

let options: BenchOptions | 'help'
try {
  options = parseOptions(process.argv.slice(2))
} catch (error) {
  note((error as Error).message)
  process.stderr.write(usage)
  process.exit(64)
}
if (options === 'help') process.stdout.write(usage)
else {
  const { isShort } = options
  try {
    await main(options)
  } catch (error) {
    note((error as Error).stack ?? String(error))
    // A figure, or its absence, never fails a build.
    process.exitCode = isShort ? 0 : 1
  }
}
