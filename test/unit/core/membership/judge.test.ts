import t from 'tap'
import type { SdsId } from '../../../../src/base/ids.js'
import {
  arePartedNow,
  isLively,
  judge,
  type Membership,
  noteEvent,
  openMembership,
} from '../../../../src/core/membership/index.js'

const [X, Y, Z, W] = ['X', 'Y', 'Z', 'W'] as SdsId[] as [SdsId, SdsId, SdsId, SdsId]
const everybody = [X, Y, Z, W]

/** What one SDS does while time goes by: `says` names those that it gets no answer from, and since when. */
interface Behaviour {
  speaks: boolean
  says: Map<SdsId, number>
  refused: Set<SdsId>
}

/** Four SDSs that share slices with each other; every step of 250 ms each that lives says so. */
class Scene {
  readonly membership: Membership = openMembership(0)
  nowMs = 0
  readonly sdss = new Map(everybody.map(id => [id, { speaks: true, says: new Map(), refused: new Set() } as Behaviour]))

  constructor(connected: readonly SdsId[] = everybody) {
    for (const sdsId of connected) noteEvent(this.membership, { kind: 'connected', sdsId, nowMs: 0 })
    for (const id of everybody) if (!connected.includes(id)) this.sdss.get(id)!.speaks = false
  }

  run(ms: number): this {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; ) {
      this.nowMs += 250
      for (const [sdsId, { speaks, says, refused }] of this.sdss) {
        const unreachable = [...says].map(([id, sinceMs]) => ({
          sdsId: id,
          forMs: this.nowMs - sinceMs,
          refused: refused.has(id),
        }))
        if (speaks) noteEvent(this.membership, { kind: 'alive', sdsId, nowMs: this.nowMs, unreachable })
      }
      noteEvent(this.membership, { kind: 'looked', nowMs: this.nowMs })
    }
    return this
  }

  cannotReach(those: readonly SdsId[], whom: SdsId, refused = false): this {
    for (const id of those) {
      this.sdss.get(id)!.says.set(whom, this.nowMs)
      if (refused) this.sdss.get(id)!.refused.add(whom)
    }
    return this
  }

  silent(sdsId: SdsId): this {
    this.sdss.get(sdsId)!.speaks = false
    return this
  }

  closes(sdsId: SdsId): this {
    noteEvent(this.membership, { kind: 'closed', sdsId, nowMs: this.nowMs })
    return this.silent(sdsId)
  }

  verdicts(partners: (id: SdsId) => SdsId[] = id => everybody.filter(other => other !== id)) {
    const { convicted, parted } = judge(this.membership, everybody, partners, this.nowMs)
    return { convicted: [...convicted].sort(), parted }
  }
}

const nobody = { convicted: [], parted: [] }

t.test('membership: everybody lives: nobody is judged', async t => {
  t.same(new Scene().run(10_000).verdicts(), nobody)
})

t.test('SIGKILL: the connection closed and a partner is refused: convicted within a quarter of a second', async t => {
  const scene = new Scene().run(5_000).closes(X).cannotReach([Y], X, true)
  t.same(scene.run(250).verdicts(), { convicted: [X], parted: [] })
})

t.test('SIGSTOP: the connection stands, nothing comes, partners get no answer: convicted after a second', async t => {
  const scene = new Scene().run(5_000).silent(X).cannotReach([Y, Z], X)
  t.same(scene.run(750).verdicts(), nobody)
  t.same(scene.run(500).verdicts(), { convicted: [X], parted: [] })
})

t.test('silent to the MDM, but reached by all partners: nothing, however long', async t => {
  t.same(new Scene().run(5_000).silent(X).run(60_000).verdicts(), nobody)
  t.same(new Scene().run(5_000).closes(X).run(60_000).verdicts(), nobody)
})

