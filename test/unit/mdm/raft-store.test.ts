import t from 'tap'
import type { SystemId } from '../../../src/base/ids.js'
import { apply, emptyState, type LogEntry, snapshotOf } from '../../../src/core/mdm/index.js'
import type { Entry, RaftWrite } from '../../../src/core/raft/index.js'
import { RaftStore } from '../../../src/mdm/raft-store.js'
import { Replica } from '../../../src/mdm/replica.js'
import type { MetaWrite } from '../../../src/ports/index.js'
import { encode } from '../../../src/wire/codec.js'
import { SimWorld } from '../../support/index.js'
import { Bench, mdmConfig } from './harness.js'

const systemId = 'aaaaaaaa00000000' as SystemId
const id = 'aaaaaaaa00000001' as never
const members = [{ id, kind: 'manager' as const, isLearner: false }]
const identity = { systemId, id, kind: 'manager' as const }
const nothing: RaftWrite = { token: 0, hardState: null, snapshot: null, entries: [], mark: null, members: null }
const entry = (index: number, term: number): Entry => ({ index, term, payload: Buffer.from(`${index}/${term}`) })

class Disk {
  readonly world = new SimWorld(3)
  get ports() {
    return this.world.portsOf('mdm')
  }
  open() {
    return this.world.clock.finish(RaftStore.open(this.ports, '/mdm'), { withinMs: 1_000 })
  }
  async begun() {
    const store = await this.open()
    await this.world.clock.finish(store.begin(identity, members), { withinMs: 1_000 })
    return store
  }
  write(store: RaftStore, write: Partial<RaftWrite>, content: Uint8Array | null = null): Promise<void> {
    const written = new Promise<void>((resolve, reject) => {
      store.write({ ...nothing, ...write }, content, error => (error === null ? resolve() : reject(new Error(error))))
    })
    return this.world.clock.finish(written, { withinMs: 1_000 })
  }
}

const positions = (store: RaftStore) => store.recovered!.entries.map(({ index, term }) => `${index}/${term}`)

t.test(
  'what is written is there again: term and vote, entries, a part of the log that was replaced, a snapshot',
  async t => {
    const disk = new Disk()
    const store = await disk.begun()
    await disk.write(store, {
      hardState: { term: 2, vote: id, commit: 1 },
      entries: [entry(1, 1), entry(2, 1), entry(3, 1)],
    })
    await disk.write(store, { entries: [entry(2, 2)] })
    disk.world.powerLoss('mdm')
    const again = await disk.open()
    t.same(positions(again), ['1/1', '2/2'], 'what came after the replaced part is gone')
    t.match(again.recovered, { hardState: { term: 2, vote: id, commit: 1 }, snapshot: { index: 0, members } })
    await disk.write(again, { entries: [entry(3, 2), entry(4, 2)] })
    const head = { index: 3, term: 2, members }
    await disk.world.clock.finish(
      new Promise<void>(resolve => again.saveSnapshot(head, Buffer.from('state'), () => resolve())),
      {
        withinMs: 1_000,
      },
    )
    disk.world.powerLoss('mdm')
    const last = await disk.open()
    t.same(positions(last), ['4/2'])
    t.match(last.recovered, { snapshot: head, appliedIndex: 3 })
    t.equal(String(last.snapshotContent), 'state')
  },
)

t.test('a snapshot from the master takes the place of the whole log', async t => {
  const disk = new Disk()
  const store = await disk.begun()
  await disk.write(store, {
    entries: [entry(1, 1), entry(2, 1), entry(9, 1)].map((e, at) => ({ ...e, index: at + 1 })),
  })
  await disk.write(store, { snapshot: { index: 20, term: 3, members }, entries: [entry(21, 3)] }, Buffer.from('theirs'))
  disk.world.powerLoss('mdm')
  const again = await disk.open()
  t.same(positions(again), ['21/3'])
  t.equal(String(again.snapshotContent), 'theirs')
})

t.test('power lost at any moment: some prefix of the writes is there, and all that was answered', async t => {
  const answeredAt = new Set<number>()
  for (let stopMs = 0; stopMs < 12; stopMs += 0.25) {
    const disk = new Disk()
    const store = await disk.begun()
    const states = ['', '1/1', '1/1 2/1 3/1', '1/1 2/2', '4/2', '4/2 5/2']
    let answered = 0
    const write = (part: Partial<RaftWrite>, at: number, content: Uint8Array | null = null) =>
      store.write({ ...nothing, ...part }, content, () => {
        answered = Math.max(answered, at)
      })
    write({ entries: [entry(1, 1)] }, 1)
    write({ entries: [entry(2, 1), entry(3, 1)] }, 2)
    write({ entries: [entry(2, 2)] }, 3)
    write({ snapshot: { index: 3, term: 2, members }, entries: [entry(4, 2)] }, 4, Buffer.from('s'))
    write({ entries: [entry(5, 2)] }, 5)
    await disk.world.clock.runFor(stopMs)
    const sure = answered
    disk.world.powerLoss('mdm')
    const found = states.indexOf(positions(await disk.open()).join(' '))
    t.ok(found >= sure, `after ${stopMs} ms: state ${found}, and ${sure} was answered`)
    answeredAt.add(sure)
  }
  t.ok(answeredAt.size > 2, 'power was lost before, between and after answers')
})

