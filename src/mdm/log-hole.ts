import { StorageError } from '../base/errors.js'

/** Throws DEVICE_DAMAGED where the log has a hole. */
export function checkNext(have: number, want: number, directory: string): void {
  if (have === want) return
  throw new StorageError('DEVICE_DAMAGED', {
    detail: 'the MDM’s log has a hole',
    directory,
    want,
    have,
    remedy: 'replace this member by one on an empty disk; a single MDM is restored from a backup',
  })
}
