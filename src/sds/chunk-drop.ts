import type { ErrorCode } from '../base/errors.js'
import { chunkBytes } from '../base/units.js'
import type { SdsContext } from './context.js'
import { DeviceRequest } from './device-request.js'
import type { OwnDevice } from './own-device.js'
import { codeOfStoreError } from './store-error.js'

/** Who has chunks dropped. */
export interface DropOwner {
  /** Asked once the chunk is locked: by then it may be needed. */
  readonly isDue: boolean
  dropped(code: ErrorCode | null): void
}

/** Drops one chunk, in its turn behind whatever touches it. */
export class ChunkDrop extends DeviceRequest {
  constructor(
    readonly context: SdsContext,
    device: OwnDevice,
    readonly owner: DropOwner,
    volume: number,
    chunk: number,
  ) {
    super(device, volume, chunk)
  }

  start(): void {
    this.beginExclusive(0, chunkBytes)
  }

  override lockGranted(): void {
    if (!this.owner.isDue) {
      this.end()
      this.owner.dropped(null)
      return
    }
    this.device.store.remove(this.volume, this.chunk, error => {
      this.end()
      this.owner.dropped(error === null ? null : codeOfStoreError(this.context, error))
    })
  }
}
