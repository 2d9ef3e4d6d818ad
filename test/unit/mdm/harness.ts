import type { PoolId } from '../../../src/base/ids.js'
import { GiB } from '../../../src/base/units.js'
import type { MdmConfig } from '../../../src/config/mdm.js'
import { startMdm } from '../../../src/mdm/daemon.js'
import { applyDelta, type ClusterMap, emptyMap, type MapDelta } from '../../../src/model/index.js'
import type { Connection, Daemon, Log, LogFields } from '../../../src/ports/index.js'
import type { AnswerOf, ControlMessage, MdmRequestName, MdmRequests, OpenedDevice } from '../../../src/wire/control.js'
import { SimWorld } from '../../support/index.js'
import { Asked } from './asked.js'

export const mdmConfig: MdmConfig = {
  name: 'mdm-1',
  listen: { host: 'mdm', port: 9011 },
  directory: '/mdm',
  kind: 'manager',
  createSystem: true,
  heartbeatMs: 100,
  electionMs: 500,
  logEntriesMax: 1000,
  systemName: null,
  logLevel: 'info',
  metricsListen: null,
}

/** An MDM in a simulated world, and daemons that say what a test wants them to say. */
export class Bench {
  readonly world: SimWorld
  mdm: Daemon | null = null
  /** What the MDM has logged. */
  readonly logged: { level: string; event: string; fields: LogFields }[] = []

  constructor(seed = 1) {
    this.world = new SimWorld(seed)
  }

  async start(config: Partial<MdmConfig> = {}): Promise<Daemon> {
    this.mdm = await this.finish(startMdm({ ...mdmConfig, ...config }, this.world.portsOf('mdm-1', this.#log())))
    return this.mdm
  }

  #log(): Log {
    const at =
      (level: string) =>
      (event: string, fields: LogFields = {}) =>
        void this.logged.push({ level, event, fields })
    const log: Log = { error: at('error'), warn: at('warn'), info: at('info'), debug: at('debug'), child: () => log }
    return log
  }

  finish<T>(promise: Promise<T>): Promise<T> {
    return this.world.clock.finish(promise, { withinMs: 120_000 })
  }

  until(what: string, predicate: () => boolean): Promise<void> {
    return this.world.clock.runUntil(predicate, { withinMs: 120_000, what })
  }

  async connect(role: 'sds' | 'sdc' | 'tool', name: string, systemId: string | null = null): Promise<Talker> {
    const talker = new Talker(this, name)
    await talker.ask('hello', { version: 1, role, name, systemId })
    if (role === 'sds') talker.startReports()
    return talker
  }
}

/** One connection that speaks the control protocol by hand. */
export class Talker {
  readonly connection: Connection<ControlMessage>
  readonly map: ClusterMap = emptyMap()
  readonly mapVersions: number[] = []
  closed: string | null = null
  adopted = 0
  /** Acknowledges each map notice at once. */
  acks = true
  /** What an SDS answers to the MDM's requests. */
  onRequest: (name: string, params: unknown) => unknown = () => ({ capacityBytes: 16 * GiB, path: '/found' })
  readonly requests: string[] = []
  /** Reports every second, as an SDS does. */
  reports = true
  readonly #asked = new Asked()

  constructor(
    readonly bench: Bench,
    readonly name: string,
  ) {
    this.connection = bench.world.portsOf(name).link.connectControl(mdmConfig.listen, {
      onMessage: message => this.#take(message),
      onClose: reason => {
        this.closed = reason
      },
    })
  }

  startReports(): void {
    this.bench.world.clock.setTimer(1_000, () => {
      if (this.reports) this.connection.send({ kind: 'notice', name: 'sdsStatus', params: { devices: [] } })
      if (this.closed === null) this.startReports()
    })
  }

  /** Sends now; the promise settles with the answer. Errors reject with the wire error. */
  send(name: string, params: unknown, id?: number): Promise<unknown> {
    return this.#asked.send(this.connection, name, params, id)
  }

  /** Asks and lets time pass until the answer is there. */
  ask<N extends MdmRequestName>(name: N, params: MdmRequests[N], id?: number): Promise<AnswerOf<N>> {
    return this.bench.finish(this.send(name, params, id)) as Promise<AnswerOf<N>>
  }

  ack(version = this.map.version): void {
    this.connection.send({ kind: 'notice', name: 'mapAck', params: { version } })
  }

  #take(message: ControlMessage): void {
    if (message.kind === 'answer') this.#asked.take(message)
    else if (message.kind === 'request') this.#serve(message)
    else if (message.name === 'adopted') this.adopted++
    else if (message.name === 'map') this.#learn(message.params as { whole: boolean; deltas: MapDelta[] })
  }

  #serve({ id, name, params }: Extract<ControlMessage, { kind: 'request' }>): void {
    this.requests.push(name)
    const answer = this.onRequest(name, params)
    if (answer === undefined) return
    const error = (answer as { code?: string }).code !== undefined
    this.connection.send({ kind: 'answer', id, ...(error ? { error: answer } : { result: answer }) } as ControlMessage)
  }

