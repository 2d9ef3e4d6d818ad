import t from 'tap'
import { chunkBytes } from '../../src/base/units.js'
import { Scene } from './scene.js'

t.setTimeout(120_000)

/** How long applications wait for what is done to a system on purpose, and for a link that is cut. */

const chunks = 64
const appsMax = 4
const thinkMs = 40

/** Applications that write and read all the time, and the longest that any of them has waited. */
class Apps {
  #longestMs = 0
  readonly #openSinceMs = new Set<number>()
  #isOver = false

  constructor(readonly scene: Scene) {
    for (let app = 0; app < appsMax; app++) void this.#live()
  }

  /** Since `reset`, what is still under way too. */
  get longestMs(): number {
    let longestMs = this.#longestMs
    for (const sinceMs of this.#openSinceMs) longestMs = Math.max(longestMs, this.scene.clock.nowMs() - sinceMs)
    return longestMs
  }
  reset(): void {
    this.#longestMs = 0
    this.scene.events.length = 0
  }
  end(): void {
    this.#isOver = true
  }

  async #live(): Promise<void> {
    const { clock, random } = this.scene
    while (!this.#isOver) {
      const sinceMs = clock.nowMs() + random.integer(1000) / 1e6
      const at = random.integer(chunks) * chunkBytes + 4096 * random.integer(4)
      this.#openSinceMs.add(sinceMs)
      if (random.integer(3) === 0) await this.scene.read(at, Buffer.alloc(4096))
      else await this.scene.write(at, Buffer.alloc(4096, 0x61))
      this.#openSinceMs.delete(sinceMs)
      this.#longestMs = Math.max(this.#longestMs, clock.nowMs() - sinceMs)
      await new Promise<void>(resolve => clock.setTimer(thinkMs, resolve))
    }
  }
}

async function busyScene(): Promise<{ scene: Scene; apps: Apps }> {
  const scene = await Scene.open()
  const apps = new Apps(scene)
  await scene.run(5_000)
  apps.reset()
  return { scene, apps }
}

t.test('an SDC that does not reach one SDS goes on within five seconds, and stays so while it is cut', async t => {
  const { scene, apps } = await busyScene()
  const ledBefore = scene.leads('sds-1')
  scene.cluster.world.network.cut('sdc-1', 'sds-1')
  await scene.run(6_000)
  t.ok(apps.longestMs > 1_000 && apps.longestMs < 5_000, `the longest pause is ${Math.round(apps.longestMs)} ms`)
  t.same(new Set(scene.events), new Set(['primary out of reach']), 'and nobody is thrown out for it')
  t.equal(scene.leads('sds-1'), 0)
  apps.reset()
  await scene.run(20_000)
  t.ok(apps.longestMs < 100, `${Math.round(apps.longestMs)} ms`)
  t.same(scene.events, [], 'the roles stay where they are')
  scene.cluster.world.network.heal()
  await scene.run(45_000)
  t.equal(scene.leads('sds-1'), ledBefore, 'and come back afterwards')
  apps.end()
})

t.test('a clean stop of an SDS: no request waits for a promotion', async t => {
  const { scene, apps } = await busyScene()
  let isStopped = false
  scene.cluster.stop('sds-1', () => {
    isStopped = true
  })
  await scene.clock.runUntil(() => scene.leads('sds-1') === 0)
  await scene.run(50)
  t.notOk(isStopped)
  t.ok(apps.longestMs < 100, `the longest pause of the swap is ${Math.round(apps.longestMs)} ms`)
  await scene.clock.runUntil(() => isStopped)
  await scene.run(3_000)
  t.ok(apps.longestMs < 1_000, `the longest pause until the copies have left is ${Math.round(apps.longestMs)} ms`)
  t.same(scene.events, ['roles handed over', 'copies lost'])
  apps.end()
})

t.test('maintenance of an SDS that leads slices: no request waits for a promotion', async t => {
  const { scene, apps } = await busyScene()
  const { tool, clock } = scene.cluster
  await clock.finish(tool.request('enterMaintenance', { sds: 'sds-2' }))
  await scene.run(3_000)
  t.ok(apps.longestMs < 100, `the longest pause is ${Math.round(apps.longestMs)} ms`)
  t.equal(scene.events[0], 'roles handed over')
  t.equal(scene.leads('sds-2'), 0)
  await clock.finish(tool.request('exitMaintenance', { sds: 'sds-2' }))
  await clock.runUntil(() => scene.leads('sds-2') > 0, { withinMs: 60_000, what: 'the roles come back' })
  apps.end()
})
