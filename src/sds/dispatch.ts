import { chunkKey } from '../base/ids.js'
import { type DataFrame, opcodes } from '../wire/data.js'
import { checkArrival, checkCopyRequest, type Verdict } from './admission.js'
import { answerAllocation, checkAllocation } from './allocation.js'
import { checkCompare, compare } from './compare.js'
import { checkUnmark, copyUnmark } from './copy-unmark.js'
import { checkFlush, flush } from './flush.js'
import { PrimaryChange } from './primary-change.js'
import { PrimaryRead } from './primary-read.js'
import { answerMarks, beginResync, checkMarks, checkResync, syncResync } from './resync-target.js'
import { CopyChange, CopyRead, isWholeChunk } from './secondary.js'
import type { Session } from './session.js'

/** How long a request waits for the map to catch up with it. */
const parkMsMax = 5_000

/** One kind of request: the check that it gets when it arrives, and what then becomes of it. */
interface Service {
  check(session: Session, frame: DataFrame): Verdict
  start(session: Session, frame: DataFrame): void
}

const clientChange: Service = {
  check: (session, frame) => checkArrival(session.context, session, frame),
  start: (session, frame) => new PrimaryChange(session, frame).start(),
}
const copyChange: Service = {
  check: (session, frame) => checkCopyRequest(session.context, session, frame),
  start: (session, frame) => new CopyChange(session, frame).start(),
}
const flushing: Service = { check: checkFlush, start: flush }
const allocation: Service = { check: checkAllocation, start: answerAllocation }

/** They concern many chunks of a slice. */
const wideOpcodes: ReadonlySet<number> = new Set([
  opcodes.resyncBegin,
  opcodes.resyncSync,
  opcodes.resyncMarks,
  opcodes.copyUnmark,
])

/** By who asks; a kind that is not named here is served nothing. */
const services: Partial<Record<Session['kind'], Partial<Record<number, Service>>>> = {
  sdc: {
    [opcodes.read]: {
      check: clientChange.check,
      start: (session, frame) => new PrimaryRead(session, frame).start(),
    },
    [opcodes.write]: clientChange,
    [opcodes.trim]: clientChange,
    [opcodes.zero]: clientChange,
    [opcodes.flush]: flushing,
    [opcodes.allocation]: allocation,
  },
  sds: {
    [opcodes.copyRead]: {
      check: copyChange.check,
      start: (session, frame) => new CopyRead(session, frame).start(),
    },
    [opcodes.copyWrite]: copyChange,
    [opcodes.copyTrim]: {
      check: (session, frame) => (isWholeChunk(frame) ? copyChange.check(session, frame) : 'BAD_REQUEST'),
      start: copyChange.start,
    },
    [opcodes.copyZero]: copyChange,
    [opcodes.resyncBegin]: { check: checkResync, start: beginResync },
    [opcodes.resyncSync]: { check: checkResync, start: syncResync },
    [opcodes.resyncMarks]: { check: checkMarks, start: answerMarks },
    [opcodes.copyUnmark]: { check: checkUnmark, start: copyUnmark },
    [opcodes.flush]: flushing,
    [opcodes.allocation]: allocation,
  },
  check: {
    [opcodes.compare]: { check: checkCompare, start: compare },
  },
}

/** A request of a welcomed session. */
export function dispatch(session: Session, frame: DataFrame): void {
  if (session.parked.length > 0 && waitsBehind(session, frame)) park(session, frame)
  else admit(session, frame, null)
}

/** The map moved on: requests that waited for it are looked at again, in their order. */
export function unpark(session: Session): void {
  const waiting = session.parked
  session.parked = []
  for (const { frame, untilMs } of waiting) {
    if (session.isEnded) return
    if (session.parked.length > 0 && waitsBehind(session, frame)) session.parked.push({ frame, untilMs })
    else admit(session, frame, untilMs)
  }
}

/** Refuses what has waited too long. */
export function expireParked(session: Session, nowMs: number): void {
  while (session.parked.length > 0 && session.parked[0]!.untilMs <= nowMs)
    session.refuse(session.parked.shift()!.frame, 'NOT_READY')
}

function admit(session: Session, frame: DataFrame, untilMs: number | null): void {
  const service = services[session.kind]?.[frame.opcode]
  if (service === undefined) {
    session.refuse(frame, 'BAD_REQUEST')
    return
  }
  const verdict = service.check(session, frame)
  if (verdict === 'admit') service.start(session, frame)
  else if (verdict !== 'park') session.refuse(frame, verdict)
  else if (untilMs === null) park(session, frame)
  else session.parked.push({ frame, untilMs })
}

function park(session: Session, frame: DataFrame): void {
  // Nothing may overtake it below TypeScript.
  session.device.callBackLanes(lane => lane.session === session)
  session.context.counters.parked++
  session.parked.push({ frame, untilMs: session.context.clock.nowMs() + parkMsMax })
}

/**
 * Requests for one chunk stay in order, so one waits behind an earlier one of its chunk; those that concern a whole
 * slice, and what comes after them, wait behind everything.
 */
function waitsBehind(session: Session, frame: DataFrame): boolean {
  if (frame.opcode === opcodes.flush || frame.opcode === opcodes.allocation) return false
  const key = chunkKey(frame.volume, frame.chunk)
  return session.parked.some(
    ({ frame: earlier }) =>
      wideOpcodes.has(frame.opcode) ||
      wideOpcodes.has(earlier.opcode) ||
      chunkKey(earlier.volume, earlier.chunk) === key,
  )
}
