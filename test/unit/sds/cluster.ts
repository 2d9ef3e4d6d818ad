import type { DeviceId, MappingId, PoolId, ProtectionDomainId, SdcId, SdsId, VolumeId } from '../../../src/base/ids.js'
import { numberOfId } from '../../../src/base/ids.js'
import { chunkBytes, MiB } from '../../../src/base/units.js'
import type { SdsConfig } from '../../../src/config/sds.js'
import type { MapChange, SliceRecord, StoragePool } from '../../../src/model/index.js'
import type { Daemon } from '../../../src/ports/index.js'
import { startSds } from '../../../src/sds/daemon.js'
import { decode, encode } from '../../../src/wire/codec.js'
import { type CompareReport, type DataFrame, type DataHello, makeFrame, opcodes } from '../../../src/wire/data.js'
import { type SimPorts, SimWorld } from '../../support/index.js'
import { FakeMdm, idOf, mdmAt, systemId } from './fake-mdm.js'

export const poolId = idOf<'pool'>(10) as PoolId
export const volumeId = idOf<'volume'>(20) as VolumeId
export const mappingId = idOf<'mapping'>(30) as MappingId
export const sdcId = idOf<'sdc'>(40) as SdcId
export const sdsIdOf = (n: number): SdsId => idOf<'sds'>(100 + n) as SdsId
export const deviceIdOf = (n: number): DeviceId => idOf<'device'>(200 + n) as DeviceId
export const sliceCount = 4
export const chunkCount = 16
const domainId = idOf<'protectionDomain'>(1) as ProtectionDomainId

export interface ClusterOptions {
  sdss?: number
  seed?: number
  zeroPadding?: boolean
  thick?: boolean
  /** By SDS; default 64 MiB. */
  deviceBytesOf?: Record<number, number>
  /** Of the volume; default 16. */
  chunks?: number
  /** Records of the slices; default: primary on 1, secondary on 2. */
  record?: Partial<SliceRecord>
  /** Default: both unlimited. */
  policies?: Pick<StoragePool, 'rebuildPolicy' | 'rebalancePolicy'>
  /** Settings of every SDS. */
  config?: Partial<SdsConfig>
}

const unlimited = { rebuildPolicy: { kind: 'unlimited' }, rebalancePolicy: { kind: 'unlimited' } } as const

/** SDSs 1, 2, … with one device each, a fake MDM, a pool of four slices, a volume of sixteen chunks mapped to one SDC. */
export class Cluster {
  readonly world: SimWorld
  readonly mdm: FakeMdm
  readonly daemons = new Map<number, Daemon>()
  /** Of the process that runs, or ran last. */
  readonly ports = new Map<number, SimPorts>()

  constructor(readonly options: ClusterOptions = {}) {
    this.world = new SimWorld(options.seed ?? 1)
    this.mdm = new FakeMdm(this.world.portsOf('mdm'))
  }

  get clock() {
    return this.world.clock
  }

