import t from 'tap'
import { SlotTable } from '../../../../src/core/store/index.js'

/** Takes a slot all the way from erased to removed and settled. */
function useAndSettle(slots: SlotTable): number {
  const slot = slots.claim()
  slots.fill(slot)
  slots.vacate(slot)
  slots.settle(slots.takeRemoved())
  return slot
}

t.test('slots: erased ones are handed out in order, each once, until none is left', async t => {
  const slots = new SlotTable(3)
  t.same([slots.claim(), slots.claim(), slots.claim(), slots.claim()], [0, 1, 2, -1])
  t.equal(slots.freeCount, 0)
})

t.test('slots: a removed slot is ready again only after the flush, the erasure and the sync', async t => {
  const slots = new SlotTable(1)
  const slot = slots.claim()
  slots.fill(slot)
  slots.vacate(slot)
  t.same(slots.takeStale(10, 10), [], 'not erased before the index is flushed')
  const removed = slots.takeRemoved()
  t.equal(slots.claim(), slot, 'it may be claimed meanwhile')
  t.notOk(slots.isReady(slot))
  slots.settle(removed)
  t.notOk(slots.isReady(slot))
  const ranges = slots.takeStale(10, 10)
  t.same(ranges, [{ first: 0, count: 1 }])
  t.notOk(slots.isReady(slot))
  t.same(slots.finishErase(ranges), [slot], 'who waits for it hears of it')
  t.ok(slots.isErased(slot))
})

t.test('slots: an erased slot is preferred to one that is still to be erased', async t => {
  const slots = new SlotTable(2)
  useAndSettle(slots)
  t.equal(slots.claim(), 1)
  t.equal(slots.claim(), 0)
})

t.test('slots: filling one that is not durably zero is a bug that stops the daemon', async t => {
  const slots = new SlotTable(1)
  useAndSettle(slots)
  const slot = slots.claim()
  t.throws(() => slots.fill(slot), /durably reads as zeroes/)
})

t.test('slots: neighbours are erased by one call, wanted ones first, within the bounds', async t => {
  const slots = new SlotTable(100)
  for (const owned of [10, 20]) slots.own(owned)
  slots.distrust({ first: 0, count: 100 })
  const wanted = slots.claim()
  t.same(slots.takeStale(50, 8), [
    { first: wanted, count: 10 },
    { first: 11, count: 9 },
    { first: 21, count: 31 },
  ])
  t.same(slots.takeStale(1000, 8), [{ first: 52, count: 48 }])
  t.same(slots.takeStale(1000, 8), [])
})

t.test('slots: a claim that is given back unwritten is still to be erased', async t => {
  const slots = new SlotTable(2)
  slots.distrust({ first: 0, count: 2 })
  const ranges = slots.takeStale(1, 1)
  const claimed = slots.claim()
  slots.release(claimed)
  slots.finishErase(ranges)
  t.same(slots.takeStale(9, 9), [{ first: 1, count: 1 }])
  t.equal(slots.freeCount, 2)
})

t.test('slots: no slot is owned twice', async t => {
  const slots = new SlotTable(2)
  t.ok(slots.own(1))
  t.notOk(slots.own(1))
  t.notOk(slots.own(2), 'nor one beyond the end')
})

t.test('slots: the record of a clean stop covers exactly what is free and not erased', async t => {
  const slots = new SlotTable(12)
  for (const owned of [3, 4, 8]) slots.own(owned)
  slots.distrust({ first: 1, count: 2 })
  slots.distrust({ first: 7, count: 3 })
  t.same(slots.distrusted(10), [1, 2, 7, 1, 9, 1])
  t.same(slots.distrusted(2), [1, 2, 7, 3], 'and more, when there would be too many ranges')
})

t.test('slots: free and claimed ones add up whatever happens', async t => {
  const slots = new SlotTable(16)
  let claimed = 0
  for (let round = 0; round < 200; round++) {
    const slot = slots.claim()
    if (slot < 0) break
    claimed++
    if (round % 3 === 0 && slots.isReady(slot)) {
      slots.fill(slot)
      if (round % 2 === 0) {
        slots.vacate(slot)
        claimed--
      }
    }
    if (round % 5 === 0) slots.settle(slots.takeRemoved())
    t.equal(slots.claimedCount, claimed)
    t.equal(slots.claimedCount + slots.freeCount, 16)
  }
})
