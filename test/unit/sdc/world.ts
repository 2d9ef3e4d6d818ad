import { errorTable } from '../../../src/base/errors.js'
import { type DeviceId, type Id, idOfNumber, type PoolId, type SystemId } from '../../../src/base/ids.js'
import { chunkBytes, GiB } from '../../../src/base/units.js'
import {
  applyDelta,
  type ClusterMap,
  type Endpoint,
  emptyMap,
  type MapChange,
  type MapDelta,
  type Mapping,
  type SliceRecord,
  type StoragePool,
  type Volume,
} from '../../../src/model/index.js'
import { type Relay, type StateDirectory, silentLog } from '../../../src/ports/index.js'
import type { Connection } from '../../../src/ports/link.js'
import { DataPath, type DataPathHost } from '../../../src/sdc/data-path.js'
import { FlushFile } from '../../../src/sdc/flush-file.js'
import type { NbdErrno } from '../../../src/sdc/nbd/index.js'
import { VolumeClient } from '../../../src/sdc/volume-client.js'
import { decode, encode } from '../../../src/wire/codec.js'
import { type DataFrame, type DataHello, makeReply, opcodes } from '../../../src/wire/data.js'
import { noRelay, SimClock, SimNetwork, seededRandom } from '../../support/index.js'

export const systemId = '5eed000000000000' as SystemId
export const idOf = <Kind extends string>(number: number): Id<Kind> => idOfNumber<Kind>(systemId, number)
export const poolId = idOf<'pool'>(3) as PoolId
export const deviceIds = [idOf<'device'>(21), idOf<'device'>(22), idOf<'device'>(23)] as DeviceId[]

/** What an SDS got, in the order of arrival. */
export interface Seen {
  device: number
  counter: number
  frame: DataFrame
  body: Buffer
}

/** What a fake SDS does with a request: a status, its data, or nothing at all. */
export type Behaviour = (seen: Seen) => number | 'hold' | undefined

/** A device's server that keeps its chunks in memory shared by all, and answers as it is told. */
export class FakeSds {
  readonly seen: Seen[] = []
  readonly held: (() => void)[] = []
  behave: Behaviour = () => undefined
  counterLast = 0
  helloStatus = 0
  #current: Connection<DataFrame> | null = null

  constructor(
    readonly world: World,
    readonly device: number,
    readonly at: Endpoint,
  ) {}

  async start(): Promise<void> {
    await this.world.network.linkOf(`sds-${this.device}`).listenData(this.at, connection => {
      let counter = 0
      return {
        onMessage: frame => {
          if (frame.opcode === opcodes.hello) counter = this.#hello(connection, frame)
          else if (frame.opcode === opcodes.ping) connection.send(makeReply(frame, 0))
          else this.#take(connection, counter, frame)
        },
        onClose: () => {},
      }
    })
  }

  #hello(connection: Connection<DataFrame>, frame: DataFrame): number {
    const hello = decode(Buffer.concat(frame.body)) as DataHello
    const refused = this.helloStatus || (hello.counter <= this.counterLast ? errorTable.NO_SESSION.wire : 0)
    if (refused === 0) {
      this.#current?.close()
      this.#current = connection
      this.counterLast = hello.counter
    }
    connection.send(makeReply(frame, refused, [encode({ sdsId: '', mapVersion: 0 })]))
    return hello.counter
  }

  #take(connection: Connection<DataFrame>, counter: number, frame: DataFrame): void {
    const seen = { device: this.device, counter, frame, body: Buffer.concat(frame.body) }
    this.seen.push(seen)
    const answer = () => connection.send(this.#answer(seen))
    const told = this.behave(seen)
    if (told === 'hold') this.held.push(answer)
    else if (told === undefined) answer()
    else connection.send(makeReply(frame, told))
  }

  /** Sends a frame that nobody asked for. */
  say(frame: DataFrame): void {
    this.#current?.send(frame)
  }

  /** Answers what was held back. */
  release(): void {
    for (const answer of this.held.splice(0)) answer()
  }

  #answer({ frame, body }: Seen): DataFrame {
    const { truth, deltas } = this.world
    const records = truth.slices.get(poolId)!
    const stale = () =>
      makeReply(frame, errorTable.STALE_EPOCH.wire, [encode(deltas.filter(delta => delta.version > frame.mapVersion))])
    if (frame.opcode === opcodes.flush) {
      for (let at = 0; at < body.length; at += 8)
        if (records[body.readUInt32BE(at)]!.epoch > body.readUInt32BE(at + 4)) return stale()
      return makeReply(frame, 0)
    }
    if (frame.opcode === opcodes.allocation) return this.#allocation(frame)
    const record = records[frame.slice]!
    if (record.epoch > frame.epoch) return stale()
    if (record.primary !== deviceIds[this.device]) return makeReply(frame, errorTable.NOT_READY.wire)
    return makeReply(frame, 0, this.#carryOut(frame, body))
  }

  #carryOut(frame: DataFrame, body: Buffer): Buffer[] {
    const { chunks } = this.world
    const chunk = chunks.get(frame.chunk) ?? Buffer.alloc(chunkBytes)
    const end = frame.offset + frame.length
    if (frame.opcode === opcodes.read) return [Buffer.from(chunk.subarray(frame.offset, end))]
    if (frame.opcode === opcodes.write) body.copy(chunk, frame.offset)
    else chunk.fill(0, frame.offset, end)
    if (frame.opcode !== opcodes.write && frame.length === chunkBytes) chunks.delete(frame.chunk)
    else chunks.set(frame.chunk, chunk)
    return []
  }

  #allocation(frame: DataFrame): DataFrame {
    const half = Math.ceil(frame.length / 8)
    const bits = Buffer.alloc(2 * half)
    for (let index = 0; index < frame.length; index++) {
      const slice = (frame.chunk + index) % this.world.sliceCount
      if (this.world.truth.slices.get(poolId)![slice]!.primary !== deviceIds[this.device]) continue
      bits[index >> 3]! |= 1 << (index & 7)
      if (this.world.chunks.has(frame.chunk + index)) bits[half + (index >> 3)]! |= 1 << (index & 7)
    }
    return makeReply(frame, 0, [bits])
  }
}

