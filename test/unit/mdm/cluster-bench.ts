import { kindsOfMode } from '../../../src/core/mdm/index.js'
import { type MdmDaemon, startMdm } from '../../../src/mdm/daemon.js'
import type { ClusterMode, MdmKind } from '../../../src/model/index.js'
import type { Connection } from '../../../src/ports/index.js'
import type { AnswerOf, ClusterReport, ControlMessage, MdmRequestName, MdmRequests } from '../../../src/wire/control.js'
import { SimWorld } from '../../support/index.js'
import type { ProcessClock } from '../../support/sim-clock.js'
import { Asked } from './asked.js'
import { mdmConfig } from './harness.js'

const at = (index: number) => ({ host: `mdm-${index}`, port: 9011 })

/** MDMs in a simulated world, and tools that speak to one of them. */
export class ClusterBench {
  readonly world: SimWorld
  readonly daemons = new Map<number, MdmDaemon>()
  readonly clocks = new Map<number, ProcessClock>()
  readonly kinds = new Map<number, MdmKind>()
  readonly events: { mdm: number; event: string; fields: Record<string, unknown> }[] = []
  #tools = 0

  constructor(seed = 1) {
    this.world = new SimWorld(seed)
  }

  finish<T>(promise: Promise<T>): Promise<T> {
    return this.world.clock.finish(promise, { withinMs: 120_000 })
  }
  run(ms: number): Promise<void> {
    return this.world.clock.runFor(ms)
  }
  until(what: string, predicate: () => boolean, withinMs = 20_000): Promise<void> {
    return this.world.clock.runUntil(predicate, { withinMs, what })
  }

  async start(
    index: number,
    kind: MdmKind = this.kinds.get(index) ?? 'manager',
    createSystem = index === 1,
  ): Promise<MdmDaemon> {
    this.kinds.set(index, kind)
    const note = (event: string, fields: Record<string, unknown> = {}) => {
      this.events.push({ mdm: index, event, fields })
    }
    const log = { error: note, warn: note, info: note, debug: note, child: () => log }
    const config = { ...mdmConfig, name: `mdm-${index}`, listen: at(index), kind, createSystem }
    const ports = this.world.portsOf(`mdm-${index}`, log)
    this.clocks.set(index, ports.clock)
    const daemon = await this.finish(startMdm(config, ports))
    this.daemons.set(index, daemon)
    return daemon
  }

  kill(index: number): void {
    this.daemons.delete(index)
    this.world.crashProcess(`mdm-${index}`)
  }

  /** A cluster of that mode: the first managers and tie breakers, by their names. */
  static async of(mode: ClusterMode, seed = 1): Promise<ClusterBench> {
    const bench = new ClusterBench(seed)
    await bench.start(1)
    const { managers } = kindsOfMode[mode]
    const tool = await bench.tool(1)
    for (let index = 2; index <= mode; index++)
      await bench.attach(tool, index, index <= managers ? 'manager' : 'tieBreaker')
    const names = (...indexes: number[]) => indexes.map(index => `mdm-${index}`)
    if (mode >= 3) await tool.ask('switchClusterMode', { mode: 3, add: names(2, managers + 1) })
    if (mode === 5) await tool.ask('switchClusterMode', { mode: 5, add: names(3, 5) })
    return bench
  }

  /** Starts an MDM, and attaches it as a standby. */
  async attach(tool: ClusterTool, index: number, kind: MdmKind, name = `mdm-${index}`): Promise<void> {
    if (!this.daemons.has(index)) await this.start(index, kind)
    await tool.ask('addStandbyMdm', { name, endpoint: at(index), kind })
  }

  /** The one that is master now, alone. */
  get masters(): number[] {
    return [...this.daemons].filter(([, { mdm }]) => mdm?.members.isServing).map(([index]) => index)
  }
  async master(): Promise<number> {
    await this.until('a master', () => this.masters.length === 1)
    return this.masters[0]!
  }

  /** A tool connected to that MDM; says hello unless told otherwise. */
  async tool(index: number, { client, saysHello = true }: { client?: string; saysHello?: boolean } = {}) {
    const tool = new ClusterTool(this, index, `tool-${++this.#tools}`, client)
    if (saysHello) await tool.hello()
    return tool
  }

  async report(index: number): Promise<ClusterReport> {
    const tool = await this.tool(index, { saysHello: false })
    await tool.hello().catch(() => {})
    return tool.ask('queryCluster', {})
  }

  /** Cut off from these, in both directions. */
  cut(index: number, ...others: number[]): void {
    for (const other of others) this.world.network.cut(`mdm-${index}`, `mdm-${other}`)
  }
}

export class ClusterTool {
  readonly connection: Connection<ControlMessage>
  closed: string | null = null
  readonly #asked = new Asked()

  constructor(
    readonly bench: ClusterBench,
    readonly index: number,
    readonly name: string,
    readonly client: string | undefined,
  ) {
    this.connection = bench.world.network.linkOf(name).connectControl(at(index), {
      onMessage: message => {
        if (message.kind === 'answer') this.#asked.take(message)
      },
      onClose: reason => {
        this.closed = reason
        this.#asked.end(reason)
      },
    })
  }

  hello(): Promise<unknown> {
    const { name, client } = this
    return this.ask('hello', { version: 1, role: 'tool', name, systemId: null, client })
  }

  /** Sends now; rejects with the error as it came over the wire. */
  send(name: string, params: unknown, id?: number): Promise<unknown> {
    return this.#asked.send(this.connection, name, params, id)
  }

  ask<N extends MdmRequestName>(name: N, params: MdmRequests[N], id?: number): Promise<AnswerOf<N>> {
    return this.bench.finish(this.send(name, params, id)) as Promise<AnswerOf<N>>
  }
}
