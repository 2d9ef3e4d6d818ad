import { StorageError } from '../../base/errors.js'
import { GiB, KiB, MiB, TiB } from '../../base/units.js'
import { parseSizeBytes } from '../../config/parse.js'

/** Reads `8G`, `16GiB`, `104 GB`: every unit is binary, as ScaleIO counts. `what` names the value in the error. */
export function parseSize(text: string, what: string): number {
  try {
    return parseSizeBytes(text.trim())
  } catch (error) {
    throw new StorageError('BAD_ARGUMENT', { detail: `${what} ${JSON.stringify(text)}: ${(error as Error).message}` })
  }
}

const steps: [number, string][] = [
  [TiB, 'TB'],
  [GiB, 'GB'],
  [MiB, 'MB'],
  [KiB, 'KB'],
]

/** `8 GB`, `1.5 TB`, `0 Bytes`: at most two digits behind the point, so that columns stay narrow. */
export function formatSize(bytes: number): string {
  for (const [unit, name] of steps) if (bytes >= unit) return `${trimmed(bytes / unit)} ${name}`
  return `${bytes} Bytes`
}

/** As `formatSize`, and the same in the next smaller unit: `1.5 TB (1536 GB)`, `8 GB (8192 MB)`. */
export function formatSizeTwice(bytes: number): string {
  if (bytes < GiB) return formatSize(bytes)
  const inSmaller = bytes >= TiB ? `${Math.floor(bytes / GiB)} GB` : `${Math.floor(bytes / MiB)} MB`
  return `${formatSize(bytes)} (${inSmaller})`
}

const trimmed = (value: number): string => String(Math.floor(value * 100) / 100)
