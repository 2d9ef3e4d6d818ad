import type { StorageError } from '../../../src/base/errors.js'
import { type MdmClient, type MdmClientOptions, openMdmClient } from '../../../src/mdm-client/index.js'
import type { Endpoint, MapDelta } from '../../../src/model/index.js'
import type { Connection, Listener } from '../../../src/ports/link.js'
import { silentLog } from '../../../src/ports/log.js'
import type { ControlMessage } from '../../../src/wire/control.js'
import type { SimWorld } from '../../support/index.js'

export const systemId = '00000001000000ff'
export const at = { host: '127.0.0.1', port: 9011 }

export const delta = (version: number): MapDelta =>
  ({
    version,
    changes: [{ kind: 'put', table: 'systems', value: { id: systemId, name: `v${version}` } }],
  }) as MapDelta

export const welcome = (mapVersion = 0, mdmName = 'mdm-1') => ({ systemId, mapVersion, mdmName })

/** An MDM that answers as it is told; undefined is no answer. */
export class FakeMdm {
  readonly heard: (ControlMessage & { kind: 'request' | 'notice' })[] = []
  readonly answers: ControlMessage[] = []
  connection: Connection<ControlMessage> | null = null
  answer: (name: string, params: unknown) => unknown = name => (name === 'hello' ? welcome(0, this.place) : {})
  #listener: Listener | null = null

  constructor(
    readonly world: SimWorld,
    readonly place = 'mdm-1',
  ) {}

  async listen(endpoint: Endpoint = at): Promise<void> {
    this.#listener = await this.world.portsOf(this.place).link.listenControl(endpoint, connection => {
      this.connection = connection
      return { onMessage: message => this.#take(connection, message), onClose() {} }
    })
  }

  /** Its process ends. */
  async kill(): Promise<void> {
    this.world.network.drop(this.place)
    await this.#listener?.close()
  }

  notice(name: string, params: unknown): void {
    this.connection!.send({ kind: 'notice', name, params })
  }

  names(): string[] {
    return this.heard.map(message => message.name)
  }
  /** The requests of one name, with their numbers. */
  asked(name: string): { id: number; params: unknown }[] {
    return this.heard.flatMap(message =>
      message.kind === 'request' && message.name === name ? [{ id: message.id, params: message.params }] : [],
    )
  }

  #take(connection: Connection<ControlMessage>, message: ControlMessage): void {
    if (message.kind === 'answer') return void this.answers.push(message)
    this.heard.push(message)
    if (message.kind === 'notice') return
    const { id } = message
    try {
      const result = this.answer(message.name, message.params)
      if (result !== undefined) connection.send({ kind: 'answer', id, result })
    } catch (error) {
      const { code, context } = error as StorageError
      connection.send({ kind: 'answer', id, error: { code, context } })
    }
  }
}

export function openClient(
  t: { teardown(act: () => unknown): void },
  world: SimWorld,
  options: Partial<MdmClientOptions> = {},
): MdmClient {
  const { clock, link } = world.portsOf('sds')
  const client = openMdmClient({
    addresses: [at],
    role: 'sds',
    name: 'sds-1',
    systemId: null,
    clock,
    link,
    log: silentLog,
    ...options,
  })
  t.teardown(() => client.close())
  return client
}
