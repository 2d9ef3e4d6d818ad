/**
 * `lengthBytes` from `fromBytes` of a payload that came in pieces, as subarrays: nothing is copied. Pieces of length 0 are
 * left out.
 */
export function slicePieces(pieces: readonly Buffer[], fromBytes: number, lengthBytes: number): Buffer[] {
  const out: Buffer[] = []
  let at = 0
  const endBytes = fromBytes + lengthBytes
  for (const piece of pieces) {
    const pieceEnd = at + piece.length
    if (pieceEnd > fromBytes && at < endBytes) {
      const from = Math.max(0, fromBytes - at)
      const end = Math.min(piece.length, endBytes - at)
      out.push(from === 0 && end === piece.length ? piece : piece.subarray(from, end))
    }
    at = pieceEnd
    if (at >= endBytes) break
  }
  return out
}
