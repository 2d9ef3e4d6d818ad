import t from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import type { MdmClient } from '../../../src/mdm-client/index.js'
import type { MapDelta } from '../../../src/model/index.js'
import type { ControlMessage } from '../../../src/wire/control.js'
import { SimWorld } from '../../support/index.js'
import { at, delta, FakeMdm, openClient, systemId, welcome } from './fake-mdm.js'

/** One MDM, which does not listen yet, and a client of it. */
function setUp(t: Parameters<typeof openClient>[0], options: Parameters<typeof openClient>[2] = {}) {
  const world = new SimWorld(1)
  return { world, mdm: new FakeMdm(world), client: openClient(t, world, options) }
}

t.test('MDM client: says hello, registers, subscribes, then sends what had to wait', async t => {
  const { world, mdm, client } = setUp(t, {
    onConnected: async client => {
      await client.request('registerSds', { guid: 'g', processId: 'p', endpoint: at, devices: [] })
    },
  })
  const query = client.request('query', {})
  const subscribed = client.subscribe()
  client.start()
  await world.clock.runFor(300)
  t.equal(client.connected, false)
  await mdm.listen()
  await world.clock.finish(Promise.all([query, subscribed]))
  t.same(mdm.names(), ['hello', 'registerSds', 'subscribe', 'query'])
  t.equal(client.systemId, systemId)
})

t.test(
  'MDM client: applies map changes in order, skips old ones, asks again after a gap, replaces by a whole map',
  async t => {
    const versions: [number[], boolean][] = []
    const { world, mdm, client } = setUp(t, {
      onMap: (_map, deltas, whole) => versions.push([deltas.map(delta => delta.version), whole]),
    })
    await mdm.listen()
    client.start()
    await world.clock.finish(client.subscribe())
    mdm.notice('map', { whole: false, deltas: [delta(1), delta(2)] })
    mdm.notice('map', { whole: false, deltas: [delta(2), delta(3)] })
    await world.clock.runFor(10)
    t.same(versions, [
      [[1, 2], false],
      [[3], false],
    ])
    mdm.notice('map', { whole: false, deltas: [delta(5)] })
    await world.clock.runFor(10)
    t.equal(client.map.version, 3)
    t.same(mdm.heard.at(-1), { kind: 'request', id: 3, name: 'subscribe', params: { fromVersion: 3 } })
    mdm.notice('map', { whole: true, deltas: [delta(9), delta(10)] })
    await world.clock.runFor(10)
    t.same(versions.at(-1), [[9, 10], true])
    t.equal(client.map.tables.systems.get(systemId)?.name, 'v10')
  },
)

t.test('MDM client: takes what an SDS hands over as far as it continues the map', async t => {
  const seen: number[] = []
  const { client } = setUp(t, { onMap: (_map, deltas) => seen.push(...deltas.map(delta => delta.version)) })
  t.equal(client.offerDeltas([delta(1), delta(2)]), true)
  t.equal(client.offerDeltas([delta(2)]), true)
  t.equal(client.offerDeltas([delta(3), delta(5)]), false)
  t.same(seen, [1, 2, 3])
  t.throws(() => client.offerDeltas([{ version: 'x' } as unknown as MapDelta]), { code: 'PROTOCOL' })
})

t.test(
  'MDM client: after a lost connection it subscribes from its own version, then asks again; a registration fails',
  async t => {
    const { world, mdm, client } = setUp(t)
    await mdm.listen()
    client.start()
    await world.clock.finish(client.subscribe())
    mdm.notice('map', { whole: false, deltas: [delta(1)] })
    await world.clock.runFor(10)
    mdm.answer = name =>
      name === 'hello' ? { systemId, mapVersion: 1, mdmName: 'mdm-1' } : name === 'subscribe' ? {} : undefined
    const lost = t.rejects(client.request('registerSdc', { guid: 'g', processId: 'p', name: 'n' }), {
      code: 'UNREACHABLE',
    })
    const asked = client.request('query', {})
    await world.clock.runFor(10)
    world.network.drop('sds', 'mdm-1')
    await world.clock.finish(lost)
    t.equal(client.connected, false)
    mdm.heard.length = 0
    mdm.answer = name => (name === 'hello' ? welcome(1) : {})
    await world.clock.finish(asked)
    t.equal(client.connected, true)
    t.same(
      mdm.heard.map(({ name, params }) => [name, name === 'subscribe' ? params : null]),
      [
        ['hello', null],
        ['subscribe', { fromVersion: 1 }],
        ['query', null],
      ],
    )
  },
)