  #learn({ whole, deltas }: { whole: boolean; deltas: MapDelta[] }): void {
    if (whole) {
      for (const table of Object.values(this.map.tables)) table.clear()
      this.map.slices.clear()
      this.map.version = 0
    }
    for (const delta of deltas) {
      applyDelta(this.map, delta)
      this.mapVersions.push(delta.version)
    }
    if (this.acks) this.ack()
  }
}

export interface Sds {
  talker: Talker
  index: number
}

/** Connects and registers an SDS daemon; null: it is not part of the system. */
export async function comes(bench: Bench, index: number, processId: string, devices: OpenedDevice[] = []) {
  const talker = await bench.connect('sds', `sds-${index}`)
  const answer = await talker.ask('registerSds', registration(index, processId, devices))
  if (answer) await talker.ask('subscribe', { fromVersion: 0 })
  return { talker, answer }
}

export const registration = (index: number, processId: string, devices: OpenedDevice[] = []) => ({
  guid: `guid-${index}`,
  processId,
  endpoint: { host: '10.0.0.1', port: 7072 + index },
  devices,
})

/** A system with a pool of `count` SDSs in fault sets of their own, one device of 16 GiB each. */
export async function system(bench: Bench, count: number) {
  const tool = await bench.connect('tool', 'scli')
  await tool.ask('addProtectionDomain', { name: 'pd1' })
  const { id: poolId } = await tool.ask('addStoragePool', { protectionDomain: 'pd1', name: 'pool1', sliceCount: 64 })
  const sdss: Talker[] = []
  const deviceIds: string[] = []
  for (let index = 0; index < count; index++) {
    await tool.ask('addFaultSet', { protectionDomain: 'pd1', name: `fs-${index}` })
    const { talker } = await comes(bench, index, `p${index}-1`)
    const { endpoint } = registration(index, '')
    await tool.ask('addSds', { protectionDomain: 'pd1', faultSet: `fs-${index}`, name: `sds-${index}`, endpoint })
    await bench.until('adopted', () => talker.adopted === 1)
    await talker.ask('registerSds', registration(index, `p${index}-1`))
    await talker.ask('subscribe', { fromVersion: 0 })
    const { id } = await tool.ask('addDevice', { sds: `sds-${index}`, pool: 'pool1', path: `/dev/${index}` })
    deviceIds.push(id)
    sdss.push(talker)
  }
  return { tool, sdss, poolId: poolId as PoolId, deviceIds }
}

export const openedDevice = (deviceId: string, fields: Partial<OpenedDevice> = {}): OpenedDevice => ({
  deviceId,
  path: '/found',
  capacityBytes: 16 * GiB,
  cleanStop: true,
  sameBoot: true,
  epochMax: 0,
  ...fields,
})
