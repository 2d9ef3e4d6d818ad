/**
 * What a rebuild costs applications: the seed workload in turns without a rebuild, with one under the default policy, and
 * with one under `unlimited`, on one cluster. For each rebuild an SDS is in maintenance while the whole range is written;
 * on its return all of that is to be copied to it by the other two. Prints a JSON line per run and for the whole, and a table.
 * `node dist/bench/rebuild-impact.js [--rounds 3] [--seconds 8] [--range-mib 3072] [--io-mode direct|buffered] [--dir DIR]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import Table from 'cli-table3'
import { MiB } from '../src/base/units.js'
import { withMdm } from '../src/cli/mdm-session.js'
import type { MdmClient } from '../src/mdm-client/index.js'
import type { MdmRequests } from '../src/wire/control.js'
import { fill, measure } from './runner/fio.js'
import { median } from './runner/summary.js'
import { startBlockmesh } from './targets/blockmesh.js'
import { seedMixed } from './workloads/seed-mixed.js'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '8' },
    'range-mib': { type: 'string', default: '3072' },
    'io-mode': { type: 'string', default: 'direct' },
    dir: { type: 'string', default: tmpdir() },
  },
})
const rounds = Number(values.rounds)
const seconds = Number(values.seconds)
const rangeBytes = Number(values['range-mib']) * MiB
const ioMode = values['io-mode'] === 'buffered' ? 'buffered' : 'direct'
/** What applications may lose under the default policy. */
const lossGoal = 0.15
const warmUpSeconds = 4
const healWithinMs = 300_000
const pollMs = 200

type Phase = 'without' | 'default' | 'unlimited'
interface Run {
  phase: Phase
  round: number
  iops: number
  mbPerSec: number
  latencyUsP99: number
  /** Of the rebuild, while both went on. */
  rebuildMbPerSec: number
}

const runs: Run[] = []
const directory = mkdtempSync(join(values.dir, 'blockmesh-rebuild-impact-'))
const target = await startBlockmesh({ directory, rangeBytes }, { name: 'cluster', ioMode })
try {
  const [host, port] = target.mdm.split(':')
  await withMdm({ addresses: [{ host: host!, port: Number(port) }] }, play)
} finally {
  await target.stop()
  rmSync(directory, { recursive: true, force: true })
}

async function play(mdm: MdmClient): Promise<void> {
  await fill(target, rangeBytes)
  await target.settle()
  await healthy(mdm)
  await run(mdm, 'without', 0)
  for (let round = 1; round <= rounds; round++) {
    const sds = `sds-${1 + (round % 3)}`
    await mdm.request('enterMaintenance', { sds })
    await fill(target, rangeBytes)
    await target.settle()
    await mdm.request('exitMaintenance', { sds })
    await until('the rebuild has begun', async () => (await progressOf(mdm)).slicesLeft > 0)
    // Every chunk is marked once on the device that is back: a rebuild that goes on for long has that behind it.
    await measure(target, seedMixed, { rangeBytes, seconds: warmUpSeconds, repetition: round })
    await run(mdm, 'default', round)
    await setPolicy(mdm, { kind: 'unlimited' })
    await run(mdm, 'unlimited', round)
    await healthy(mdm)
    await setPolicy(mdm, null)
    await run(mdm, 'without', round)
  }
  report()
}

async function setPolicy(mdm: MdmClient, policy: MdmRequests['setRebuildPolicy']['policy']): Promise<void> {
  await mdm.request('setRebuildPolicy', { pool: 'pool1', policy })
}

async function run(mdm: MdmClient, phase: Phase, round: number): Promise<void> {
  const rate = phase === 'without' ? null : rebuildRate(mdm)
  const { iops, mbPerSec, latencyUsP99 } = await measure(target, seedMixed, { rangeBytes, seconds, repetition: round })
  const done: Run = { phase, round, iops, mbPerSec, latencyUsP99, rebuildMbPerSec: (await rate?.()) ?? 0 }
  runs.push(done)
  console.log(JSON.stringify({ bench: 'rebuild-impact', ...done }))
}

/** Measures until it is asked, or until nothing is left to copy. */
function rebuildRate(mdm: MdmClient): () => Promise<number> {
  let isOver = false
  const measured = (async () => {
    const first = await progressOf(mdm)
    let last = first
    while (!isOver && last.slicesLeft > 0) {
      await sleep(pollMs)
      last = await progressOf(mdm)
    }
    return (last.copiedBytes - first.copiedBytes) / 1e3 / (last.atMs - first.atMs)
  })()
  return () => {
    isOver = true
    return measured.then(rate => Number(rate.toFixed(1)))
  }
}

async function progressOf(mdm: MdmClient) {
  const { pools, devices } = await mdm.request('query', {})
  const copiedBytes = devices.reduce((sum, { usage }) => sum + (usage?.resyncBytesCopied ?? 0), 0)
  return { atMs: performance.now(), copiedBytes, slicesLeft: pools[0]!.rebuild?.slicesLeft ?? 0 }
}

function healthy(mdm: MdmClient): Promise<void> {
  return until('every slice has two copies', async () => {
    const { slices } = (await mdm.request('query', {})).pools[0]!
    return slices.total > 0 && slices.healthy === slices.total
  })
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + healWithinMs
  while (!(await holds())) {
    if (performance.now() > endMs) throw new Error(`not in time: ${what}`)
    await sleep(pollMs)
  }
}

function report(): void {
  const without = runs.filter(({ phase }) => phase === 'without')
  // Beside the runs just before and just after it, so that what else the machine does is in all three.
  const ratioOf = ({ round, iops }: Run) => iops / ((without[round - 1]!.iops + without[round]!.iops) / 2)
  const head = ['rebuild', 'IOPS', 'MB/s', 'p99 us', 'of without', 'rebuild MB/s']
  const table = new Table({ head, style: { head: [], border: [], compact: true } })
  const figures: Record<string, unknown> = {}
  for (const phase of ['without', 'default', 'unlimited'] as const) {
    const those = runs.filter(run => run.phase === phase)
    const middle = (figure: (run: Run) => number) => Number(median(those.map(figure)).toFixed(3))
    const ratio = phase === 'without' ? 1 : middle(ratioOf)
    const rebuildMbPerSec = middle(run => run.rebuildMbPerSec)
    const [iops, mbPerSec, p99] = [
      middle(run => run.iops),
      middle(run => run.mbPerSec),
      middle(run => run.latencyUsP99),
    ]
    table.push([phase, iops, mbPerSec, p99, ratio, rebuildMbPerSec])
    figures[phase] = { iops, ratio, rebuildMbPerSec }
  }
  console.log(JSON.stringify({ bench: 'rebuild-impact-summary', rounds, ioMode, lossGoal, ...figures }))
  console.log(table.toString())
}

function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}