  static async start(options: ClusterOptions = {}): Promise<Cluster> {
    const cluster = new Cluster(options)
    await cluster.mdm.start()
    const sdss = Array.from({ length: options.sdss ?? 2 }, (_, i) => i + 1)
    cluster.mdm.commit([...cluster.#tables(sdss)])
    for (const n of sdss) await cluster.boot(n)
    await cluster.until(() => sdss.every(n => cluster.isServing(n)))
    for (const n of sdss) await cluster.#addDevice(n)
    cluster.mdm.commit(cluster.#placed())
    await cluster.settled()
    return cluster
  }

  *#tables(sdss: number[]): Generator<MapChange> {
    const { zeroPadding = true, thick = false, chunks = chunkCount } = this.options
    yield { kind: 'put', table: 'systems', value: { id: systemId, name: 'test' } }
    yield { kind: 'put', table: 'protectionDomains', value: { id: domainId, name: 'pd1' } }
    const pool = { id: poolId, name: 'pool1', protectionDomainId: domainId, zeroPadding, sparePercent: 10, sliceCount }
    yield {
      kind: 'put',
      table: 'pools',
      value: { ...pool, limitPolicy: null, ...(this.options.policies ?? unlimited) },
    }
    for (const n of sdss) {
      const common = { protectionDomainId: domainId, faultSetId: null, guid: '', incarnation: 0, processId: '' }
      yield {
        kind: 'put',
        table: 'sdss',
        value: { id: sdsIdOf(n), name: `sds-${n}`, endpoint: this.endpointOf(n), ...common },
      }
    }
    const sdc = { id: sdcId, name: 'sdc-1', guid: 'g', incarnation: 1, processId: 'p' }
    yield { kind: 'put', table: 'sdcs', value: sdc }
    const volume = { id: volumeId, name: 'vol1', poolId, sizeBytes: chunks * chunkBytes, sliceOffset: 1 }
    yield { kind: 'put', table: 'volumes', value: { ...volume, type: thick ? 'thick' : 'thin' } }
    yield { kind: 'put', table: 'mappings', value: this.mapping() }
  }

  mapping(accessMode: 'ReadWrite' | 'ReadOnly' = 'ReadWrite') {
    return { id: mappingId, volumeId, sdcId, accessMode, iopsLimit: null, bandwidthLimitKbPerSec: null }
  }

  async #addDevice(n: number): Promise<void> {
    const path = `/disks/${n}`
    const sizeBytes = this.options.deviceBytesOf?.[n] ?? 64 * MiB
    const params = { deviceId: deviceIdOf(n), systemId, path, sizeBytes, force: false }
    const answer = await this.clock.finish(this.mdm.ask(sdsIdOf(n), 'prepareDevice', params))
    const { capacityBytes } = answer as { capacityBytes: number }
    const device = { id: deviceIdOf(n), name: `d${n}`, sdsId: sdsIdOf(n), poolId, path, originalPath: path }
    this.mdm.commit([{ kind: 'put', table: 'devices', value: { ...device, capacityBytes, state: 'ready' } }])
  }

  #placed(): MapChange[] {
    const record = { epoch: 1, primary: deviceIdOf(1), secondary: deviceIdOf(2), joining: null, lossEpoch: 0 }
    const slices = Array.from({ length: sliceCount }, (_, slice) => ({ slice, ...record, ...this.options.record }))
    return [{ kind: 'slices', poolId, slices }]
  }

  endpointOf(n: number) {
    return { host: `10.0.1.${n}`, port: 7000 + n }
  }

  async boot(n: number, config: Partial<SdsConfig> = {}): Promise<void> {
    const ports = this.world.portsOf(`sds-${n}`)
    this.ports.set(n, ports)
    const daemon = await this.clock.finish(
      startSds(
        {
          name: `sds-${n}`,
          listen: this.endpointOf(n),
          mdm: [mdmAt],
          directory: '/state',
          systemId: null,
          deviceSearch: ['/disks'],
          ioMode: 'direct',
          rmcacheBytes: 0,
          cpus: null,
          logLevel: 'info',
          marksIdleMs: 10_000,
          marksKept: 0,
          leaseTimeoutMs: 1_000,
          leaseHeartbeatMs: 250,
          metricsListen: null,
          ...this.options.config,
          ...config,
        },
        ports,
      ),
    )
    this.daemons.set(n, daemon)
  }

  crash(n: number): void {
    this.world.crashProcess(`sds-${n}`)
    this.daemons.delete(n)
  }

  powerLoss(n: number): void {
    this.world.powerLoss(`sds-${n}`)
    this.daemons.delete(n)
  }

  async stop(n: number): Promise<void> {
    const daemon = this.daemons.get(n)!
    this.daemons.delete(n)
    await this.clock.finish(daemon.stop())
    this.world.crashProcess(`sds-${n}`)
  }

  async end(): Promise<void> {
    for (const n of [...this.daemons.keys()]) await this.stop(n)
  }

  metric(n: number, name: string): number {
    const sample = this.daemons
      .get(n)
      ?.metrics()
      .find(sample => sample.name === `blockmesh_sds_${name}`)
    return sample?.value ?? 0
  }

  isServing(n: number): boolean {
    return this.metric(n, 'serving') === 1
  }

  until(predicate: () => boolean, withinMs = 30_000): Promise<void> {
    return this.clock.runUntil(predicate, { withinMs })
  }

  /** Every SDS that runs has the newest map in effect. */
  settled(): Promise<void> {
    return this.until(() => [...this.daemons.keys()].every(n => this.mdm.acks.get(sdsIdOf(n)) === this.mdm.map.version))
  }

  record(slice: number): SliceRecord {
    return this.mdm.map.slices.get(poolId)![slice]!
  }

  get isInSync(): boolean {
    return this.mdm.map.slices.get(poolId)!.every(({ secondary, joining }) => secondary !== null && joining === null)
  }

