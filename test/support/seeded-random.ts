import { assert } from '../../src/base/assert.js'
import type { Random } from '../../src/ports/random.js'

/** Chance that repeats itself: the same seed gives the same numbers (sfc32). */
export function seededRandom(seed: number): Random {
  let a = 0x9e3779b9
  let b = 0x243f6a88
  let c = seed >>> 0
  let counter = 1
  const next = (): number => {
    const sum = (a + b + counter) >>> 0
    counter = (counter + 1) >>> 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) >>> 0
    c = (((c << 21) | (c >>> 11)) + sum) >>> 0
    return sum
  }
  for (let i = 0; i < 16; i++) next()
  return {
    integer(below) {
      assert(Number.isSafeInteger(below) && below > 0, 'a number is drawn from a range that is not empty')
      return Math.floor(((next() * 2 ** 21 + (next() >>> 11)) / 2 ** 53) * below)
    },
    hex(bytes) {
      let text = ''
      for (let i = 0; i < bytes; i++) text += (next() >>> 24).toString(16).padStart(2, '0')
      return text
    },
  }
}