t.test('a disk that takes nothing: writes wait in their order, and go on when it does', async t => {
  const disk = new Disk()
  const store = await disk.begun()
  const { metaStores } = disk.world.portsOfHost('mdm')
  const troubles: string[] = []
  store.onTrouble = error => troubles.push(error)
  metaStores.fail('/mdm', 'ENOSPC')
  const done: number[] = []
  store.write({ ...nothing, entries: [entry(1, 1)] }, null, () => done.push(1))
  store.write({ ...nothing, entries: [entry(2, 1)] }, null, () => done.push(2))
  await disk.world.clock.runFor(3_000)
  t.same([done, troubles, store.trouble], [[], ['ENOSPC'], 'ENOSPC'], 'said once')
  metaStores.fail('/mdm', null)
  await disk.world.clock.runFor(1_000)
  t.same([done, store.trouble], [[1, 2], null])
})

t.test('a log with a hole, and one of a newer format, are refused with the reason', async t => {
  const disk = new Disk()
  const store = await disk.begun()
  await disk.write(store, { entries: [entry(1, 1)] })
  await put(disk, [{ put: ['log', 3], value: { term: 1, payload: null } }])
  await t.rejects(disk.open(), { code: 'DEVICE_DAMAGED', context: { want: 2, have: 3 } })
  await put(disk, [{ put: ['format'], value: 3 }])
  await t.rejects(disk.open(), { code: 'CONFIGURATION', context: { format: 3, known: 2 } })
})

async function put(disk: Disk, writes: MetaWrite[]): Promise<void> {
  disk.world.crashProcess('mdm')
  const meta = await disk.ports.metaStores.open('/mdm')
  const durable = new Promise<void>(resolve => meta.commit(writes, () => meta.flush(() => resolve())))
  await disk.world.clock.finish(durable, { withinMs: 1_000 })
  disk.world.crashProcess('mdm')
}

t.test('format 1, the log of a single MDM: it opens, and its MDM is the first member of a cluster', async t => {
  const bench = new Bench()
  const state = emptyState()
  const entries: LogEntry[] = [
    { client: null, number: 0, command: { kind: 'createSystem', systemId, name: 'old' } },
    { client: null, number: 0, command: { kind: 'addProtectionDomain', name: 'a' } },
    { client: 'c', number: 7, command: { kind: 'addProtectionDomain', name: 'b' } },
  ]
  apply(state, 1, entries[0]!)
  const meta = await bench.world.portsOf('mdm-1').metaStores.open(mdmConfig.directory)
  const writes: MetaWrite[] = [
    { put: ['format'], value: 1 },
    { put: ['snapshot'], value: snapshotOf(state) },
    ...entries.map((entry, at) => ({ put: ['log', at + 1] as const, value: entry })),
  ]
  await bench.finish(new Promise<void>(resolve => meta.commit(writes, () => meta.flush(() => resolve()))))
  bench.world.crashProcess('mdm-1')
  for (let start = 0; start < 2; start++) {
    await bench.start()
    const tool = await bench.connect('tool', 'scli', systemId)
    const report = await tool.ask('query', {})
    t.match(report, { system: { id: systemId, name: 'old' }, protectionDomains: [{ name: 'a' }, { name: 'b' }] })
    t.match(report.mdms, [{ name: 'mdm-1', kind: 'manager', membership: 'member', id: 'aaaaaaaa00000003' }])
    bench.world.powerLoss('mdm-1')
  }
})

t.test('a damaged snapshot is never taken for the state', async t => {
  const replica = new Replica()
  const command = { kind: 'createSystem', systemId, name: 'x' } as const
  replica.apply({ index: 1, term: 1, payload: encode({ client: null, number: 0, command }) })
  const content = replica.content()
  const copy = new Replica()
  copy.install(content, { members, term: 1 })
  t.same([copy.appliedIndex, copy.digest], [1, replica.digest])
  const damaged = Buffer.from(content)
  const at = damaged.indexOf('aaaaaaaa')
  damaged[at] = 'b'.charCodeAt(0)
  t.throws(() => copy.install(damaged, { members, term: 1 }), { code: 'DEVICE_DAMAGED' })
})
