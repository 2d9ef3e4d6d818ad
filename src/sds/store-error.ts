import type { ErrorCode } from '../base/errors.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'
import type { StoreError } from './store/device-store.js'

/**
 * What a client is told about a store's error. `changed`: a device that could not be changed is of no more use, and the
 * MDM hears of it at once.
 */
export function codeOfStoreError(context: SdsContext, error: StoreError, changed?: OwnDevice): ErrorCode {
  if (error.kind === 'full') return 'OUT_OF_SPACE'
  context.counters.mediaErrors++
  if (changed !== undefined && changed.failure === null) {
    changed.failure = error.kind === 'media' ? error.errno : error.text
    context.log.error('sds.device-failed', { deviceId: changed.id, path: changed.store.path, reason: changed.failure })
    context.reportDevices()
  }
  return 'MEDIA_ERROR'
}