  async client(n: number, options: Partial<DataHello> = {}): Promise<TestClient> {
    const client = new TestClient(this, n, options)
    await client.hello()
    return client
  }

  /** What the checker finds in all slices. */
  async differences(): Promise<CompareReport['differences']> {
    const found: CompareReport['differences'] = []
    for (let slice = 0; slice < sliceCount; slice++) {
      const n = numberOfId(this.record(slice).primary) - 200
      const checker = await this.client(n, { kind: 'check', client: 0, incarnation: 0 })
      const reply = await this.clock.finish(
        checker.send(makeFrame({ opcode: opcodes.compare, pool: numberOfId(poolId), slice })),
      )
      if (reply.status !== 0) throw new Error(`compare was refused: ${reply.status}`)
      found.push(...(decode(Buffer.concat(reply.body)) as CompareReport).differences)
      checker.close()
    }
    return found
  }
}

let counter = 0

/** A client of one device: knows what it asked, not how to recover. */
export class TestClient {
  readonly #waiting = new Map<number, (frame: DataFrame) => void>()
  readonly #connection
  #nextId = 1
  closedBecause: string | null = null
  isWelcome = false
  /** Resolves when the connection ends. */
  readonly closed: Promise<null>
  /** Overrides what the client takes the slices' epoch to be. */
  epoch: number | null = null

  constructor(
    readonly cluster: Cluster,
    readonly n: number,
    readonly options: Partial<DataHello>,
  ) {
    let end: (value: null) => void = () => {}
    this.closed = new Promise(resolve => {
      end = resolve
    })
    const link = cluster.world.network.linkOf(options.kind === 'sds' ? `sds-x` : 'sdc-1')
    this.#connection = link.connectData(cluster.endpointOf(n), {
      onMessage: frame => {
        this.#waiting.get(frame.requestId)?.(frame)
        this.#waiting.delete(frame.requestId)
      },
      onClose: reason => {
        this.closedBecause = reason
        end(null)
      },
    })
  }

  async hello(): Promise<void> {
    const status = await this.cluster.clock.finish(this.greet())
    if (status !== 0) throw new Error(`hello was refused with status ${status}`)
  }

  /** Says hello and returns the status of the answer. */
  async greet(): Promise<number> {
    const hello: DataHello = {
      systemId,
      kind: 'sdc',
      client: numberOfId(sdcId),
      incarnation: 1,
      counter: ++counter,
      deviceId: deviceIdOf(this.n),
      mapVersion: this.cluster.mdm.map.version,
      ...this.options,
    }
    const { status } = await this.send(makeFrame({ opcode: opcodes.hello, body: [encode(hello)] }))
    this.isWelcome = status === 0
    return status
  }

  get unanswered(): number {
    return this.#waiting.size
  }

  send(frame: DataFrame): Promise<DataFrame> {
    const requestId = this.#nextId++
    return new Promise(resolve => {
      this.#waiting.set(requestId, resolve)
      this.#connection.send({ ...frame, requestId })
    })
  }

  close(): void {
    this.#connection.close()
  }

  /** A request for a range of a chunk, with everything as the map has it now. */
  request(opcode: number, chunk: number, fields: Partial<DataFrame> = {}): Promise<DataFrame> {
    const { mdm } = this.cluster
    const slice = (1 + chunk) % sliceCount
    return this.send(
      makeFrame({
        opcode,
        slice,
        epoch: this.epoch ?? this.cluster.record(slice).epoch,
        mapping: numberOfId(mappingId),
        volume: numberOfId(volumeId),
        chunk,
        pool: numberOfId(poolId),
        mapVersion: mdm.map.version,
        ...fields,
      }),
    )
  }

  write(chunk: number, offset: number, data: Buffer, fields: Partial<DataFrame> = {}): Promise<DataFrame> {
    return this.request(opcodes.write, chunk, { offset, length: data.length, body: [data], ...fields })
  }

  async mustWrite(chunk: number, offset: number, data: Buffer): Promise<void> {
    const reply = await this.cluster.clock.finish(this.write(chunk, offset, data))
    if (reply.status !== 0) throw new Error(`write was refused with status ${reply.status}`)
  }

  async read(chunk: number, offset = 0, length = chunkBytes): Promise<Buffer> {
    const reply = await this.cluster.clock.finish(this.request(opcodes.read, chunk, { offset, length }))
    if (reply.status !== 0) throw new Error(`read was refused with status ${reply.status}`)
    return Buffer.concat(reply.body)
  }
}
