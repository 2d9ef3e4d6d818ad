import t from 'tap'
import type { ControlMessage } from '../../../src/wire/control.js'
import { type DataFrame, makeFrame, opcodes } from '../../../src/wire/data.js'
import { SimClock, SimWorld, seededRandom } from '../../support/index.js'

t.test('seeded random: the same seed gives the same numbers, within their bound', async t => {
  const draw = (seed: number) => {
    const random = seededRandom(seed)
    return [random.hex(8), ...Array.from({ length: 100 }, () => random.integer(7))]
  }
  t.same(draw(42), draw(42))
  t.notSame(draw(42), draw(43))
  const numbers = draw(42).slice(1) as number[]
  t.same([...new Set(numbers)].sort(), [0, 1, 2, 3, 4, 5, 6])
})

t.test('virtual clock: events fire in time order, promise jobs between them, the end of the turn last', async t => {
  const clock = new SimClock()
  const seen: string[] = []
  clock.setTimer(5, () => seen.push('late'))
  clock.setTimer(1, () => {
    seen.push('first')
    clock.endOfTurn(() => seen.push('end of turn'))
    Promise.resolve().then(() => seen.push('promise job'))
  })
  clock.setTimer(1, () => seen.push('second'))
  clock.setTimer(3, () => seen.push('cancelled')).cancel()
  await clock.runFor(4)
  t.same(seen, ['first', 'promise job', 'second', 'end of turn'])
  t.equal(clock.nowMs(), 4)
  await clock.runIdle()
  t.equal(seen.at(-1), 'late')
})

t.test('virtual clock: runUntil stops as soon as the predicate holds, and says when it never does', async t => {
  const clock = new SimClock()
  let count = 0
  const tick = () => {
    count++
    clock.setTimer(10, tick)
  }
  tick()
  await clock.runUntil(() => count === 5)
  t.equal(clock.nowMs(), 40)
  await t.rejects(
    clock.runUntil(() => false, { withinMs: 100, what: 'pigs fly' }),
    /100 ms.*pigs fly/,
  )
})

t.test('simulated disk: a power loss takes back only sectors that were not synced', async t => {
  const world = new SimWorld(7)
  const { disks } = world.portsOf('sds-1')
  const disk = await disks.open('/d', { createBytes: 64 * 4096, direct: true })
  const run = (act: (done: (error: string | null) => void) => void) =>
    world.clock.finish(new Promise<string | null>(resolve => act(resolve)))
  t.equal(await run(done => disk.write(0, [Buffer.alloc(4096, 1)], done)), null)
  t.equal(await run(done => disk.sync(done)), null)
  t.equal(await run(done => disk.write(0, [Buffer.alloc(4096, 2)], done)), null)
  t.equal(await run(done => disk.write(4096, [Buffer.alloc(8192, 3)], done)), null)
  world.powerLoss('sds-1')
  const file = disks.files.get('/d')!
  const sectors = Array.from({ length: 24 }, (_, i) => file.peek(i * 512, 512))
  t.ok(
    sectors.every(sector => sector.equals(Buffer.alloc(512, sector[0]))),
    'no sector is torn',
  )
  t.ok(sectors.slice(0, 8).every(sector => sector[0] === 1 || sector[0] === 2))
  t.same(new Set(sectors.slice(8).map(sector => sector[0])), new Set([0, 3]), 'some sectors landed and some did not')
})

t.test('simulated disk: the end of a process keeps what was answered, and frees the lock', async t => {
  const world = new SimWorld(8)
  const { disks } = world.portsOf('sds-1')
  const disk = await disks.open('/d', { createBytes: 4096, direct: false })
  await t.rejects(disks.open('/d', { direct: false }), { code: 'DEVICE_BUSY' })
  let answered = 0
  disk.write(0, [Buffer.from('abc')], () => answered++)
  await world.clock.runIdle()
  disk.write(3, [Buffer.from('def')], () => answered++)
  world.crashProcess('sds-1')
  await world.clock.runIdle()
  t.equal(answered, 1)
  t.equal(disks.files.get('/d')!.peek(0, 3).toString(), 'abc')
  await disks.open('/d', { direct: false })
})

t.test('simulated disk: faults strike where and as often as they are told', async t => {
  const world = new SimWorld(9)
  const { disks } = world.portsOf('sds-1')
  const disk = await disks.open('/d', { createBytes: 8192, direct: false })
  disks.fail('/d', { operation: 'read', error: 'EIO', fromBytes: 4096, times: 1 })
  const read = (offset: number) =>
    world.clock.finish(new Promise(resolve => disk.read(offset, Buffer.alloc(512), resolve)))
  t.equal(await read(0), null)
  t.equal(await read(4096), 'EIO')
  t.equal(await read(4096), null)
  t.equal(await read(8192), 'EIO', 'beyond the end')
})

t.test('simulated network: a cut holds messages back, a drop ends connections on both sides', async t => {
  const world = new SimWorld(3)
  const a = world.portsOf('a')
  const b = world.portsOf('b')
  const heard: string[] = []
  const listener = await b.link.listenControl({ host: '127.0.0.1', port: 0 }, () => ({
    onMessage: message => heard.push((message as ControlMessage & { name: string }).name),
    onClose: reason => heard.push(`b: ${reason}`),
  }))
  const connection = a.link.connectControl(listener.endpoint, {
    onMessage() {},
    onClose: reason => heard.push(`a: ${reason}`),
  })
  const say = (name: string) => connection.send({ kind: 'notice', name, params: null })
  say('one')
  await world.clock.runFor(10)
  world.network.cut('a', 'b')
  say('two')
  await world.clock.runFor(1000)
  t.same(heard, ['one'])
  world.network.heal()
  await world.clock.runFor(10)
  t.same(heard, ['one', 'two'])
  world.network.drop('a', 'b')
  await world.clock.runFor(10)
  t.same(heard.slice(2).sort(), ['a: connection reset', 'b: connection reset'])
})

t.test('simulated world: a seed replays the same history', async t => {
  const history = async (seed: number) => {
    const world = new SimWorld(seed)
    const events: string[] = []
    const { link } = world.portsOf('server')
    const { endpoint } = await link.listenData({ host: '127.0.0.1', port: 0 }, connection => ({
      onMessage: frame => connection.send(makeFrame({ opcode: opcodes.ping, requestId: frame.requestId, flags: 1 })),
      onClose() {},
    }))
    for (const name of ['c1', 'c2', 'c3']) {
      const onMessage = (frame: DataFrame) => events.push(`${world.clock.nowMs()} ${name} ${frame.requestId}`)
      const connection = world.portsOf(name).link.connectData(endpoint, { onMessage, onClose() {} })
      for (let i = 0; i < 5; i++) connection.send(makeFrame({ opcode: opcodes.ping, requestId: i }))
    }
    await world.clock.runIdle()
    return events
  }
  const first = await history(5)
  t.equal(first.length, 15)
  t.same(await history(5), first)
  t.notSame(await history(6), first)
})
