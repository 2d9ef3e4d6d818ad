import type { DeviceId, Id, PoolId, SdsId, SystemId } from '../../../src/base/ids.js'
import { idOfNumber } from '../../../src/base/ids.js'
import { joinedRecords, settle } from '../../../src/core/slices/index.js'
import {
  applyDelta,
  type ClusterMap,
  emptyMap,
  type MapChange,
  type MapDelta,
  type SliceRecord,
  wholeMap,
} from '../../../src/model/index.js'
import type { Connection, Ports } from '../../../src/ports/index.js'
import type { ControlMessage, MdmNotices, MdmRequests } from '../../../src/wire/control.js'

export const systemId = '5eed000000000000' as SystemId
export const idOf = <Kind extends string>(number: number): Id<Kind> => idOfNumber<Kind>(systemId, number)
export const mdmAt = { host: '10.0.0.1', port: 9011 }

interface Client {
  connection: Connection<ControlMessage>
  sdsId: SdsId | null
  subscribed: boolean
}

/** An MDM of a test: commits what it is told to, settles returning copies as the real one does, and pushes deltas. */
export class FakeMdm {
  readonly map: ClusterMap = emptyMap()
  readonly deltas: MapDelta[] = []
  readonly acks = new Map<SdsId, number>()
  /** What each SDS said of its devices when it last registered. */
  readonly opened = new Map<SdsId, MdmRequests['registerSds']['devices']>()
  readonly status = new Map<SdsId, MdmNotices['sdsStatus']['devices']>()
  /** The last notices, newest last. */
  readonly alive = new Map<SdsId, MdmNotices['sdsAlive'][]>()
  readonly joinedReports: MdmRequests['copiesJoined'][] = []
  /** Copies that are reported as joined stay joining while this is set. */
  holdsJoins = false
  /** An SDS is about to stop; the answer leaves when the promise settles. */
  onHandOver: (sdsId: SdsId) => Promise<void> = async () => {}
  readonly #clients = new Set<Client>()
  readonly #present = new Map<SdsId, Set<string>>()
  readonly #asked = new Map<number, (message: ControlMessage) => void>()
  #nextId = 1
  #epochHigh = 0

  constructor(readonly ports: Ports) {}

  async start(): Promise<void> {
    await this.ports.link.listenControl(mdmAt, connection => {
      const client: Client = { connection, sdsId: null, subscribed: false }
      this.#clients.add(client)
      return {
        onMessage: message => this.#take(client, message),
        onClose: () => {
          this.#clients.delete(client)
          // An old connection may end long after the next process has come.
          const isLast = ![...this.#clients].some(({ sdsId }) => sdsId === client.sdsId)
          if (client.sdsId !== null && isLast) this.#present.delete(client.sdsId)
        },
      }
    })
  }

  /** Commits and pushes; `reach` limits who hears it now. */
  commit(changes: MapChange[], reach: (sdsId: SdsId) => boolean = () => true): number {
    for (const change of changes)
      if (change.kind === 'slices')
        for (const { epoch } of change.slices) this.#epochHigh = Math.max(this.#epochHigh, epoch)
    const delta = { version: this.map.version + 1, changes }
    applyDelta(this.map, delta)
    this.deltas.push(delta)
    for (const client of this.#clients)
      if (client.subscribed && client.sdsId !== null && reach(client.sdsId))
        this.#notice(client, { whole: false, deltas: [delta] })
    return delta.version
  }

  /** Changes fields of slice records, each in an epoch of its own. */
  change(poolId: PoolId, slices: number[], fields: Partial<SliceRecord>, reach?: (sdsId: SdsId) => boolean): number {
    const records = this.map.slices.get(poolId)!
    const changed = slices.map(slice => ({ ...records[slice]!, ...fields, epoch: records[slice]!.epoch + 1 }))
    return this.commit([{ kind: 'slices', poolId, slices: changed }], reach)
  }

  /** Asks an SDS for something. */
  ask(sdsId: SdsId, name: string, params: unknown): Promise<unknown> {
    const client = [...this.#clients].find(client => client.sdsId === sdsId)
    if (client === undefined) return Promise.reject(new Error(`${sdsId} is not connected`))
    const id = this.#nextId++
    if (name === 'prepareDevice') this.#present.get(sdsId)!.add((params as { deviceId: string }).deviceId)
    client.connection.send({ kind: 'request', id, name, params })
    return new Promise((resolve, reject) =>
      this.#asked.set(id, message =>
        'error' in message ? reject(new Error(message.error.code)) : resolve((message as { result: unknown }).result),
      ),
    )
  }

  isPresent(deviceId: DeviceId): boolean {
    return [...this.#present.values()].some(devices => devices.has(deviceId))
  }

  #notice(client: Client, params: { whole: boolean; deltas: MapDelta[] }): void {
    client.connection.send({ kind: 'notice', name: 'map', params })
  }

  #take(client: Client, message: ControlMessage): void {
    if (message.kind === 'answer') this.#asked.get(message.id)?.(message)
    else if (message.kind === 'notice') this.#heard(client, message.name, message.params)
    else if (message.name === 'handOver') {
      const { id } = message
      void this.onHandOver(client.sdsId!).then(() => client.connection.send({ kind: 'answer', id, result: {} }))
    } else {
      const result = this.#answer(client, message.name, message.params)
      client.connection.send({ kind: 'answer', id: message.id, result })
      if (message.name === 'subscribe') this.#subscribe(client, (message.params as { fromVersion: number }).fromVersion)
    }
  }

  #heard(client: Client, name: string, params: unknown): void {
    if (client.sdsId === null) return
    if (name === 'mapAck') this.acks.set(client.sdsId, (params as { version: number }).version)
    if (name === 'sdsAlive')
      this.alive.set(client.sdsId, [
        ...(this.alive.get(client.sdsId) ?? []).slice(-40),
        params as MdmNotices['sdsAlive'],
      ])
    if (name === 'sdsStatus') this.status.set(client.sdsId, (params as { devices: [] }).devices)
  }

