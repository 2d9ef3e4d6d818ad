import t from 'tap'
import { chunkBytes } from '../../src/base/units.js'
import { loadConfig } from '../../src/config/load.js'
import { mdmKeys } from '../../src/config/mdm.js'
import { exportConfiguration } from '../../src/core/mdm/index.js'
import { type MdmDaemon, startMdm } from '../../src/mdm/daemon.js'
import { type MdmClient, openMdmClient } from '../../src/mdm-client/index.js'
import type { ClusterMap } from '../../src/model/index.js'
import { silentLog } from '../../src/ports/index.js'
import type { RecoveryReport } from '../../src/wire/control.js'
import { mdmAt, SimCluster } from './cluster.js'
import { planOf } from './plan.js'
import { Situations } from './situations.js'

/**
 * The MDM loses its directory, and a new one imports what was exported some time before. The same daemons as in reality, in
 * virtual time; whatever was acknowledged is read back.
 */

const chunksWritten = 40

class Story {
  readonly cluster: SimCluster
  readonly tool: MdmClient
  mdm: MdmDaemon | null = null
  /** By chunk: what was acknowledged last. */
  readonly acknowledged = new Map<number, number>()

  constructor(seed: number) {
    const plan = {
      ...planOf(seed),
      mdms: 1 as const,
      spareMdms: 0,
      spareSdss: 0,
      sdss: 4,
      faultSets: 4,
      devicesPerSds: 1,
    }
    const quiet = { sdcs: 1, volumes: 1, sparePercent: 34, isThick: false, faults: [], graceMs: 5_000, diskMs: 0.2 }
    this.cluster = new SimCluster({ ...plan, ...quiet }, new Situations(), {
      onUp() {},
      onDown() {},
      onMap() {},
      onLog() {},
      onBroken(error) {
        throw error
      },
    })
    const { clock, world } = this.cluster
    const link = world.network.linkOf('operator')
    const name = 'operator'
    this.tool = openMdmClient({
      addresses: [mdmAt(1)],
      role: 'tool',
      name,
      systemId: null,
      clock,
      link,
      log: silentLog,
    })
  }

  static async begin(seed: number): Promise<Story> {
    const story = new Story(seed)
    await story.cluster.provision()
    await story.writeAll(1)
    return story
  }

  get map(): ClusterMap {
    return this.mdm?.map ?? this.cluster.map!
  }

  finish<T>(promise: Promise<T>): Promise<T> {
    return this.cluster.clock.finish(promise, { withinMs: 60_000 })
  }
  until(what: string, holds: () => boolean): Promise<void> {
    return this.cluster.clock.runUntil(holds, { withinMs: 120_000, what })
  }

  #io(act: (done: (errno: string | null) => void) => void): Promise<void> {
    return this.finish(
      new Promise((resolve, reject) => act(errno => (errno === null ? resolve() : reject(new Error(errno))))),
    )
  }

  async writeAll(value: number): Promise<void> {
    const volume = this.cluster.exportOf('sdc-1', 'vol1')!
    for (let chunk = 0; chunk < chunksWritten; chunk++) {
      await this.#io(done => volume.write(chunk * chunkBytes, [Buffer.alloc(4096, value)], false, done))
      this.acknowledged.set(chunk, value)
    }
    await this.#io(done => volume.flush(done))
  }

  /** Chunks that do not read as what was acknowledged. */
  async wrong(): Promise<number[]> {
    const volume = this.cluster.exportOf('sdc-1', 'vol1')!
    const wrong: number[] = []
    for (const [chunk, value] of this.acknowledged) {
      const target = Buffer.alloc(4096)
      await this.#io(done => volume.read(chunk * chunkBytes, target, done))
      if (!target.equals(Buffer.alloc(4096, value))) wrong.push(chunk)
    }
    return wrong
  }

  export(): string {
    const { mdm } = this.cluster.master!.daemon
    return exportConfiguration(mdm!.state)
  }

  get isHealthy(): boolean {
    return [...this.map.slices.values()]
      .flat()
      .every(({ secondary, joining }) => secondary !== null && joining === null)
  }

  /** All processes end; a new MDM starts in an empty directory and imports. */
  async loseMdmAndImport(text: string): Promise<void> {
    for (const { name } of this.cluster.processes.values()) this.cluster.kill(name)
    const { host, port } = mdmAt(1)
    const config = `name: new-mdm\nlisten: ${host}:${port}\ndirectory: /new\n`
    this.mdm = await this.finish(
      startMdm(loadConfig(mdmKeys, config, 'new-mdm'), this.cluster.world.portsOf('new-mdm')),
    )
    this.tool.start()
    await this.finish(this.tool.request('importConfiguration', { text }))
    await this.finish(this.tool.close())
  }

  startDaemons(except: readonly string[] = []): void {
    for (const { name, role } of this.cluster.processes.values())
      if (role !== 'mdm' && !except.includes(name)) this.cluster.start(name)
  }

  get recovery(): RecoveryReport | null {
    return this.mdm!.mdm!.recovery.report()
  }

  async untilServed(): Promise<void> {
    await this.until('the volume is exported', () => this.cluster.exportOf('sdc-1', 'vol1') !== undefined)
    await this.until('healthy', () => this.isHealthy)
  }
}

t.test('lose the MDM, import: with every SDS back and none that knows more the system goes on by itself', async t => {
  const story = await Story.begin(11)
  await story.loseMdmAndImport(story.export())
  t.equal(story.recovery!.missing.length, 4)
  story.startDaemons()
  await story.until('all have come', () => story.recovery === null)
  await story.untilServed()
  t.same(await story.wrong(), [])
  await story.writeAll(2)
  t.same(await story.wrong(), [])
})

for (const seed of [12, 13, 14])
  t.test(
    `lose the MDM, import an older configuration, accept: what was acknowledged is there (seed ${seed})`,
    async t => {
      const story = await Story.begin(seed)
      const { cluster } = story
      const text = story.export()
      // Since the export: an SDS leaves for good, others take its copies, and data are written to all of them.
      cluster.kill('sds-2')
      await story.until('its copies have left', () => !names(story.map, 'sds-2'))
      await story.until('rebuilt', () => story.isHealthy)
      await story.writeAll(3)
      cluster.start('sds-2')
      await cluster.clock.runFor(20_000)
      await story.writeAll(4)

      await story.loseMdmAndImport(text)
      story.startDaemons()
      await story.until('all have come', () => story.recovery?.missing.length === 0)
      t.ok(story.recovery!.newer.length > 0, 'they know more')
      await cluster.clock.runFor(10_000)
      t.ok(story.recovery !== null, 'nobody goes on by himself')
      t.equal(cluster.exportOf('sdc-1', 'vol1'), undefined, 'nothing is served')
      const voided = await story.finish(story.mdm!.mdm!.recovery.accept(false))
      t.equal(voided.slicesUnproven, 0)
      t.ok(voided.slicesMoved + voided.copiesDropped > 0, 'the roles of the export are not those of the data')
      await story.untilServed()
      t.same(await story.wrong(), [])
      await story.writeAll(5)
      t.same(await story.wrong(), [])
    },
  )

function names(map: ClusterMap, sdsName: string): boolean {
  const sds = [...map.tables.sdss.values()].find(({ name }) => name === sdsName)!
  const own = new Set([...map.tables.devices.values()].filter(({ sdsId }) => sdsId === sds.id).map(({ id }) => id))
  const copies = [...map.slices.values()].flat().flatMap(({ primary, secondary }) => [primary, secondary])
  return copies.some(id => id !== null && own.has(id))
}
