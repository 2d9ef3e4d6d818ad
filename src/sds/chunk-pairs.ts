import { chunkKey } from '../base/ids.js'
import { frameBodyBytesMax } from '../base/limits.js'
import type { DataFrame } from '../wire/data.js'
import { wholeBody } from './flush.js'

/** A chunk as the bodies of rare requests name it: a pair of u32 (volume, chunk). */
export interface ChunkName {
  volume: number
  chunk: number
}

const pairBytes = 8
/** How many pairs one frame takes. */
export const pairsMax = Math.floor(frameBodyBytesMax / pairBytes)

export function encodePairs(chunks: readonly ChunkName[]): Buffer {
  const body = Buffer.allocUnsafe(chunks.length * pairBytes)
  for (const [i, { volume, chunk }] of chunks.entries()) {
    body.writeUInt32BE(volume, i * pairBytes)
    body.writeUInt32BE(chunk, i * pairBytes + 4)
  }
  return body
}

export const hasPairs = (frame: DataFrame): boolean => frame.bodyBytes % pairBytes === 0

export function decodePairs(frame: DataFrame): ChunkName[] {
  const body = wholeBody(frame)
  const chunks: ChunkName[] = []
  for (let at = 0; at + pairBytes <= body.length; at += pairBytes)
    chunks.push({ volume: body.readUInt32BE(at), chunk: body.readUInt32BE(at + 4) })
  return chunks
}

export const keyOf = ({ volume, chunk }: ChunkName): number => chunkKey(volume, chunk)
