import fc from 'fast-check'
import t from 'tap'
import { NumberMap } from '../../../src/base/number-map.js'

/** Keys of one chunk's neighbours, of far volumes, negative ones, and few enough to meet again. */
const key = fc.oneof(
  fc.integer({ min: 0, max: 40 }),
  fc.integer({ min: 0, max: 40 }).map(low => low * 2 ** 32 + 7),
  fc.constantFrom(-(2 ** 52), 2 ** 52, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
)
const kind = fc.oneof(
  { weight: 20, arbitrary: fc.constant('set') },
  { weight: 15, arbitrary: fc.constant('delete') },
  { weight: 1, arbitrary: fc.constant('clear') },
)
const deed = fc.record({ kind, key })

t.test('a number map holds what a Map holds, whatever comes and goes in between', t => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 300 }), deeds => {
      const map = new NumberMap<{ at: number }>()
      const model = new Map<number, { at: number }>()
      for (const [at, { kind, key }] of deeds.entries()) {
        const value = { at }
        if (kind === 'clear') {
          map.clear()
          model.clear()
        } else if (kind === 'delete') {
          if (map.delete(key) !== model.delete(key)) throw new Error(`delete ${key} answers something else`)
        } else {
          map.set(key, value)
          model.set(key, value)
        }
        if (map.size !== model.size) throw new Error('another size')
        for (const [known, expected] of model) if (map.get(known) !== expected) throw new Error(`${known} is lost`)
        if (map.get(key) !== model.get(key)) throw new Error(`${key} is still there`)
      }
      const order = (values: Iterable<{ at: number }>) => [...values].map(value => value.at).sort((a, b) => a - b)
      if (order(map.values()).join() !== order(model.values()).join()) throw new Error('other values')
    }),
    { numRuns: 500 },
  )
  t.end()
})

t.test('keys that stand in each other’s way are found after any of them has left', async t => {
  for (let first = 0; first < 64; first++) {
    const map = new NumberMap<{ key: number }>()
    const keys = Array.from({ length: 500 }, (_, at) => (first + at) * 2 ** 20)
    for (const key of keys) map.set(key, { key })
    for (const [at, key] of keys.entries()) {
      if (!map.delete(key)) t.fail(`${key} is lost`)
      const left = keys.slice(at + 1)
      if (at % 50 === 0 && left.some(key => map.get(key)?.key !== key)) t.fail(`after ${key} left`)
    }
    t.equal(map.size, 0)
  }
})
