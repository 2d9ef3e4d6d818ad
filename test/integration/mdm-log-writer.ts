import type { SystemId } from '../../src/base/ids.js'
import type { Entry, Member } from '../../src/core/raft/index.js'
import { systemClock } from '../../src/io/clock.js'
import { lmdbStores } from '../../src/io/meta-store.js'
import { RaftStore } from '../../src/mdm/raft-store.js'

/** Writes a log, replaces parts of it, and makes snapshots; says what was answered, and never stops by itself. */
const [, , directory] = process.argv
const store = await RaftStore.open({ metaStores: lmdbStores, clock: systemClock }, directory!)
const self: Member = { id: 'aaaaaaaa00000001', kind: 'manager', isLearner: false }
const recovered =
  store.recovered ??
  (await store.begin({ systemId: 'aaaaaaaa00000000' as SystemId, id: self.id as never, kind: 'manager' }, [self]))

let { term } = recovered.hardState
let last = recovered.entries.at(-1)?.index ?? recovered.snapshot.index
let isCompacting = false

const next = (): void => {
  term++
  // Each term puts something else in the place of the newest two entries that no snapshot holds.
  const first = Math.max(recovered.snapshot.index + 1, isCompacting ? last + 1 : last - 1)
  const entries: Entry[] = [0, 1, 2].map(at => ({ index: first + at, term, payload: Buffer.alloc(700, `${term} `) }))
  last = first + 2
  const hardState = { term, vote: self.id, commit: 0 }
  const said = `${term} ${last}`
  store.write({ token: term, hardState, snapshot: null, entries, mark: null, members: null }, null, error => {
    if (error !== null) throw new Error(error)
    process.stdout.write(`${said}\n`)
    if (term % 20 === 0 && !isCompacting) compact(last, term)
    next()
  })
}

const compact = (index: number, ofTerm: number): void => {
  isCompacting = true
  store.saveSnapshot({ index, term: ofTerm, members: [self] }, Buffer.alloc(50_000, `${ofTerm} `), () => {
    isCompacting = false
  })
}
next()
