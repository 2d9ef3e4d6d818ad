import fc from 'fast-check'
import t from 'tap'
import {
  cutPinned,
  poisonReleased,
  ReceiveMemory,
  releasePiece,
  releasePieces,
  releaseUncut,
  slabBytesLarge,
  slabBytesQuiet,
  slabBytesSmall,
  takePayload,
  takeSlab,
  unpin,
} from '../../../src/wire/payload-memory.js'

/** Where the next read goes. */
function roomOf(memory: ReceiveMemory): Buffer {
  const place = memory.place()
  return memory.memory.subarray(place)
}

/** A read that brings `bytes`. */
function read(memory: ReceiveMemory, bytes: Buffer): Buffer {
  const room = roomOf(memory)
  const length = Math.min(room.length, bytes.length)
  bytes.copy(room, 0, 0, length)
  return memory.took(length)
}

t.test('receive memory: what is pinned keeps its bytes, whatever comes in and is released meanwhile', t => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ length: fc.integer({ min: 1, max: 80_000 }), release: fc.nat(5) }), { maxLength: 120 }),
      steps => {
        const memory = new ReceiveMemory()
        const kept: { cut: Buffer; fill: number }[] = []
        steps.forEach(({ length, release }, index) => {
          const fill = index & 255
          const bytes = read(memory, Buffer.alloc(length, fill))
          kept.push({ cut: cutPinned(bytes, bytes.length >> 2, bytes.length), fill })
          memory.consumed()
          for (let i = 0; i < release && kept.length > 0; i++) releasePiece(kept.shift()!.cut)
        })
        const isWhole = kept.every(({ cut, fill }) => cut.every(byte => byte === fill))
        releasePieces(kept.map(({ cut }) => cut))
        memory.close()
        return isWhole
      },
    ),
    { numRuns: 200 },
  )
  t.end()
})

t.test('receive memory: where nothing is pinned, the same memory is read into again', t => {
  const memory = new ReceiveMemory()
  const first = read(memory, Buffer.alloc(1000, 1))
  memory.consumed()
  const second = read(memory, Buffer.alloc(1000, 2))
  t.equal(second.buffer, first.buffer)
  t.equal(second.byteOffset, first.byteOffset)
  memory.close()
  t.end()
})

t.test('receive memory: a stream gets large slabs, small requests small ones again', t => {
  const memory = new ReceiveMemory()
  t.equal(roomOf(memory).length, slabBytesQuiet)
  read(memory, Buffer.alloc(slabBytesQuiet))
  t.equal(roomOf(memory).length, slabBytesSmall)
  read(memory, Buffer.alloc(slabBytesSmall))
  t.equal(roomOf(memory).length, slabBytesLarge)
  memory.consumed()
  for (let i = 0; i < 63; i++) {
    read(memory, Buffer.alloc(10_000))
    memory.consumed()
  }
  t.equal(roomOf(memory).length, slabBytesLarge)
  read(memory, Buffer.alloc(10_000))
  t.equal(roomOf(memory).length, slabBytesSmall)
  memory.close()
  t.end()
})

t.test(
  'receive memory: a connection that rests has the smallest slab, and what was kept of the last one is whole',
  t => {
    const memory = new ReceiveMemory()
    read(memory, Buffer.alloc(slabBytesQuiet))
    roomOf(memory)
    const kept = cutPinned(read(memory, Buffer.alloc(slabBytesSmall, 7)), 100, 200)
    memory.consumed()
    memory.rest()
    t.equal(roomOf(memory).length, slabBytesLarge, 'it has just read')
    memory.rest()
    t.equal(roomOf(memory).length, slabBytesQuiet)
    t.ok(kept.every(byte => byte === 7))
    releasePiece(kept)
    memory.close()
    t.end()
  },
)

t.test('slabs: one is used again after its last release, and not before', t => {
  const slab = takeSlab(slabBytesLarge)
  const cuts = [cutPinned(slab.bytes, 0, 10), cutPinned(slab.bytes, 10, 20)]
  unpin(slab)
  releasePiece(cuts[0]!)
  const other = takeSlab(slabBytesLarge)
  t.not(other, slab)
  releasePiece(cuts[1]!)
  t.equal(takeSlab(slabBytesLarge), slab)
  t.throws(() => {
    unpin(other)
    unpin(other)
  })
  t.end()
})

t.test('payloads: no two that are in use share memory, small or large', t => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 1, max: 300_000 }), fc.nat(3)), { maxLength: 60 }), steps => {
      const kept: { payload: Buffer; fill: number }[] = []
      steps.forEach(([length, release], index) => {
        const payload = takePayload(length)
        if (payload.length !== length) throw new Error(`${payload.length} instead of ${length} bytes`)
        kept.push({ payload: payload.fill(index & 255), fill: index & 255 })
        for (let i = 0; i < release && kept.length > 0; i++) releasePiece(kept.shift()!.payload)
      })
      const isWhole = kept.every(({ payload, fill }) => payload.every(byte => byte === fill))
      releasePieces(kept.map(({ payload }) => payload))
      return isWhole
    }),
    { numRuns: 60 },
  )
  t.end()
})

t.test('buffers from elsewhere may be released: nothing is taken over', t => {
  const foreign = Buffer.alloc(100_000, 7)
  releasePiece(foreign)
  releasePiece(foreign)
  t.not(takePayload(100_000).buffer, foreign.buffer)
  t.end()
})

t.test('poison: released memory is overwritten at once, its neighbours are not; nothing is released twice', t => {
  poisonReleased(true)
  t.teardown(() => poisonReleased(false))
  for (const length of [100, 300_000]) {
    const one = takePayload(length).fill(1)
    const other = takePayload(length).fill(2)
    releasePiece(one)
    t.ok(one.every(byte => byte === 0xdb))
    t.ok(other.every(byte => byte === 2))
    t.throws(() => releasePiece(one))
    releasePiece(other)
  }
  const memory = new ReceiveMemory()
  const bytes = read(memory, Buffer.alloc(1000, 3))
  const whole = cutPinned(bytes, 0, 1000)
  const part = cutPinned(whole, 500, 1000)
  memory.consumed()
  releaseUncut(whole)
  t.ok(
    part.every(byte => byte === 3),
    'what was cut from a cut outlives it',
  )
  releasePiece(part)
  memory.close()
  t.ok(bytes.every(byte => byte === 0xdb))
  t.end()
})
