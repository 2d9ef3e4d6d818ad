import { KiB } from '../../base/units.js'

const zeroes = Buffer.alloc(64 * KiB)
const probeBytes = 64

/** True if every byte is zero. Looks at the beginning first: data that is not zeroes mostly shows it there. */
export function isAllZero(pieces: readonly Buffer[]): boolean {
  const first = pieces[0]
  if (first === undefined) return true
  if (!isZero(first, 0, Math.min(probeBytes, first.length))) return false
  for (const piece of pieces)
    for (let at = 0; at < piece.length; at += zeroes.length)
      if (!isZero(piece, at, Math.min(piece.length, at + zeroes.length))) return false
  return true
}

const isZero = (piece: Buffer, from: number, end: number): boolean =>
  piece.compare(zeroes, 0, end - from, from, end) === 0
