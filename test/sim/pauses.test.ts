import t from 'tap'
import { chunkBytes } from '../../src/base/units.js'
import { seededRandom } from '../support/index.js'
import { poolName, SimCluster } from './cluster.js'
import { planOf } from './plan.js'
import { Situations } from './situations.js'

t.setTimeout(120_000)

const chunks = 64
const writersMax = 4
const thinkMs = 40

/** Three SDSs in fault sets of their own, and one SDC that writes and reads all the time. */
class Scene {
  readonly cluster: SimCluster
  readonly random = seededRandom(5)
  readonly #events: string[] = []
  #longestMs = 0
  #openSinceMs = new Set<number>()
  #isOver = false

  constructor() {
    const focus = { sdss: 3, faultSets: 3, sdcs: 1, volumes: 1, devicesPerSds: 1, sliceCount: 16, spareSdss: 0 }
    const more = { isShared: false, leaseMs: 1_000, graceMs: 60_000, sparePercent: 34, isThick: false, diskMs: 0.2 }
    const plan = { ...planOf(1), ...focus, ...more, clockRates: false, faults: [] }
    this.cluster = new SimCluster(plan, new Situations(), {
      onUp: () => {},
      onDown: () => {},
      onMap: () => {},
      onLog: (process, event, fields) => {
        if (process.role === 'mdm' && event === 'slices.changed') this.#events.push(String(fields.why))
      },
      onBroken: error => {
        throw error
      },
    })
  }

  static async open(): Promise<Scene> {
    const scene = new Scene()
    await scene.cluster.provision()
    for (let writer = 0; writer < writersMax; writer++) scene.#next()
    await scene.run(5_000)
    scene.reset()
    return scene
  }

  run(ms: number): Promise<void> {
    return this.cluster.clock.runFor(ms)
  }

  /** The longest that any request has taken since `reset`, those still under way too. */
  get longestMs(): number {
    let longestMs = this.#longestMs
    for (const sinceMs of this.#openSinceMs) longestMs = Math.max(longestMs, this.cluster.clock.nowMs() - sinceMs)
    return longestMs
  }
  /** Why the MDM has changed slices since. */
  get events(): string[] {
    return this.#events
  }
  reset(): void {
    this.#longestMs = 0
    this.#events.length = 0
  }

  leads(sds: string): number {
    const { tables, slices } = this.cluster.map!
    const isOn = (id: string) => tables.sdss.get(tables.devices.get(id)!.sdsId)!.name === sds
    return [...slices.values()].flat().filter(({ primary }) => isOn(primary)).length
  }

  end(): void {
    this.#isOver = true
  }

  #next(): void {
    if (this.#isOver) return
    const backend = this.cluster.exportOf('sdc-1', 'vol1')!
    const { clock } = this.cluster.process('sdc-1').ports!
    const sinceMs = this.cluster.clock.nowMs() + this.random.integer(1000) / 1e6
    const at = this.random.integer(chunks) * chunkBytes + 4096 * this.random.integer(4)
    this.#openSinceMs.add(sinceMs)
    const done = () => {
      this.#openSinceMs.delete(sinceMs)
      this.#longestMs = Math.max(this.#longestMs, this.cluster.clock.nowMs() - sinceMs)
      this.cluster.clock.setTimer(thinkMs, () => this.#next())
    }
    clock.deliver(() => {
      if (this.random.integer(3) === 0) backend.read(at, Buffer.alloc(4096), done)
      else backend.write(at, [Buffer.alloc(4096, 0x61)], false, done)
    })
  }
}

t.test('an SDC that does not reach one SDS goes on within five seconds, and stays so while it is cut', async t => {
  const scene = await Scene.open()
  const ledBefore = scene.leads('sds-1')
  scene.cluster.world.network.cut('sdc-1', 'sds-1')
  await scene.run(6_000)
  t.ok(scene.longestMs > 1_000 && scene.longestMs < 5_000, `the longest pause is ${Math.round(scene.longestMs)} ms`)
  t.same(new Set(scene.events), new Set(['primary out of reach']), 'and nobody is thrown out for it')
  t.equal(scene.leads('sds-1'), 0)
  scene.reset()
  await scene.run(20_000)
  t.ok(scene.longestMs < 100, `${Math.round(scene.longestMs)} ms`)
  t.same(scene.events, [], 'the roles stay where they are')
  scene.cluster.world.network.heal()
  await scene.run(45_000)
  t.equal(scene.leads('sds-1'), ledBefore, 'and come back afterwards')
  scene.end()
})

t.test('a clean stop of an SDS: no request waits for a promotion', async t => {
  const scene = await Scene.open()
  let isStopped = false
  scene.cluster.stop('sds-1', () => {
    isStopped = true
  })
  await scene.cluster.clock.runUntil(() => scene.leads('sds-1') === 0)
  await scene.run(50)
  t.notOk(isStopped)
  t.ok(scene.longestMs < 100, `the longest pause of the swap is ${Math.round(scene.longestMs)} ms`)
  await scene.cluster.clock.runUntil(() => isStopped)
  await scene.run(3_000)
  t.ok(scene.longestMs < 1_000, `the longest pause until the copies have left is ${Math.round(scene.longestMs)} ms`)
  t.same(scene.events, ['roles handed over', 'copies lost'])
  scene.end()
})

t.test('maintenance of an SDS that leads slices: no request waits for a promotion', async t => {
  const scene = await Scene.open()
  const { tool, clock } = scene.cluster
  await clock.finish(tool.request('enterMaintenance', { sds: 'sds-2' }))
  await scene.run(3_000)
  t.ok(scene.longestMs < 100, `the longest pause is ${Math.round(scene.longestMs)} ms`)
  t.equal(scene.events[0], 'roles handed over')
  t.equal(scene.leads('sds-2'), 0)
  await clock.finish(tool.request('exitMaintenance', { sds: 'sds-2' }))
  await clock.runUntil(() => scene.leads('sds-2') > 0, { withinMs: 60_000, what: `the roles in ${poolName} come back` })
  scene.end()
})
