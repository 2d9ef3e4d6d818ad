import { setTimeout as sleep } from 'node:timers/promises'
import { errorTable } from '../../base/errors.js'
import { type DeviceId, numberOfId, type SystemId } from '../../base/ids.js'
import type { MdmClient } from '../../mdm-client/index.js'
import { systemIdOf } from '../../model/index.js'
import type { Link } from '../../ports/link.js'
import type { CompareReport } from '../../wire/data.js'
import { CompareSession } from './compare-session.js'
import { type PlacementFault, placementFaults, type SliceTask, slicesToCheck } from './placement.js'

/** How many slices are compared at once at each primary: enough to keep both disks busy, and room for clients. */
const slicesAtOncePerDevice = 2
/** How long a slice that nobody serves now is asked for again. */
const retryMs = 30_000
const retryPauseMs = 200
/** A check stops listing here; the counts go on. */
const differencesMax = 1_000

export interface CheckResult {
  equal: boolean
  slices: number
  chunksCompared: number
  bytesCompared: number
  differenceCount: number
  differences: CompareReport['differences']
  placement: PlacementFault[]
  notCompared: { pool: string; slice: number; reason: string }[]
}

export interface CheckWork {
  mdm: MdmClient
  link: Link
  /** How long to wait, all in all, for copies that are being filled. */
  settleMs: number
  progress(sentence: string): void
}

/** Compares both copies of every chunk of every pool, through their primaries, while the system is in use. */
export async function runCheck(work: CheckWork): Promise<CheckResult> {
  const { mdm, progress } = work
  await mdm.subscribe()
  const settledByMs = performance.now() + work.settleMs
  await untilFilled(work, settledByMs)
  const tasks = slicesToCheck(mdm.map)
  const result: CheckResult = {
    equal: false,
    slices: tasks.length,
    chunksCompared: 0,
    bytesCompared: 0,
    differenceCount: 0,
    differences: [],
    placement: placementFaults(mdm.map),
    notCompared: [],
  }
  const sessions = new Map<DeviceId, CompareSession>()
  let done = 0
  let saidAtMs = performance.now()
  const compareAll = async (queue: SliceTask[]) => {
    for (let task = queue.shift(); task; task = queue.shift()) {
      const outcome = await compareSlice(work, sessions, task, settledByMs)
      if (typeof outcome === 'string') {
        const pool = mdm.map.tables.pools.get(task.poolId)?.name ?? task.poolId
        result.notCompared.push({ pool, slice: task.slice, reason: outcome })
      } else addReport(result, outcome)
      done++
      if (performance.now() - saidAtMs < 2_000) continue
      saidAtMs = performance.now()
      progress(`${Math.floor((done * 100) / tasks.length)}%: ${done} of ${tasks.length} slices compared`)
    }
  }
  const queues = new Map<DeviceId, SliceTask[]>()
  for (const task of tasks) {
    const queue = queues.get(task.primary)
    if (queue) queue.push(task)
    else queues.set(task.primary, [task])
  }
  const workers = [...queues.values()].flatMap(queue =>
    Array.from({ length: slicesAtOncePerDevice }, () => compareAll(queue)),
  )
  try {
    await Promise.all(workers)
  } finally {
    for (const session of sessions.values()) session.close()
  }
  result.equal = result.differenceCount === 0 && result.placement.length === 0 && result.notCompared.length === 0
  return result
}

function addReport(result: CheckResult, report: CompareReport): void {
  result.chunksCompared += report.chunksCompared
  result.bytesCompared += report.bytesCompared
  result.differenceCount += report.differences.length
  const room = differencesMax - result.differences.length
  if (room > 0) result.differences.push(...report.differences.slice(0, room))
}

/** Slices without a second copy in sync cannot be compared; most of them are just being filled. */
async function untilFilled({ mdm, progress }: CheckWork, endMs: number): Promise<void> {
  let said = false
  while (placementFaults(mdm.map).some(fault => fault.kind === 'missing') && performance.now() < endMs) {
    if (!said) progress('waiting for copies that are being filled')
    said = true
    await sleep(retryPauseMs)
  }
}

/** The primary's report, or why there is none. */
async function compareSlice(
  { mdm, link }: CheckWork,
  sessions: Map<DeviceId, CompareSession>,
  { poolId, slice }: SliceTask,
  settledByMs: number,
): Promise<CompareReport | string> {
  let endMs = performance.now() + retryMs
  for (;;) {
    const { map } = mdm
    const record = map.slices.get(poolId)?.[slice]
    if (!record) return 'the pool has no slice table any more'
    const device = map.tables.devices.get(record.primary)
    const sds = device && map.tables.sdss.get(device.sdsId)
    if (!sds) return `the map does not know the SDS of primary ${record.primary}`
    if (record.secondary === null) {
      // It may have fallen out of sync since the check began.
      if (performance.now() > settledByMs) return 'there is one copy only'
      await sleep(retryPauseMs)
      endMs = performance.now() + retryMs
      continue
    }
    let session = sessions.get(record.primary)
    if (!session || session.lostReason !== null) {
      const systemId = systemIdOf(map) as SystemId
      session = new CompareSession(link, sds.endpoint, systemId, record.primary, map.version)
      sessions.set(record.primary, session)
    }
    const pool = numberOfId(poolId)
    const outcome = await session.compare({ pool, slice, epoch: record.epoch, mapVersion: map.version })
    if (outcome.kind === 'compared') return outcome.report
    if (outcome.kind === 'refused' && !errorTable[outcome.code].retry)
      return `${sds.name} refused: ${outcome.sentence || errorTable[outcome.code].say}`
    if (performance.now() > endMs) return `${sds.name}: ${reasonOf(outcome)}`
    if (outcome.kind === 'stale' && outcome.deltas.length > 0) mdm.offerDeltas(outcome.deltas)
    await sleep(retryPauseMs)
  }
}

function reasonOf(outcome: { kind: string; reason?: string; sentence?: string }): string {
  if (outcome.kind === 'stale') return 'its configuration kept changing'
  return outcome.reason ?? outcome.sentence ?? 'it does not answer'
}
