import type { SdcId } from '../../../src/base/ids.js'
import { applyDelta, type ClusterMap, emptyMap, type MapChange, type MapDelta } from '../../../src/model/index.js'
import type { Connection, Link } from '../../../src/ports/index.js'
import type { ControlMessage, MdmNotices } from '../../../src/wire/control.js'

export const mdmAt = { host: '10.0.0.9', port: 9011 }

/** An MDM that knows one SDC: registers it, pushes what a test commits, and remembers what it is told. */
export class FakeMdm {
  readonly map: ClusterMap = emptyMap()
  readonly deltas: MapDelta[] = []
  readonly acks: number[] = []
  readonly registrations: { guid: string; processId: string; name: string }[] = []
  status: MdmNotices['sdcStatus']['exports'] = []
  incarnation = 0
  #processId = ''
  readonly #clients = new Set<Connection<ControlMessage>>()
  readonly #subscribed = new Set<Connection<ControlMessage>>()

  constructor(
    readonly link: Link,
    readonly systemId: string,
    readonly sdcId: SdcId,
  ) {}

  async start(): Promise<void> {
    await this.link.listenControl(mdmAt, connection => {
      this.#clients.add(connection)
      return {
        onMessage: message => this.#take(connection, message),
        onClose: () => {
          this.#clients.delete(connection)
          this.#subscribed.delete(connection)
        },
      }
    })
  }

  commit(changes: MapChange[]): number {
    const delta = { version: this.map.version + 1, changes }
    applyDelta(this.map, delta)
    this.deltas.push(delta)
    for (const client of this.#subscribed) this.#notify(client, [delta])
    return delta.version
  }

  #take(connection: Connection<ControlMessage>, message: ControlMessage): void {
    if (message.kind === 'notice') {
      if (message.name === 'mapAck') this.acks.push((message.params as MdmNotices['mapAck']).version)
      if (message.name === 'sdcStatus') this.status = (message.params as MdmNotices['sdcStatus']).exports
    } else if (message.kind === 'request')
      connection.send({
        kind: 'answer',
        id: message.id,
        result: this.#answer(connection, message.name, message.params),
      })
  }

  #answer(connection: Connection<ControlMessage>, name: string, params: unknown): unknown {
    if (name === 'hello') return { systemId: this.systemId, mapVersion: this.map.version, mdmName: 'mdm-1' }
    if (name === 'registerSdc') return this.#register(params as { guid: string; processId: string; name: string })
    this.#subscribed.add(connection)
    this.#notify(
      connection,
      this.deltas.filter(({ version }) => version > (params as { fromVersion: number }).fromVersion),
    )
    return {}
  }

  #register(params: { guid: string; processId: string; name: string }): unknown {
    this.registrations.push(params)
    if (params.processId !== this.#processId) this.incarnation++
    this.#processId = params.processId
    const { sdcId, incarnation } = this
    this.commit([{ kind: 'put', table: 'sdcs', value: { id: sdcId, incarnation, ...params } }])
    return { sdcId, incarnation }
  }

  #notify(connection: Connection<ControlMessage>, deltas: MapDelta[]): void {
    connection.send({ kind: 'notice', name: 'map', params: { whole: false, deltas } })
  }
}
