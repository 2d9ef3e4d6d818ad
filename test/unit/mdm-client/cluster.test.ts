import t, { type Test } from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import type { MdmClientOptions } from '../../../src/mdm-client/index.js'
import type { ClusterReport } from '../../../src/wire/control.js'
import { SimWorld } from '../../support/index.js'
import { delta, FakeMdm, openClient, systemId, welcome } from './fake-mdm.js'

const addresses = [1, 2, 3].map(n => ({ host: `mdm-${n}`, port: 9011 }))
const [first, second, third] = addresses as [(typeof addresses)[0], (typeof addresses)[0], (typeof addresses)[0]]

const notMaster = (master?: string): never => {
  throw new StorageError('NOT_MASTER', master === undefined ? {} : { master })
}

/** Three MDMs that listen: all answer as if they were master until told otherwise. */
async function setUp(t: Test, options: Partial<MdmClientOptions> = {}) {
  const world = new SimWorld(1)
  const mdms = addresses.map(({ host }) => new FakeMdm(world, host)) as [FakeMdm, FakeMdm, FakeMdm]
  for (const [index, mdm] of mdms.entries()) await mdm.listen(addresses[index]!)
  return { world, mdms, client: openClient(t, world, { addresses, ...options }) }
}

/** It is a slave, which knows or does not know who is master. */
function obeys(mdm: FakeMdm, master: string | undefined, report: Partial<ClusterReport> = {}): void {
  mdm.answer = name =>
    name === 'queryCluster' ? { mdms: [], state: 'Degraded', detail: null, ...report } : notMaster(master)
}

const tool = { role: 'tool', client: 'tool-1' } as const
const addVolume = { pool: 'pool1', name: 'v', sizeBytes: 2 ** 33, type: 'thin' } as const

t.test('MDM client: an MDM that is not master names the one that is', async t => {
  const { world, mdms, client } = await setUp(t)
  for (const mdm of mdms.slice(0, 2)) obeys(mdm, 'mdm-3:9011')
  client.start()
  await world.clock.finish(client.ready(1_000))
  t.same(
    mdms.map(mdm => mdm.names()),
    [['hello'], [], ['hello']],
  )
})

t.test('MDM client: a master is found at an address that only the others know', async t => {
  const { world, mdms, client } = await setUp(t, { addresses: [first] })
  obeys(mdms[0], 'mdm-3:9011')
  client.start()
  await world.clock.finish(client.ready(1_000))
  t.same(mdms[2].names(), ['hello'])
})

t.test('MDM client: redirects that lead nowhere do not keep it from trying the others', async t => {
  const { world, mdms, client } = await setUp(t)
  obeys(mdms[0], 'mdm-2:9011')
  obeys(mdms[1], 'mdm-1:9011')
  client.start()
  await world.clock.finish(client.ready(1_000))
  t.same(mdms[2].names(), ['hello'])
})

t.test('MDM client: when the master dies the next one is found within a second of its election', async t => {
  const { world, mdms, client } = await setUp(t)
  for (const mdm of mdms.slice(1)) obeys(mdm, 'mdm-1:9011')
  client.start()
  await world.clock.finish(client.ready(1_000))
  await world.clock.runFor(5_000)
  await mdms[0].kill()
  await world.clock.runFor(500)
  for (const mdm of mdms.slice(1)) obeys(mdm, undefined)
  await world.clock.runFor(700)
  mdms[2].answer = name => (name === 'hello' ? welcome() : {})
  await world.clock.runUntil(() => client.connected, { withinMs: 600 })
})

for (const [what, fallSilent] of [
  ['whose host is gone', (world: SimWorld, _mdm: FakeMdm) => world.network.vanish('mdm-1')],
  [
    'that stands still',
    (_world: SimWorld, mdm: FakeMdm) => {
      mdm.answer = () => undefined
    },
  ],
] as const)
  t.test(`MDM client: a master ${what} is noticed by its silence`, async t => {
    const { world, mdms, client } = await setUp(t)
    client.start()
    await world.clock.finish(client.ready(1_000))
    await world.clock.runFor(5_000)
    t.equal(client.connected, true, 'one that has nothing to say answers when it is asked')
    fallSilent(world, mdms[0])
    await world.clock.runUntil(() => mdms[1].names().includes('hello'), { withinMs: 4_000 })
  })