/** A state directory in memory; it outlives the process that uses it. */
export class MemoryState implements StateDirectory {
  readonly files = new Map<string, Buffer>()
  writes = 0
  broken = false

  read(name: string): Buffer | null {
    const found = this.files.get(name)
    return found === undefined ? null : Buffer.from(found)
  }
  write(name: string, content: Buffer | string): void {
    if (this.broken) throw new Error('EIO')
    this.files.set(name, Buffer.from(content))
  }
  remove(name: string): void {
    this.files.delete(name)
  }
  list(): string[] {
    return [...this.files.keys()]
  }
  open(name: string) {
    return {
      writeAt: (offsetBytes: number, bytes: Buffer) => {
        if (this.broken) throw new Error('EIO')
        this.writes++
        bytes.copy(this.files.get(name)!, offsetBytes)
      },
      close() {},
    }
  }
}

/** Three fake SDSs with one device each, a map of four slices, and one SDC's data path. */
export class World implements DataPathHost {
  readonly sliceCount = 4
  readonly clock = new SimClock()
  readonly network: SimNetwork
  readonly link
  readonly log = silentLog
  /** What the MDM and the SDSs know. */
  readonly truth: ClusterMap = emptyMap()
  readonly deltas: MapDelta[] = []
  /** What the SDC knows. */
  readonly map: ClusterMap = emptyMap()
  readonly chunks = new Map<number, Buffer>()
  readonly sdss: FakeSds[] = []
  /** How often the reads of the relay have been taken back. */
  takenBack = 0
  takenBackOld = 0
  readonly relay: Relay = {
    ...noRelay,
    takeBackAll: () => {
      this.takenBack++
    },
    takeBackOlder: () => {
      this.takenBackOld++
    },
  }
  readonly state = new MemoryState()
  readonly volumes: VolumeClient[] = []
  path: DataPath
  /** The timers of the process that is running now. */
  #processClock = this.clock.forProcess()
  incarnation = 1
  noSessions = 0

  constructor(seed = 1) {
    this.network = new SimNetwork(this.clock, seededRandom(seed))
    this.link = this.network.linkOf('sdc')
    this.path = new DataPath(this)
  }