  #answer(client: Client, name: string, params: unknown): unknown {
    if (name === 'hello') return { systemId, mapVersion: this.map.version, mdmName: 'mdm-1' }
    if (name === 'registerSds') return this.#register(client, params as MdmRequests['registerSds'])
    if (name === 'copiesJoined') return this.#joined(client, params as MdmRequests['copiesJoined'])
    return {}
  }

  #register(client: Client, params: MdmRequests['registerSds']): unknown {
    const sds = [...this.map.tables.sdss.values()].find(({ endpoint }) => endpoint.port === params.endpoint.port)
    if (sds === undefined) return null
    client.sdsId = sds.id
    const isNew = sds.processId !== params.processId
    this.opened.set(sds.id, params.devices)
    this.#present.set(sds.id, new Set(params.devices.map(device => device.deviceId)))
    if (isNew) {
      const value = { ...sds, guid: params.guid, processId: params.processId, incarnation: sds.incarnation + 1 }
      const returned = params.devices.filter(({ deviceId }) => this.map.tables.devices.has(deviceId))
      const settlement = settle({
        map: this.map,
        epochHigh: new Map([...this.map.slices.keys()].map(id => [id, this.#epochHigh])),
        returned,
        isPresent: deviceId => this.isPresent(deviceId),
        isGraceOver: () => false,
      })
      const changes: MapChange[] = [{ kind: 'put', table: 'sdss', value }]
      for (const { poolId, changes: slices } of settlement.slices)
        changes.push({ kind: 'slices', poolId, slices: slices.map(({ record }) => record) })
      for (const { deviceId, waiting } of settlement.waiting) {
        const { waiting: _, ...device } = this.map.tables.devices.get(deviceId)!
        changes.push({ kind: 'put', table: 'devices', value: waiting === null ? device : { ...device, waiting } })
      }
      this.commit(changes)
    }
    return { sdsId: sds.id, incarnation: this.map.tables.sdss.get(sds.id)!.incarnation }
  }

  #subscribe(client: Client, fromVersion: number): void {
    client.subscribed = true
    if (fromVersion === 0) this.#notice(client, { whole: true, deltas: [wholeMap(this.map)] })
    else this.#notice(client, { whole: false, deltas: this.deltas.filter(delta => delta.version > fromVersion) })
  }

  #joined(client: Client, params: MdmRequests['copiesJoined']): unknown {
    this.joinedReports.push(params)
    const poolId = params.poolId as PoolId
    const records = joinedRecords(this.map, this.map.slices.get(poolId)!, client.sdsId!, params.slices)
    if (records.length > 0 && !this.holdsJoins) this.commit([{ kind: 'slices', poolId, slices: records }])
    return {}
  }
}
