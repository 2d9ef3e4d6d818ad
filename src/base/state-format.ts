import { StorageError } from './errors.js'

/**
 * The format of a daemon's state directory: `have` as it is noted there, undefined for directories of before it was noted
 * (format 1). Throws CONFIGURATION where a newer program has written it: it may rely on what this one does not know.
 */
export function checkStateFormat(have: unknown, known: number, directory: string): number {
  const format = have === undefined ? 1 : Number(have)
  if (Number.isSafeInteger(format) && format >= 1 && format <= known) return format
  throw new StorageError('CONFIGURATION', {
    detail: 'the state directory was written by a newer version of this program',
    directory,
    format: String(have),
    known,
    remedy: 'upgrade this server, or name the directory that this version has written',
  })
}
