import { type FillKind, FillThrottle } from '../core/sds/index.js'
import type { IoPolicy } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import { pieceBytes } from './fill-piece.js'
import type { Resync } from './resync.js'
import type { SliceFill } from './slice-fill.js'

type Policies = Record<FillKind, IoPolicy>

/**
 * Gives the fills of one device their turns, within the pool's policies. Pieces of slices with one copy go first: a move
 * gets a turn only when none of these waits for one.
 */
export class FillPieces {
  readonly #throttle: FillThrottle
  /** Fills that copy, in turn. */
  readonly #copying: Record<FillKind, SliceFill[]> = { rebuild: [], rebalance: [] }
  #timer: Timer | null = null
  #isPumping = false

  constructor(
    readonly resync: Resync,
    policies: Policies,
  ) {
    this.#throttle = new FillThrottle(policies, resync.context.clock.nowMs())
  }

  setPolicies(policies: Policies): void {
    this.#throttle.setPolicies(policies, this.resync.context.clock.nowMs())
    this.pump()
  }

  /** The fill has pieces to copy. */
  enter(fill: SliceFill): void {
    this.#copying[fill.kind].push(fill)
    this.pump()
  }

  /** It has none any more. */
  leave(fill: SliceFill): void {
    const fills = this.#copying[fill.kind]
    const at = fills.indexOf(fill)
    if (at >= 0) fills.splice(at, 1)
  }

  /** A piece that had its turn has ended. */
  pieceEnded(kind: FillKind): void {
    this.#throttle.ended(kind)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  pump(): void {
    // A piece may end, or be the last one, within `startPiece`.
    if (this.#isPumping) return
    this.#isPumping = true
    this.#timer?.cancel()
    this.#timer = null
    const isDrained = this.#give('rebuild')
    if (isDrained) this.#give('rebalance')
    this.#isPumping = false
  }

  /** False while a fill of this kind waits for its turn. */
  #give(kind: FillKind): boolean {
    const { context, device } = this.resync
    const fills = this.#copying[kind]
    while (fills.length > 0) {
      const nowMs = context.clock.nowMs()
      this.#throttle.noteLoad(device.appIos, device.appBytes, nowMs)
      this.#throttle.noteUse(device.isInUse, nowMs)
      const waitMs = this.#throttle.take(kind, pieceBytes, nowMs)
      if (waitMs === null) return false
      if (waitMs > 0) {
        this.#timer = context.clock.setTimer(waitMs, () => {
          this.#timer = null
          this.pump()
        })
        return false
      }
      const fill = fills.shift()!
      fills.push(fill)
      fill.startPiece()
    }
    return true
  }
}
