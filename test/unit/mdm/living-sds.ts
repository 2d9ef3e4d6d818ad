import type { DeviceId, PoolId } from '../../../src/base/ids.js'
import type { SliceRecord } from '../../../src/model/index.js'
import type { OpenedDevice } from '../../../src/wire/control.js'
import { type Bench, registration, system, type Talker } from './harness.js'

/** An SDS that says that it lives, fills what joins, and drains what it is asked to: all at once, and truthfully. */
export class LivingSds {
  /** SDSs that it gets no answer from, by index, and since when. */
  readonly unreachable = new Map<number, { sinceMs: number; refused: boolean }>()
  isFilling = true
  isStopped = false
  /** What it leads has nothing under way that does not end. */
  drains = true
  error: string | null = null

  constructor(
    readonly world: LivingWorld,
    readonly index: number,
    public talker: Talker,
    public incarnation = 1,
  ) {
    talker.onRequest = (name, params) => this.#serve(name, params)
  }

  get deviceId(): DeviceId {
    return this.world.deviceIds[this.index] as DeviceId
  }

  /** The end of the process: the connection closes, and whoever asks is refused. */
  kill(): void {
    this.isStopped = true
    this.talker.connection.close()
    this.world.blame(this.index, true)
  }

  /** Nothing runs, nothing closes. */
  freeze(): void {
    this.isStopped = true
    this.talker.reports = false
    this.talker.acks = false
    this.world.blame(this.index, false)
  }

  thaw(): void {
    this.isStopped = false
    this.talker.reports = true
    this.talker.acks = true
    this.world.forgive(this.index)
  }

  /** A new process. */
  async restart(processId: string, device: Partial<OpenedDevice>): Promise<void> {
    const { bench } = this.world
    this.talker = await bench.connect('sds', `sds-${this.index}`)
    this.talker.onRequest = (name, params) => this.#serve(name, params)
    const opened = { deviceId: this.deviceId, path: '/found', capacityBytes: 16 * 2 ** 30, epochMax: 0 }
    const devices = [{ ...opened, cleanStop: false, sameBoot: true, ...device }]
    const answer = await this.talker.ask('registerSds', registration(this.index, processId, devices))
    this.incarnation = answer!.incarnation
    await this.talker.ask('subscribe', { fromVersion: 0 })
    this.isStopped = false
    this.world.forgive(this.index)
  }

  /** Four times a second. */
  live(nowMs: number): void {
    if (this.isStopped || this.talker.closed !== null) return
    const unreachable = [...this.unreachable].map(([index, { sinceMs, refused }]) => ({
      sdsId: this.world.sdsIds[index]!,
      forMs: Math.floor(nowMs - sinceMs),
      refused,
    }))
    const notice = (name: string, params: unknown) => this.talker.connection.send({ kind: 'notice', name, params })
    notice('sdsAlive', { incarnation: this.incarnation, unreachable })
    const usage = { slotsTotal: 16_384, slotsUsed: 640, thinChunks: 640, thickChunks: 0, resyncChunksLeft: 0 }
    notice('sdsStatus', { devices: [{ deviceId: this.deviceId, error: this.error, ...usage }] })
    if (this.isFilling) this.#fill()
  }

  #fill(): void {
    const { poolId } = this.world
    const mine = (this.talker.map.slices.get(poolId) ?? []).filter(record => this.#canFill(record))
    if (mine.length === 0) return
    const slices = mine.map(({ slice, epoch, joining }) => ({ slice, epoch, joining: joining! }))
    this.talker.send('copiesJoined', { incarnation: this.incarnation, poolId, slices }).catch(() => {})
  }

  #canFill({ primary, joining }: SliceRecord): boolean {
    const target = this.world.sdss.find(sds => sds.deviceId === joining)
    return primary === this.deviceId && joining !== null && target !== undefined && !target.isStopped
  }

  #serve(name: string, params: unknown): unknown {
    if (this.isStopped) return undefined
    if (name === 'drainSlices' && !this.drains) return { slices: [] }
    if (name === 'drainSlices')
      return { slices: (params as { slices: { slice: number }[] }).slices.map(({ slice }) => slice) }
    return { capacityBytes: 16 * 2 ** 30, path: '/found' }
  }
}

/** A system whose SDSs live. */
export class LivingWorld {
  readonly sdss: LivingSds[] = []
  sdsIds: string[] = []

  private constructor(
    readonly bench: Bench,
    readonly tool: Talker,
    readonly poolId: PoolId,
    readonly deviceIds: string[],
  ) {}

  static async open(bench: Bench, count: number): Promise<LivingWorld> {
    await bench.start()
    const { tool, sdss, poolId, deviceIds } = await system(bench, count)
    await tool.ask('addVolume', { pool: 'pool1', name: 'v', sizeBytes: 8 * 2 ** 30, type: 'thin' })
    const world = new LivingWorld(bench, tool, poolId, deviceIds)
    sdss.forEach((talker, index) => {
      world.sdss.push(new LivingSds(world, index, talker))
    })
    await world.refresh()
    world.#beat()
    await bench.world.clock.runFor(5_000)
    return world
  }

  async refresh() {
    const report = await this.tool.ask('query', {})
    this.sdsIds = report.sdss.map(({ id }) => id)
    return report
  }

  get nowMs(): number {
    return this.bench.world.clock.nowMs()
  }

  run(ms: number): Promise<void> {
    return this.bench.world.clock.runFor(ms)
  }

  /** The table as the MDM has it now. */
  async records(): Promise<SliceRecord[]> {
    const watcher = await this.bench.connect('tool', 'watcher')
    await watcher.ask('subscribe', { fromVersion: 0 })
    await this.run(10)
    return watcher.map.slices.get(this.poolId)!
  }

  blame(index: number, refused: boolean): void {
    for (const sds of this.sdss) if (sds.index !== index) sds.unreachable.set(index, { sinceMs: this.nowMs, refused })
  }

  forgive(index: number): void {
    for (const sds of this.sdss) sds.unreachable.delete(index)
  }

  #beat(): void {
    this.bench.world.clock.setTimer(250, () => {
      for (const sds of this.sdss) sds.live(this.nowMs)
      this.#beat()
    })
  }
}
