import t from 'tap'
import { ClusterBench } from './cluster-bench.js'

const domains = async (bench: ClusterBench, index: number) => {
  const { protectionDomains } = await (await bench.tool(index)).ask('query', {})
  return protectionDomains.map(({ name }) => name)
}

t.test('one becomes three and five: every member says the same of the cluster, a tie breaker too', async t => {
  const bench = await ClusterBench.of(5)
  await bench.run(1_000)
  const master = await bench.report(1)
  t.match(master, {
    mode: 5,
    state: 'Normal',
    active: { now: 5, max: 5 },
    replicas: { now: 3, max: 3 },
    changing: false,
  })
  t.same(
    master.mdms.map(({ name, role, status }) => [name, role, status]),
    [
      ['mdm-1', 'Master', 'Normal'],
      ['mdm-2', 'Slave', 'Normal'],
      ['mdm-3', 'Slave', 'Normal'],
      ['mdm-4', 'Tie Breaker', 'Normal'],
      ['mdm-5', 'Tie Breaker', 'Normal'],
    ],
  )
  t.match(await bench.report(2), { mode: 5, state: 'Normal', masterId: master.masterId, self: { role: 'Slave' } })
  t.match(await bench.report(5), { mode: 5, masterId: master.masterId, self: { name: 'mdm-5', role: 'Tie Breaker' } })
})

t.test('who is not master says NOT_MASTER and where the master is, to hello and to what follows', async t => {
  const bench = await ClusterBench.of(3)
  await bench.run(1_000)
  for (const index of [2, 3]) {
    const tool = await bench.tool(index, { saysHello: false })
    const elsewhere = { code: 'NOT_MASTER', context: { master: 'mdm-1:9011' } }
    await t.rejects(tool.hello(), elsewhere)
    await t.rejects(tool.ask('addProtectionDomain', { name: 'a' }), elsewhere)
    t.match(await tool.ask('queryCluster', {}), { mode: 3 }, 'but it tells of the cluster')
    t.equal(tool.closed, null)
  }
})

t.test('the master dies: in less than two seconds another one has everything that was answered', async t => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const bench = await ClusterBench.of(3, seed)
    const tool = await bench.tool(1)
    for (const name of ['a', 'b', 'c']) await tool.ask('addProtectionDomain', { name })
    const diedMs = bench.world.clock.nowMs()
    bench.kill(1)
    t.equal(await bench.master(), 2)
    t.ok(bench.world.clock.nowMs() - diedMs < 2_000)
    t.same(await domains(bench, 2), ['a', 'b', 'c'])
    await bench.start(1)
    await bench.run(3_000)
    t.match(await bench.report(2), { state: 'Normal', mdms: [{ name: 'mdm-2' }, { name: 'mdm-1', role: 'Slave' }, {}] })
  }
})

t.test('a change under way when its master dies: asked again at the next one, it is done once', async t => {
  for (let afterMs = 0; afterMs < 12; afterMs++) {
    const bench = await ClusterBench.of(3)
    const tool = await bench.tool(1, { client: 'c1' })
    const first = tool.send('addProtectionDomain', { name: 'a' }, 77).catch(() => null)
    await bench.run(afterMs)
    bench.kill(1)
    await bench.master()
    const answer = await first
    const again = await bench.tool(2, { client: 'c1' })
    const { id } = await again.ask('addProtectionDomain', { name: 'a' }, 77)
    if (answer) t.match(answer, { id })
    t.same(await domains(bench, 2), ['a'])
  }
})

t.test('cut off from the others, a master refuses and names who is missing; the others go on', async t => {
  const bench = await ClusterBench.of(3)
  const tool = await bench.tool(1)
  bench.cut(1, 2, 3)
  await t.rejects(tool.ask('addProtectionDomain', { name: 'lost' }), { code: /NOT_MASTER|CLOSED/ })
  await bench.run(3_000)
  const alone = await bench.tool(1, { saysHello: false })
  await t.rejects(alone.hello(), {
    code: 'NOT_MASTER',
    context: { detail: /no master/, missing: 'mdm-2 (mdm-2:9011), mdm-3 (mdm-3:9011)', remedy: /majority/ },
  })
  t.match(await alone.ask('queryCluster', {}), { state: 'Error', detail: /no majority/ })
  const other = await bench.tool(2)
  await other.ask('addProtectionDomain', { name: 'kept' })
  bench.world.network.heal()
  await bench.run(3_000)
  t.same(await domains(bench, await bench.master()), ['kept'])
  const [one, two] = [bench.daemons.get(1)!, bench.daemons.get(2)!]
  t.equal(one.node!.replica!.digest, two.node!.replica!.digest)
})

