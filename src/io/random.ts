import { randomBytes, randomInt } from 'node:crypto'
import type { Random } from '../ports/random.js'

export const systemRandom: Random = {
  integer: below => randomInt(below),
  hex: bytes => randomBytes(bytes).toString('hex'),
}
