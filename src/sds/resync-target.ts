import { chunkKey } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import { firstChunkIn, roleOf } from '../core/sds/index.js'
import { type DataFrame, opcodes } from '../wire/data.js'
import { checkPrimary, type Verdict } from './admission.js'
import { DeviceRequest } from './device-request.js'
import { wholeBody } from './flush.js'
import type { Session } from './session.js'
import { codeOfStoreError } from './store-error.js'

const pairBytes = 8

/** The joining copy's side of `resyncBegin` and `resyncSync`. */
export function checkResync(session: Session, frame: DataFrame): Verdict {
  if (frame.opcode === opcodes.resyncBegin && frame.bodyBytes % pairBytes !== 0) return 'BAD_REQUEST'
  const verdict = checkPrimary(session.context, session, frame)
  if (verdict !== 'admit') return verdict
  const record = session.context.view.record(frame.pool, frame.slice)!
  return roleOf(record, session.device.id) === 'joining' ? 'admit' : 'BAD_REQUEST'
}

/**
 * Drops every chunk of the slice that the primary does not have. Which ones is decided, and their locks are asked for,
 * before anything that came later on this session: a chunk that the primary allocates from now on is not among them.
 */
export function beginResync(session: Session, frame: DataFrame): void {
  const keep = new Set<number>()
  const pairs = wholeBody(frame)
  for (let at = 0; at < pairs.length; at += pairBytes)
    keep.add(chunkKey(pairs.readUInt32BE(at), pairs.readUInt32BE(at + 4)))
  new SliceClearing(session, frame).start(keep)
}

class SliceClearing {
  #left = 1
  #code: ReturnType<typeof codeOfStoreError> | null = null

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {}

  start(keep: ReadonlySet<number>): void {
    const { view } = this.session.context
    const { store } = this.session.device
    const pool = view.pools.get(this.frame.pool)!
    for (const volume of view.volumesOf(pool)) {
      const first = firstChunkIn(volume, this.frame.slice)
      for (const chunk of store.chunksOf(volume.number, first, volume.chunkCount, pool.sliceCount)) {
        if (keep.has(chunkKey(volume.number, chunk)) || mutate('keep-what-the-primary-has-not')) continue
        this.#left++
        new ChunkDrop(this, volume.number, chunk).start()
      }
    }
    this.dropped(null)
  }

  /** Not any more once the record has moved on: then the chunk may be needed. */
  get isDue(): boolean {
    return checkResync(this.session, this.frame) === 'admit'
  }

  dropped(code: SliceClearing['code']): void {
    this.#code ??= code
    if (--this.#left > 0) return
    if (this.#code !== null) this.session.refuse(this.frame, this.#code)
    else if (!this.isDue) this.session.refuse(this.frame, 'NOT_READY')
    else this.session.answer(this.frame)
  }

  get code() {
    return this.#code
  }
}

class ChunkDrop extends DeviceRequest {
  constructor(
    readonly clearing: SliceClearing,
    volume: number,
    chunk: number,
  ) {
    super(clearing.session.device, volume, chunk)
  }

  start(): void {
    this.beginExclusive(0, chunkBytes)
  }

  override lockGranted(): void {
    if (!this.clearing.isDue) {
      this.end()
      this.clearing.dropped(null)
      return
    }
    this.device.store.remove(this.volume, this.chunk, error => {
      this.end()
      this.clearing.dropped(error === null ? null : codeOfStoreError(this.clearing.session.context, error))
    })
  }
}

/** Everything of the slice is durable before the answer, the epoch too. */
export function syncResync(session: Session, frame: DataFrame): void {
  session.device.store.sync(error => {
    if (error !== null) return session.refuse(frame, codeOfStoreError(session.context, error))
    const verdict = checkResync(session, frame)
    if (verdict === 'admit') session.answer(frame)
    else session.refuse(frame, verdict === 'park' ? 'NOT_READY' : verdict)
  })
}