t.test('a master that stood still answers nobody from what it had: neither a hello nor a query', async t => {
  const bench = await ClusterBench.of(3)
  const old = await bench.tool(1)
  bench.cut(1, 2, 3)
  bench.clocks.get(1)!.stall(3_000)
  const asked = old.send('query', {}).catch(error => error)
  const stranger = await bench.tool(1, { saysHello: false })
  const greeted = stranger.send('hello', { version: 1, role: 'tool', name: 'x', systemId: null }).catch(error => error)
  await bench.until('the next master', () => bench.daemons.get(2)!.mdm?.members.isServing ?? false)
  await (await bench.tool(2)).ask('addProtectionDomain', { name: 'new' })
  t.match(await bench.finish(asked), { code: /NOT_MASTER|CLOSED/ })
  t.match(await bench.finish(greeted), { code: /NOT_MASTER|CLOSED/ })
})

t.test('what an administrator may not do is refused, with the reason', async t => {
  const bench = await ClusterBench.of(1)
  const tool = await bench.tool(1)
  await bench.start(2, 'manager')
  await bench.start(3, 'tieBreaker')
  const endpoint = { host: 'mdm-2', port: 9011 }
  await t.rejects(tool.ask('addStandbyMdm', { name: 'mdm-2', endpoint, kind: 'tieBreaker' }), {
    code: 'BAD_ARGUMENT',
    context: { detail: /is a manager/ },
  })
  await tool.ask('addStandbyMdm', { name: 'mdm-2', endpoint, kind: 'manager' })
  await t.rejects(tool.ask('addStandbyMdm', { name: 'other', endpoint, kind: 'manager' }), { code: 'ALREADY_EXISTS' })
  await bench.attach(tool, 3, 'tieBreaker')
  const refused = (mode: 1 | 3 | 5, add: string[], remove: string[], context: object) =>
    t.rejects(tool.ask('switchClusterMode', { mode, add, remove }), { code: 'BAD_ARGUMENT', context })
  await refused(1, [], [], { detail: /has this mode already/ })
  await refused(3, ['mdm-2'], ['mdm-3'], { detail: /loses no members/ })
  await refused(3, ['mdm-2'], [], { detail: /right numbers/, managers: 2, tieBreakers: 0 })
  await refused(5, ['mdm-2', 'mdm-3'], [], { detail: /right numbers/ })
  await t.rejects(tool.ask('switchMdmOwnership', { mdm: 'mdm-2' }), { code: 'BAD_ARGUMENT' })
  bench.kill(3)
  await bench.run(1_000)
  await t.rejects(tool.ask('switchClusterMode', { mode: 3, add: ['mdm-2', 'mdm-3'] }), {
    code: 'UNREACHABLE',
    context: { mdm: 'mdm-3' },
  })
  await bench.start(3)
  await bench.run(2_000)
  await tool.ask('switchClusterMode', { mode: 3, add: ['mdm-2', 'mdm-3'] })
  await t.rejects(tool.ask('removeStandbyMdm', { mdm: 'mdm-2' }), { code: 'IN_USE' })
  await refused(1, ['mdm-2'], ['mdm-3'], { detail: /gains no members/ })
  bench.kill(2)
  await bench.run(1_000)
  await t.rejects(tool.ask('switchMdmOwnership', { mdm: 'mdm-2' }), { code: 'UNREACHABLE' })
})

t.test('down to one and up again, the master itself among those that leave', async t => {
  const bench = await ClusterBench.of(3)
  const tool = await bench.tool(1)
  await tool.ask('addProtectionDomain', { name: 'a' })
  await bench.finish(tool.send('switchClusterMode', { mode: 1, remove: ['mdm-1', 'mdm-3'] }).catch(() => {}))
  t.equal(await bench.master(), 2)
  await bench.until('alone', () => bench.daemons.get(2)!.node!.driver.isAlone)
  await bench.run(100)
  t.match(await bench.report(2), { mode: 1, state: 'Normal', self: { role: 'Master' } })
  t.same(await domains(bench, 2), ['a'])
  await (await bench.tool(2)).ask('switchClusterMode', { mode: 3, add: ['mdm-1', 'mdm-3'] })
  t.match(await bench.report(2), { mode: 3, state: 'Normal', active: { now: 3, max: 3 } })
})

t.test('ownership goes to whom it is given; the old master says so', async t => {
  const bench = await ClusterBench.of(5)
  for (const index of [2, 3, 1]) {
    const tool = await bench.tool(await bench.master())
    await bench.finish(tool.send('switchMdmOwnership', { mdm: `mdm-${index}` }).catch(() => {}))
    t.equal(await bench.master(), index)
    t.same(await (await bench.tool(index)).ask('switchMdmOwnership', { mdm: `mdm-${index}` }), {})
  }
})

