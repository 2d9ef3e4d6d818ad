import type { ErrorCode } from '../base/errors.js'
import type { SdsContext } from './context.js'
import type { StoreError } from './store/device-store.js'

/** What a client is told about a store's error. */
export function codeOfStoreError(context: SdsContext, error: StoreError): ErrorCode {
  if (error.kind === 'full') return 'OUT_OF_SPACE'
  context.counters.mediaErrors++
  return 'MEDIA_ERROR'
}
