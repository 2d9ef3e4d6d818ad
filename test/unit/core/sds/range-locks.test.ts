import fc from 'fast-check'
import t from 'tap'
import { chunkBytes, KiB } from '../../../../src/base/units.js'
import { askRange, type LockRequest, RangeLocks } from '../../../../src/core/sds/index.js'

class Probe implements LockRequest {
  lockKey = 0
  lockFrom = 0
  lockTo = 0
  lockWantFrom = 0
  lockWantTo = 0
  lockWaits = 0
  isGranted = false
  constructor(
    readonly name: string,
    readonly lockShared: boolean,
    readonly log: string[],
  ) {}
  ask(locks: RangeLocks, key: number, offset: number, length: number, whole = false): this {
    askRange(this, key, offset, length, whole)
    if (locks.acquire(this)) this.lockGranted()
    return this
  }
  lockGranted(): void {
    this.isGranted = true
    this.log.push(this.name)
  }
}

const overlap = (a: Probe, b: Probe): boolean =>
  a.lockKey === b.lockKey && !(a.lockShared && b.lockShared) && a.lockFrom < b.lockTo && b.lockFrom < a.lockTo

const requests = fc.array(
  fc.record({
    key: fc.integer({ min: 0, max: 1 }),
    shared: fc.boolean(),
    block: fc.integer({ min: 0, max: 7 }),
    blocks: fc.integer({ min: 1, max: 4 }),
    /** How many of the holders let go before this one arrives. */
    releases: fc.integer({ min: 0, max: 3 }),
  }),
  { minLength: 1, maxLength: 40 },
)

t.test(
  'range locks: no two holders conflict, whoever waits has a reason, conflicting requests keep their order',
  async () => {
    fc.assert(
      fc.property(requests, steps => {
        const locks = new RangeLocks()
        const log: string[] = []
        const arrived: Probe[] = []
        const present = new Set<Probe>()
        const check = () => {
          for (const probe of present) {
            const ahead = arrived.slice(0, arrived.indexOf(probe)).filter(other => present.has(other))
            if (probe.isGranted === ahead.some(other => overlap(other, probe)))
              throw new Error(`${probe.name} ${probe.isGranted ? 'holds beside' : 'waits without'} a conflict ahead`)
          }
        }
        const letGo = () => {
          const holder = [...present].find(probe => probe.isGranted)
          if (holder === undefined) return
          present.delete(holder)
          locks.release(holder, false)
          check()
        }
        for (const { key, shared, block, blocks, releases } of steps) {
          for (let i = 0; i < releases; i++) letGo()
          const probe = new Probe(`${arrived.length}`, shared, log)
          arrived.push(probe)
          present.add(probe)
          probe.ask(locks, key, block * 4 * KiB, blocks * 4 * KiB)
          check()
        }
        while (present.size > 0) letGo()
        if (locks.chunksNow !== 0 || log.length !== arrived.length) throw new Error('a request was forgotten')
      }),
    )
  },
)

t.test('range locks: ranges are widened to whole blocks', async t => {
  const locks = new RangeLocks()
  const log: string[] = []
  const one = new Probe('one', false, log).ask(locks, 1, 512, 512)
  new Probe('same block', false, log).ask(locks, 1, 3 * KiB, 512)
  new Probe('next block', false, log).ask(locks, 1, 4 * KiB, 512)
  t.same(log, ['one', 'next block'])
  locks.release(one, true)
  t.same(log, ['one', 'next block', 'same block'])
})

t.test('range locks: a reader behind a waiting writer waits too, so that no writer starves', async t => {
  const locks = new RangeLocks()
  const log: string[] = []
  const reader = new Probe('reader', true, log).ask(locks, 1, 0, 4096)
  const writer = new Probe('writer', false, log).ask(locks, 1, 0, 4096)
  new Probe('second reader', true, log).ask(locks, 1, 0, 4096)
  t.same(log, ['reader'])
  locks.release(reader, true)
  t.same(log, ['reader', 'writer'])
  locks.release(writer, true)
  t.same(log, ['reader', 'writer', 'second reader'])
})

t.test('range locks: once the chunk has a slot, those who waited for all of it run side by side', async t => {
  const locks = new RangeLocks()
  const log: string[] = []
  const first = new Probe('first', false, log).ask(locks, 1, 0, 4096, true)
  t.ok(locks.wholeChunkAsked(1))
  new Probe('second', false, log).ask(locks, 1, 8192, 4096, true)
  new Probe('third', false, log).ask(locks, 1, 16384, 4096, true)
  const trim = new Probe('trim', false, log).ask(locks, 1, 0, chunkBytes, true)
  new Probe('behind the trim', false, log).ask(locks, 1, 32768, 4096, true)
  locks.release(first, true)
  t.same(log, ['first', 'second', 'third'])
  t.ok(locks.wholeChunkAsked(1), 'the trim may take the slot away')
  t.notOk(trim.isGranted)
})

t.test('range locks: while the chunk has no slot, those who want all of it go one by one', async t => {
  const locks = new RangeLocks()
  const log: string[] = []
  const first = new Probe('first', false, log).ask(locks, 1, 0, 4096, true)
  new Probe('second', false, log).ask(locks, 1, 8192, 4096, true)
  new Probe('third', false, log).ask(locks, 1, 16384, 4096, true)
  locks.release(first, false)
  t.same(log, ['first', 'second'])
})

t.test('range locks: heirs have what the one before them held, in their order, before all who waited', async t => {
  for (const allocated of [true, false]) {
    const locks = new RangeLocks()
    const log: string[] = []
    const lane = new Probe('lane', false, log).ask(locks, 1, 0, chunkBytes)
    const first = new Probe('first', false, log).ask(locks, 1, 0, 4 * KiB)
    const apart = new Probe('apart', true, log).ask(locks, 1, 64 * KiB, 4 * KiB)
    // Two that share a block: the second one waits for the first.
    const heirs = [0, 512].map((offset, n) => {
      const heir = new Probe(`heir ${n}`, false, log)
      askRange(heir, 1, offset, 512, false)
      return heir
    })
    locks.release(lane, allocated, heirs)
    t.same(
      heirs.map(heir => heir.lockWaits),
      [0, 1],
    )
    heirs[0]!.lockGranted()
    t.same(log, ['lane', 'apart', 'heir 0'])
    locks.release(apart, allocated)
    locks.release(heirs[0]!, allocated)
    t.same(log, ['lane', 'apart', 'heir 0', 'heir 1'])
    t.notOk(first.isGranted)
    locks.release(heirs[1]!, allocated)
    t.ok(first.isGranted)
  }
})