t.test('a member that lost its disk is no member any more: it is replaced by a new one at its address', async t => {
  const bench = await ClusterBench.of(3)
  const tool = await bench.tool(1)
  await tool.ask('addProtectionDomain', { name: 'a' })
  bench.kill(2)
  bench.world.wipe('mdm-2')
  await bench.start(2)
  await bench.run(5_000)
  t.match(await bench.report(1), {
    state: 'Degraded',
    mdms: [{}, { name: 'mdm-2', status: 'Error', detail: /lost its data/ }, {}],
  })
  t.match(await bench.report(2), { state: 'Not attached', systemId: null })
  await bench.attach(tool, 2, 'manager', 'mdm-2b')
  await tool.ask('replaceClusterMdm', { add: 'mdm-2b', remove: 'mdm-2' })
  await tool.ask('removeStandbyMdm', { mdm: 'mdm-2' })
  await bench.run(1_000)
  t.match(await bench.report(1), { state: 'Normal', mdms: [{ name: 'mdm-1' }, { name: 'mdm-2b', role: 'Slave' }, {}] })
  bench.kill(1)
  t.equal(await bench.master(), 2)
  t.same(await domains(bench, 2), ['a'])
})

t.test(
  'an MDM with the data of another system is refused, and says what to do; one that was removed is free',
  async t => {
    const bench = await ClusterBench.of(1)
    const tool = await bench.tool(1)
    await bench.attach(tool, 2, 'manager')
    await bench.start(3, 'manager')
    const other = await bench.start(4, 'manager', true)
    const endpoint = { host: 'mdm-4', port: 9011 }
    await t.rejects(tool.ask('addStandbyMdm', { name: 'mdm-4', endpoint, kind: 'manager' }), {
      code: 'WRONG_SYSTEM',
      context: { remedy: /clear its directory/ },
    })
    t.ok(other.mdm)
    await tool.ask('removeStandbyMdm', { mdm: 'mdm-2' })
    t.match(await bench.report(2), { state: 'Not attached' })
    const second = await bench.tool(4)
    await second.ask('addStandbyMdm', { name: 'mine', endpoint: { host: 'mdm-2', port: 9011 }, kind: 'manager' })
  },
)

t.test('a member that is far behind gets a snapshot in pieces, and the log from there', async t => {
  const bench = await ClusterBench.of(3)
  const tool = await bench.tool(1)
  await tool.ask('addProtectionDomain', { name: 'a' })
  bench.kill(2)
  for (let count = 0; count < 1_050; count++)
    await tool.ask('renameProtectionDomain', {
      protectionDomain: count === 0 ? 'a' : `a${count}`,
      newName: `a${count + 1}`,
    })
  await bench.start(2)
  await bench.until('the snapshot', () =>
    bench.events.some(({ mdm, event }) => mdm === 2 && event === 'mdm.snapshotInstalled'),
  )
  await bench.run(1_000)
  const [one, two] = [bench.daemons.get(1)!.node!.replica!, bench.daemons.get(2)!.node!.replica!]
  t.same([two.appliedIndex, two.digest], [one.appliedIndex, one.digest])
  bench.world.powerLoss('mdm-2')
  bench.daemons.delete(2)
  await bench.start(2)
  bench.kill(1)
  t.equal(await bench.master(), 2)
  t.same(await domains(bench, 2), ['a1050'])
})

t.test('a member whose state differs is found out, stops to apply, and does not become master', async t => {
  const bench = await ClusterBench.of(5)
  const tool = await bench.tool(1)
  const { replica } = bench.daemons.get(2)!.node!
  replica!.state.nextNumber += 5
  for (const name of ['a', 'b']) await tool.ask('addProtectionDomain', { name })
  await bench.run(2_000)
  t.match(await bench.report(1), { state: 'Degraded', replicas: { now: 2, max: 3 } })
  t.match(
    (await bench.report(1)).mdms.find(({ name }) => name === 'mdm-2'),
    { status: 'Error', detail: /other effects/ },
  )
  t.ok(bench.events.some(({ event }) => event === 'mdm.digestsDiffer'))
  bench.kill(1)
  t.equal(await bench.master(), 3)
})

t.test('the map of the next master is newer than any that the last one has told, and names every MDM', async t => {
  const bench = await ClusterBench.of(3)
  const before = await (await bench.tool(1)).ask('query', {})
  bench.kill(1)
  await bench.master()
  const after = await (await bench.tool(2)).ask('query', {})
  t.ok(after.mapVersion > before.mapVersion)
  t.same(
    after.mdms.map(({ name, endpoint }) => [name, endpoint.host]),
    [
      ['mdm-1', 'mdm-1'],
      ['mdm-2', 'mdm-2'],
      ['mdm-3', 'mdm-3'],
    ],
  )
})