t.test('isolated: silent to the MDM and unreachable for all: convicted; its own view does not count', async t => {
  const scene = new Scene().run(5_000).cannotReach([X], Y).cannotReach([X], Z).silent(X).cannotReach([Y, Z, W], X)
  t.same(scene.run(1_500).verdicts(), { convicted: [X], parted: [] })
})

t.test('a partition between two that the MDM hears: the one that fewer others reach gives way', async t => {
  const scene = new Scene().run(5_000).cannotReach([Y, Z], X).cannotReach([X], Y).run(1_500)
  t.same(scene.verdicts().convicted, [])
  const losers = scene.verdicts().parted.map(({ one, two, loser }) => [[one, two].sort().join(''), loser])
  t.same(losers, [
    ['XY', X],
    ['XZ', X],
  ])
})

t.test('a partition between two, and all others reach both: whichever is secondary gives way', async t => {
  const scene = new Scene().run(5_000).cannotReach([Y], X).cannotReach([X], Y).run(1_500)
  t.same(
    scene.verdicts().parted.map(({ loser }) => loser),
    [null],
  )
  t.ok(arePartedNow(scene.membership, X, Y, scene.nowMs))
  t.notOk(arePartedNow(scene.membership, X, Z, scene.nowMs))
})

t.test('one direction of a partition is enough', async t => {
  t.same(new Scene().run(5_000).cannotReach([Y], X).run(1_500).verdicts().parted.length, 1)
})

t.test('a short interruption between two is nothing', async t => {
  const scene = new Scene().run(5_000).cannotReach([Y], X).run(750)
  t.same(scene.verdicts(), nobody)
  scene.sdss.get(Y)!.says.clear()
  t.same(scene.run(5_000).verdicts(), nobody)
})

t.test('a stalled accuser: what it says right after a gap is its own stall', async t => {
  const scene = new Scene().run(5_000).silent(Y).cannotReach([Y], X).cannotReach([X, Z, W], Y).run(5_000)
  t.same(scene.verdicts().convicted, [Y], 'meanwhile it is out itself')
  for (const id of [X, Z, W]) scene.sdss.get(id)!.says.clear()
  scene.sdss.get(Y)!.speaks = true
  t.same(scene.run(250).verdicts(), nobody, 'it accuses of five seconds of silence')
  scene.sdss.get(Y)!.says.clear()
  t.same(scene.run(2_000).verdicts(), nobody)
})

t.test('an accusation that was made a second ago and not repeated is void', async t => {
  const scene = new Scene().run(5_000).cannotReach([Y], X).run(1_250).silent(Y).closes(X).run(1_500)
  scene.sdss.get(Z)!.speaks = true
  t.same(scene.verdicts().convicted, [], 'Y is not heard any more, Z and W reach both')
})

t.test('an MDM restart: nobody is convicted for three seconds, afterwards also those that it never met', async t => {
  const scene = new Scene([Y, Z, W]).cannotReach([Y], X, true)
  t.same(scene.run(2_750).verdicts(), nobody)
  t.same(scene.run(250).verdicts(), { convicted: [X], parted: [] })
})

t.test('a stall of the MDM itself: everybody gets the time to be heard again', async t => {
  const scene = new Scene().run(5_000).cannotReach([Y], X, true)
  scene.nowMs += 10_000
  noteEvent(scene.membership, { kind: 'looked', nowMs: scene.nowMs })
  t.same(scene.verdicts(), nobody)
})

t.test('an SDS that never said that it lives is not convicted, and not relied upon', async t => {
  const scene = new Scene()
  scene.sdss.get(X)!.speaks = false
  scene.run(5_000).closes(X).cannotReach([Y], X, true).run(5_000)
  t.same(scene.verdicts(), nobody)
  t.notOk(isLively(scene.membership, X, scene.nowMs))
})

t.test('no partner that the MDM hears: silence alone convicts', async t => {
  const scene = new Scene().run(5_000).closes(X).run(2_000)
  t.same(scene.verdicts(() => []).convicted, [X])
})
