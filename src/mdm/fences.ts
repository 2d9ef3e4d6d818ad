import { StorageError } from '../base/errors.js'
import type { PoolId, SdcId, SdsId, VolumeId } from '../base/ids.js'
import { type ClusterMap, copiesOf } from '../model/index.js'
import type { Clock, Timer } from '../ports/index.js'
import type { Registry } from './registry.js'

/** A removed mapping whose SDC may still write, until `version` is in effect in the right places. */
export interface Fence {
  volumeId: VolumeId
  sdcId: SdcId
  poolId: PoolId
  version: number
}

interface Waiting {
  fences: Fence[]
  timer: Timer
  resolve(): void
}

export const fenceTimeoutMs = 20_000
const fencesMax = 100_000

/** Rule 8: who was unmapped has stopped, because it says so or because every SDS with a copy refuses it. */
export class Fences {
  /** Removed, not confirmed. Kept when a wait times out, so that asking again waits for the same thing. */
  readonly #open = new Set<Fence>()
  readonly #waiting = new Set<Waiting>()

  constructor(
    readonly map: ClusterMap,
    readonly registry: Registry,
    readonly clock: Clock,
  ) {}

  add(fences: readonly Fence[]): void {
    for (const fence of fences) if (this.#open.size < fencesMax) this.#open.add(fence)
  }

  openOf(volumeId: VolumeId, sdcId: SdcId | null): Fence[] {
    this.check()
    return [...this.#open].filter(fence => fence.volumeId === volumeId && (sdcId === null || fence.sdcId === sdcId))
  }

  forget(fences: readonly Fence[]): void {
    for (const fence of fences) this.#open.delete(fence)
  }

  /** Resolves once all of them hold; rejects with TIMED_OUT. */
  wait(fences: readonly Fence[], volume: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.clock.setTimer(fenceTimeoutMs, () => {
        this.#waiting.delete(waiting)
        reject(
          new StorageError('TIMED_OUT', {
            detail:
              'the mapping is removed, but neither has the SDC confirmed that it stopped, nor has every SDS with a copy of the volume',
            volume,
            afterMs: fenceTimeoutMs,
            remedy: 'ask again when the SDC or the SDSs are back, or force it if the SDC’s host is certainly down',
          }),
        )
      })
      const waiting: Waiting = { fences: [...fences], timer, resolve }
      this.#waiting.add(waiting)
      this.check()
    })
  }

  /** To be called when somebody has confirmed a version. */
  check(): void {
    if (this.#open.size === 0 && this.#waiting.size === 0) return
    for (const fence of this.#open) if (this.#holds(fence)) this.#open.delete(fence)
    for (const waiting of this.#waiting) {
      if (waiting.fences.some(fence => !this.#holds(fence))) continue
      this.#waiting.delete(waiting)
      waiting.timer.cancel()
      waiting.resolve()
    }
  }

  #holds({ sdcId, poolId, version }: Fence): boolean {
    const has = (id: string): boolean => (this.registry.acked.get(id) ?? 0) >= version
    return has(sdcId) || this.#sdssWithCopies(poolId).every(has)
  }

  /** Every volume has chunks in every slice. */
  #sdssWithCopies(poolId: PoolId): SdsId[] {
    const sdss = new Set<SdsId>()
    for (const record of this.map.slices.get(poolId) ?? [])
      for (const deviceId of copiesOf(record)) {
        const device = this.map.tables.devices.get(deviceId)
        if (device) sdss.add(device.sdsId)
      }
    return [...sdss]
  }
}
