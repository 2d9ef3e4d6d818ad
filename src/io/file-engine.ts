import { assert } from '../base/assert.js'
import type { DiskDone } from '../ports/disk.js'
import { alignPayloads } from '../wire/payload-memory.js'
import { addon, errnoName } from './addon.js'
import { systemClock } from './clock.js'
import { onCompletions, rethrow } from './turn.js'

export const opKinds = { read: 0, write: 1, sync: 2, erase: 3 } as const
export type OpKind = (typeof opKinds)[keyof typeof opKinds]

/** Who is told that one of his operations has ended, just before its `done` is called. */
export interface OpOwner {
  opEnded(): void
}

// One operation in the submission array: kind, slot, handle, offset, length, number of pieces.
const fieldsPerOp = 6
const opsPerBatchMax = 512
const completionsPerWakeMax = 1024
const noPieces: readonly Buffer[] = []

const submission = new Float64Array(opsPerBatchMax * fieldsPerOp)
const completions = new Int32Array(completionsPerWakeMax * 2)

// The table of operations under way, by slot. `kept` holds the buffers that the addon's threads work on.
const dones: (DiskDone | null)[] = []
const owners: (OpOwner | null)[] = []
const kept: (readonly Buffer[])[] = []
const freeSlots: number[] = []
const errorNames = new Map<number, string>()

let queuedCount = 0
let queuedPieces: Buffer[] = []
let isStarted = false

/**
 * Queues one operation on an open file. All that is queued in one turn of the event loop goes to the addon in one
 * call; completions come back in batches too. `done` is never called before this returns.
 */
export function queueOp(
  owner: OpOwner,
  kind: OpKind,
  handle: number,
  offsetBytes: number,
  lengthBytes: number,
  pieces: readonly Buffer[],
  done: DiskDone,
): void {
  const slot = takeSlot(owner, pieces, done)
  if (queuedCount === 0) systemClock.endOfTurn(submitQueued)
  const at = queuedCount * fieldsPerOp
  submission[at] = kind
  submission[at + 1] = slot
  submission[at + 2] = handle
  submission[at + 3] = offsetBytes
  submission[at + 4] = lengthBytes
  submission[at + 5] = pieces.length
  for (const piece of pieces) queuedPieces.push(piece)
  queuedCount += 1
  if (queuedCount === opsPerBatchMax) submitQueued()
}

/** An operation on no file, which the addon ends; returns its slot. */
export function beginOp(done: () => void): number {
  start()
  return takeSlot(nobody, noPieces, done)
}

function takeSlot(owner: OpOwner, pieces: readonly Buffer[], done: DiskDone): number {
  const slot = freeSlots.pop() ?? dones.length
  dones[slot] = done
  owners[slot] = owner
  kept[slot] = pieces
  return slot
}

/** It has not begun after all. */
export function takeOpBack(slot: number): void {
  dones[slot] = null
  owners[slot] = null
  freeSlots.push(slot)
}

const nobody: OpOwner = { opEnded() {} }

/** Hands over what is queued; for those who must not wait for the end of the turn. */
export function submitQueued(): void {
  if (queuedCount === 0) return
  start()
  const count = queuedCount
  const pieces = queuedPieces
  queuedCount = 0
  queuedPieces = []
  addon.engineSubmit(count, pieces)
}

function start(): void {
  if (isStarted) return
  // For comparisons and tests; where the kernel lets nobody have a ring, threads do all the work anyway.
  addon.engineStart(submission, completions, wake, process.env.BLOCKMESH_FILE_ENGINE !== 'threads')
  onCompletions(wake)
  alignPayloads(addon.placeInPage)
  isStarted = true
}

function wake(count: number): void {
  for (let i = 0; i < count; i++) {
    const slot = completions[2 * i]!
    const errno = completions[2 * i + 1]!
    try {
      complete(slot, errno === 0 ? null : nameOf(errno))
    } catch (error) {
      // The addon drops exceptions, and the others in the batch must hear of their ends: it goes up by itself.
      process.nextTick(rethrow, error)
    }
  }
}

function complete(slot: number, error: string | null): void {
  const done = dones[slot]
  const owner = owners[slot]
  assert(done && owner, 'an operation ends once')
  dones[slot] = null
  owners[slot] = null
  kept[slot] = noPieces
  freeSlots.push(slot)
  owner.opEnded()
  done(error)
}

function nameOf(errno: number): string {
  let name = errorNames.get(errno)
  if (name === undefined) {
    name = errnoName(errno)
    errorNames.set(errno, name)
  }
  return name
}