  async start(changes: MapChange[] = []): Promise<this> {
    for (const device of deviceIds.keys()) {
      const sds = new FakeSds(this, device, { host: '10.0.0.1', port: 7000 + device })
      await sds.start()
      this.sdss.push(sds)
    }
    this.commit([...this.#firstChanges(), ...changes])
    this.push()
    return this
  }

  #firstChanges(): MapChange[] {
    const puts: MapChange[] = [{ kind: 'put', table: 'pools', value: pool }]
    for (const [index, id] of deviceIds.entries()) {
      const sdsId = idOf<'sds'>(11 + index)
      puts.push({
        kind: 'put',
        table: 'sdss',
        value: {
          id: sdsId,
          name: `sds-${index}`,
          protectionDomainId: pool.protectionDomainId,
          faultSetId: null,
          endpoint: this.sdss[index]!.at,
          guid: '',
          incarnation: 1,
          processId: '',
        },
      })
      const rest = { path: '', originalPath: '', capacityBytes: 8 * GiB, state: 'ready' as const }
      puts.push({ kind: 'put', table: 'devices', value: { id, name: '', sdsId, poolId, ...rest } })
    }
    puts.push({ kind: 'slices', poolId, slices: Array.from({ length: this.sliceCount }, (_, slice) => record(slice)) })
    return puts
  }

  /** The MDM commits; SDSs know it at once, the SDC when it is pushed or handed over. */
  commit(changes: MapChange[]): void {
    const delta = { version: this.truth.version + 1, changes }
    applyDelta(this.truth, delta)
    this.deltas.push(delta)
  }

  push(): void {
    this.offerDeltas(this.deltas)
  }

  /** A new record of one slice. */
  move(slice: number, changes: Partial<SliceRecord>): void {
    const old = this.truth.slices.get(poolId)![slice]!
    this.commit([{ kind: 'slices', poolId, slices: [{ ...old, epoch: old.epoch + 1, ...changes }] }])
  }

  open(changes: { mapping?: Partial<Mapping>; volume?: Partial<Volume>; ioTimeoutMs?: number; shared?: boolean } = {}) {
    const mapping = { ...mappingOf(41), ...changes.mapping }
    const volume = { ...volumeOf(31), ...changes.volume }
    const epochs = Uint32Array.from(this.map.slices.get(poolId)!, ({ epoch }) => epoch)
    const notes = FlushFile.open({
      clock: this.#processClock,
      state: this.state,
      log: silentLog,
      bootId: this.bootId,
      volumeId: volume.id,
      mapping: 41,
      epochs,
      isShared: changes.shared ?? false,
    })
    const client = new VolumeClient({
      path: this.path,
      notes,
      pool,
      volume,
      mapping,
      isShared: changes.shared ?? false,
      ioTimeoutMs: changes.ioTimeoutMs ?? null,
    })
    this.volumes.push(client)
    return client
  }
  bootId = 'boot-1'

  /** The process ends and another one starts, in the same boot unless told otherwise. */
  restart(bootId = this.bootId): void {
    this.path.close()
    this.#processClock.kill()
    this.#processClock = this.clock.forProcess()
    this.volumes.length = 0
    this.bootId = bootId
    this.path = new DataPath(this)
    this.incarnation++
    for (const sds of this.sdss) sds.counterLast = 0
  }

  /** Everything that arrived at all devices and is not a hello. */
  get seen(): Seen[] {
    return this.sdss.flatMap(sds => sds.seen)
  }

  // ---- what the data path asks of its host

  endpointOf(deviceId: DeviceId): Endpoint | null {
    const device = this.map.tables.devices.get(deviceId)
    return (device && this.map.tables.sdss.get(device.sdsId)?.endpoint) ?? null
  }
  hello() {
    return { systemId, client: 51, incarnation: this.incarnation, mapVersion: this.map.version }
  }
  onNoSession(): void {
    this.noSessions++
  }
  offerDeltas(deltas: MapDelta[]): void {
    let applied = false
    for (const delta of deltas) {
      if (delta.version !== this.map.version + 1) continue
      applyDelta(this.map, structuredClone(delta))
      applied = true
    }
    if (!applied) return
    this.path.onMapChange()
    for (const volume of this.volumes) volume.onMapChange()
  }
}

/** Slice i has its primary on device i mod 3, and its secondary on the next one. */
const record = (slice: number): SliceRecord => ({
  slice,
  epoch: 1,
  primary: deviceIds[slice % 3]!,
  secondary: deviceIds[(slice + 1) % 3]!,
  joining: null,
  lossEpoch: 0,
})

export const pool: StoragePool = {
  id: poolId,
  name: 'pool1',
  protectionDomainId: idOf(2),
  zeroPadding: true,
  sparePercent: null,
  sliceCount: 4,
  limitPolicy: null,
}

export const volumeOf = (number: number): Volume => ({
  id: idOf(number),
  name: `vol${number}`,
  poolId,
  sizeBytes: 8 * GiB,
  type: 'thin',
  sliceOffset: 0,
})

export const mappingOf = (number: number): Mapping => ({
  id: idOf(number),
  volumeId: idOf(31),
  sdcId: idOf(51),
  accessMode: 'ReadWrite',
  iopsLimit: null,
  bandwidthLimitKbPerSec: null,
})

/** Remembers the outcome of a request, and how often it was told. */
export class Outcome {
  errno: NbdErrno | null | undefined
  calls = 0
  readonly done = (errno: NbdErrno | null): void => {
    this.calls++
    this.errno = errno
  }
  get isDone(): boolean {
    return this.calls > 0
  }
}