t.test('MDM client: a silent address costs no time while others answer', async t => {
  const { world, mdms, client } = await setUp(t)
  mdms[0].answer = () => undefined
  for (const mdm of mdms.slice(1)) obeys(mdm, undefined)
  client.start()
  await world.clock.runFor(2_000)
  const asked = mdms[1].asked('hello').length
  t.ok(asked >= 4, `the others were asked ${asked} times`)
  mdms[0].answer = name => (name === 'hello' ? welcome() : {})
  await world.clock.runUntil(() => client.connected, { withinMs: 4_000 })
})

t.test('MDM client: a master that is none any more says so, and the request goes to the next one', async t => {
  const { world, mdms, client } = await setUp(t, tool)
  client.start()
  await world.clock.finish(client.ready(1_000))
  for (const mdm of [mdms[0], mdms[2]]) obeys(mdm, 'mdm-2:9011')
  mdms[1].answer = name => (name === 'hello' ? welcome() : { id: 'x' })
  t.same(await world.clock.finish(client.request('addVolume', addVolume)), { id: 'x' })
  const [before] = mdms[0].asked('addVolume')
  t.same(mdms[1].asked('addVolume'), [before], 'with the number that it had')
})

t.test('MDM client: a change whose master died is sent again under its own number, before later ones', async t => {
  const { world, mdms, client } = await setUp(t, tool)
  mdms[0].answer = name => (name === 'hello' ? welcome() : undefined)
  client.start()
  await world.clock.finish(client.ready(1_000))
  const changes = ['a', 'b', 'c'].map(name => client.request('addVolume', { ...addVolume, name }))
  const query = client.request('query', {})
  await world.clock.runFor(100)
  t.same(mdms[0].names(), ['hello', 'addVolume', 'query'], 'one change at a time')
  t.match(mdms[0].heard[0]!.params, { client: 'tool-1' })
  await mdms[0].kill()
  await world.clock.finish(Promise.all([...changes, query]))
  const sent = mdms[1].asked('addVolume')
  t.same(
    sent.map(({ params }) => (params as { name: string }).name),
    ['a', 'b', 'c'],
  )
  t.equal(sent[0]!.id, mdms[0].asked('addVolume')[0]!.id)
  t.same(
    [...sent].sort((a, b) => a.id - b.id),
    sent,
    'numbers rise',
  )
})

t.test('MDM client: without a name of its own a tool hears that its change may have been done', async t => {
  const { world, mdms, client } = await setUp(t, { role: 'tool' })
  mdms[0].answer = name => (name === 'hello' ? welcome() : undefined)
  client.start()
  await world.clock.finish(client.ready(1_000))
  const lost = t.rejects(client.request('addVolume', addVolume), { code: 'UNREACHABLE', message: /mdm-1:9011/ })
  await world.clock.runFor(10)
  await mdms[0].kill()
  await world.clock.finish(lost)
})

t.test('MDM client: what daemons report is sent again, a registration is made anew', async t => {
  let registrations = 0
  const { world, mdms, client } = await setUp(t, {
    onConnected: async client => {
      registrations++
      await client.request('registerSds', { guid: 'g', processId: 'p', endpoint: first, devices: [] })
    },
  })
  mdms[0].answer = name => (name === 'copiesJoined' ? undefined : name === 'hello' ? welcome() : {})
  client.start()
  await world.clock.finish(client.ready(1_000))
  const reported = client.request('copiesJoined', { incarnation: 1, poolId: systemId, slices: [] })
  await world.clock.runFor(10)
  await mdms[0].kill()
  await world.clock.finish(reported)
  t.equal(registrations, 2)
  t.same(mdms[1].names(), ['hello', 'registerSds', 'copiesJoined'])
})

t.test('MDM client: a request waits for a master, then says what each address has said', async t => {
  const { world, mdms, client } = await setUp(t, tool)
  await mdms[0].kill()
  mdms[1].answer = () => undefined
  obeys(mdms[2], undefined)
  client.start()
  const error = await world.clock.finish(
    client.request('addVolume', addVolume, { timeoutMs: 5_000 }).then(
      () => null,
      (error: StorageError) => error,
    ),
  )
  t.match(error, {
    code: 'UNREACHABLE',
    message:
      /no MDM answers as master.*mdm-1:9011: .*refused.*mdm-2:9011: it took too long.*mdm-3:9011: it is not the master/,
  })
})