t.test('MDM client: tries all addresses in turn, more slowly each round', async t => {
  const other = { host: '127.0.0.1', port: 9012 }
  const { world, mdm, client } = setUp(t, { addresses: [at, other] })
  client.start()
  await world.clock.runFor(10_000)
  await mdm.listen(other)
  await world.clock.runUntil(() => client.connected, { withinMs: 4_200 })
})

t.test('MDM client: without an MDM a request ends with UNREACHABLE, without an answer with TIMED_OUT', async t => {
  const { world, mdm, client } = setUp(t)
  client.start()
  await world.clock.finish(
    t.rejects(client.request('query', {}, { timeoutMs: 500 }), {
      code: 'UNREACHABLE',
      message: /127.0.0.1:9011.*refused/,
    }),
  )
  await mdm.listen()
  mdm.answer = name => (name === 'hello' ? { systemId, mapVersion: 0, mdmName: 'm' } : undefined)
  await world.clock.runUntil(() => client.connected)
  await world.clock.finish(t.rejects(client.request('query', {}, { timeoutMs: 500 }), { code: 'TIMED_OUT' }))
})

t.test('MDM client: an MDM that accepts but does not answer hello is passed over', async t => {
  const { world, mdm, client } = setUp(t)
  mdm.answer = () => undefined
  await mdm.listen()
  client.start()
  await world.clock.runFor(11_000)
  t.ok(mdm.names().length >= 3)
  t.equal(client.connected, false)
})

t.test('MDM client: errors of the MDM arrive as StorageErrors', async t => {
  const { world, mdm, client } = setUp(t)
  await mdm.listen()
  mdm.answer = name => {
    if (name === 'hello') return { systemId, mapVersion: 0, mdmName: 'm' }
    throw new StorageError('IN_USE', { volume: 'v1', remedy: 'unmap it first' })
  }
  client.start()
  await world.clock.finish(
    t.rejects(client.request('removeVolume', { volume: 'v1' }), {
      code: 'IN_USE',
      message: /volume v1.*unmap it first/,
    }),
  )
})

for (const [what, hello, helloCountMin] of [
  ['another system', { systemId: 'ffffffff00000001', mapVersion: 0, mdmName: 'm' }, 1],
  ['an older map than ours', { systemId, mapVersion: 3, mdmName: 'm' }, 10],
] as const)
  t.test(`MDM client: an MDM of ${what} is refused for good`, async t => {
    const refused: StorageError[] = []
    const { world, mdm, client } = setUp(t, { systemId, onRefused: error => refused.push(error as StorageError) })
    client.offerDeltas([1, 2, 3, 4].map(delta))
    mdm.answer = () => hello
    await mdm.listen()
    const waiting = t.rejects(client.request('query', {}), { code: 'WRONG_SYSTEM' })
    client.start()
    await world.clock.finish(waiting)
    t.same(
      refused.map(error => error.code),
      ['WRONG_SYSTEM'],
    )
    const { length } = mdm.heard
    t.ok(length >= helloCountMin, 'a master that does not know yet that it is none is given time')
    await world.clock.runFor(10_000)
    t.equal(mdm.heard.length, length, 'it does not try again')
  })

t.test('MDM client: answers what the MDM asks, and refuses what is malformed or unknown', async t => {
  const asked: unknown[] = []
  const { world, mdm, client } = setUp(t, {
    onRequest: async (_name, params) => {
      asked.push(params)
      throw new StorageError('DEVICE_BUSY', { path: '/d' })
    },
  })
  await mdm.listen()
  client.start()
  await world.clock.runUntil(() => client.connected)
  const ask = (id: number, name: string, params: unknown) => mdm.connection!.send({ kind: 'request', id, name, params })
  ask(1, 'releaseDevice', { deviceId: '0000000100000007' })
  ask(2, 'releaseDevice', { deviceId: 'short' })
  ask(3, 'toString', {})
  await world.clock.runFor(10)
  t.same(asked, [{ deviceId: '0000000100000007' }])
  const byId = (a: ControlMessage, b: ControlMessage) => ('id' in a && 'id' in b ? a.id - b.id : 0)
  t.match(mdm.answers.sort(byId), [
    { id: 1, error: { code: 'DEVICE_BUSY', context: { path: '/d' } } },
    { id: 2, error: { code: 'BAD_ARGUMENT' } },
    { id: 3, error: { code: 'BAD_REQUEST' } },
  ])
})

t.test('MDM client: close ends everything and nothing is tried again', async t => {
  const { world, mdm, client } = setUp(t)
  client.start()
  const waiting = t.rejects(client.request('query', {}), { code: 'UNREACHABLE' })
  await client.close()
  await waiting
  await mdm.listen()
  await world.clock.runFor(5_000)
  t.equal(mdm.heard.length, 0)
  await t.rejects((client as MdmClient).request('query', {}), { code: 'UNREACHABLE' })
})