t.test('MDM client: while there is no majority the error says so', async t => {
  const { world, mdms, client } = await setUp(t, tool)
  await mdms[0].kill()
  await mdms[1].kill()
  obeys(mdms[2], undefined, { state: 'Error', detail: '1 of 3 members is there, 2 are needed' })
  client.start()
  await world.clock.finish(
    t.rejects(client.request('addVolume', addVolume, { timeoutMs: 3_000 }), {
      code: 'UNREACHABLE',
      message: /has no master: 1 of 3 members is there, 2 are needed.*mdm-1:9011.*nothing can be changed/,
    }),
  )
})

t.test('MDM client: a change that was sent and is given up may be done, and says so', async t => {
  const { world, mdms, client } = await setUp(t, tool)
  mdms[0].answer = name => (name === 'hello' ? welcome() : undefined)
  client.start()
  await world.clock.finish(client.ready(1_000))
  const given = t.rejects(client.request('addVolume', addVolume, { timeoutMs: 2_000 }), {
    code: 'UNREACHABLE',
    message: /it may be done/,
  })
  await world.clock.runFor(10)
  for (const mdm of mdms) await mdm.kill()
  await world.clock.finish(given)
})

t.test('MDM client: addresses of members are learned from the map and from the cluster', async t => {
  const mdm = (n: number, endpoint: (typeof addresses)[0], membership: string) => ({
    id: `000000010000000${n}`,
    name: `mdm-${n}`,
    kind: 'manager',
    endpoint,
    membership,
  })
  const put = (value: unknown) => ({ kind: 'put', table: 'mdms', value })
  const { world, mdms, client } = await setUp(t, { addresses: [first] })
  client.start()
  await world.clock.finish(client.subscribe())
  const changes = [put(mdm(2, second, 'member')), put(mdm(3, third, 'standby'))]
  mdms[0].notice('map', { whole: false, deltas: [{ version: 1, changes }] })
  await world.clock.runFor(1_000)
  for (const mdm of mdms) mdm.answer = name => (name === 'hello' ? welcome(1) : {})
  await mdms[0].kill()
  await world.clock.runFor(500)
  t.same(mdms[1].names(), ['hello', 'subscribe'])
  t.same(mdms[2].names(), [], 'who stands by is no master')

  const other = openClient(t, world, { addresses: [first, second] })
  obeys(mdms[1], undefined, { mdms: [mdm(3, third, 'member')] as never })
  other.start()
  await world.clock.finish(other.ready(1_000))
  t.same(mdms[2].names(), ['hello'])
})

t.test('MDM client: the map never goes back when the master changes', async t => {
  const seen: number[] = []
  const { world, mdms, client } = await setUp(t, { onMap: map => seen.push(map.version) })
  client.start()
  await world.clock.finish(client.subscribe())
  mdms[0].notice('map', { whole: false, deltas: [delta(1), delta(2)] })
  await world.clock.runFor(600)
  mdms[1].answer = name => (name === 'hello' ? welcome(1) : {})
  mdms[2].answer = name => (name === 'hello' ? welcome(2) : {})
  await mdms[0].kill()
  await world.clock.runFor(500)
  t.same(mdms[1].names(), ['hello'], 'a master that knows less was cut off from the others')
  t.same(mdms[2].asked('subscribe')[0]!.params, { fromVersion: 2 })
  client.offerDeltas([delta(3), delta(4)])
  mdms[2].notice('map', { whole: true, deltas: [delta(3)] })
  mdms[2].notice('map', { whole: false, deltas: [delta(4), delta(5)] })
  await world.clock.runFor(10)
  t.same(seen, [2, 4, 5])
})

t.test('MDM client: one address of another system does not end a daemon, all of them do', async t => {
  const refused: Error[] = []
  const { world, mdms, client } = await setUp(t, { systemId, onRefused: error => refused.push(error) })
  const foreign = () => ({ systemId: 'ffffffff00000001', mapVersion: 0, mdmName: 'm' })
  for (const mdm of mdms) mdm.answer = foreign
  mdms[2].answer = name => (name === 'hello' ? welcome() : {})
  client.start()
  await world.clock.finish(client.ready(2_000))
  t.same(refused, [])
  mdms[2].answer = foreign
  world.network.drop('sds', 'mdm-3')
  await world.clock.runUntil(() => refused.length > 0, { withinMs: 3_000 })
})

t.test('MDM client: a slow master is no dead one', async t => {
  const { world, mdms, client } = await setUp(t)
  client.start()
  await world.clock.finish(client.ready(1_000))
  world.network.slow('sds', 'mdm-1', 600)
  await world.clock.runFor(10_000)
  t.equal(client.connected, true)
  t.equal(mdms[0].asked('hello').length, 1)
})
