import t from 'tap'
import type { Connection, ConnectionHandlers, Link, Listener } from '../../src/ports/link.js'
import type { ControlMessage } from '../../src/wire/control.js'
import { bytesOf, type DataFrame, makeFrame, opcodes } from '../../src/wire/data.js'

export interface LinkSetUp {
  link: Link
  /** Lets time pass until it holds. */
  until(predicate: () => boolean): Promise<void>
  /** Lets some time pass. */
  pause(): Promise<void>
}

const anyPort = { host: '127.0.0.1', port: 0 }

/** One side of a connection, with what it has heard. */
class Side<Message> implements ConnectionHandlers<Message> {
  heard: Message[] = []
  ended: string[] = []
  connection!: Connection<Message>
  react: (message: Message) => void = () => {}
  onMessage(message: Message) {
    this.heard.push(message)
    this.react(message)
  }
  onClose(reason: string) {
    this.ended.push(reason)
  }
}

/** What a network promises, on whichever implementation. */
export function linkContract(name: string, setUp: () => LinkSetUp): void {
  async function dataPair(t: { teardown(act: () => unknown): void }, { link, until }: LinkSetUp) {
    const server = new Side<DataFrame>()
    const client = new Side<DataFrame>()
    const listener: Listener = await link.listenData(anyPort, connection => {
      server.connection = connection
      return server
    })
    client.connection = link.connectData(listener.endpoint, client)
    await until(() => server.connection !== undefined)
    t.teardown(() => {
      client.connection.close()
      server.connection.close()
      return listener.close()
    })
    return { server, client, listener }
  }
  const frame = (requestId: number, body: Buffer[] = []) => makeFrame({ opcode: opcodes.write, requestId, body })
  const ids = (side: Side<DataFrame>) => side.heard.map(frame => frame.requestId)

  t.test(`${name}: frames arrive whole and in order, both ways, whatever their size`, async t => {
    const sim = setUp()
    const { server, client } = await dataPair(t, sim)
    const sizes = [0, 1, 63, 64, 65, 4096, 0, 65_536, 200_000, 1_048_576, 3]
    for (const side of [client, server])
      for (const [i, size] of sizes.entries()) {
        const body = Buffer.alloc(size, i + 1)
        side.connection.send(frame(i, size > 10 ? [body.subarray(0, 7), body.subarray(7)] : size > 0 ? [body] : []))
      }
    await sim.until(() => server.heard.length === sizes.length && client.heard.length === sizes.length)
    for (const side of [client, server]) {
      t.same(ids(side), [...sizes.keys()])
      for (const [i, { body, bodyBytes }] of side.heard.entries()) {
        t.equal(bodyBytes, sizes[i])
        t.equal(bytesOf(body), sizes[i])
        t.ok(Buffer.concat(body).equals(Buffer.alloc(sizes[i]!, i + 1)))
      }
    }
  })

  t.test(
    `${name}: what is sent before the connection is up arrives, and a frame may be used again once sent`,
    async t => {
      const sim = setUp()
      const server = new Side<DataFrame>()
      const listener = await sim.link.listenData(anyPort, () => server)
      const client = new Side<DataFrame>()
      const connection = sim.link.connectData(listener.endpoint, client)
      const again = frame(1)
      connection.send(again)
      again.requestId = 2
      connection.send(again)
      await sim.until(() => server.heard.length === 2)
      t.same(ids(server), [1, 2])
      t.ok(connection.remote.port === listener.endpoint.port)
      connection.close()
      await sim.until(() => server.ended.length === 1)
      t.same(client.ended, [], 'the side that closes is not told')
      await listener.close()
    },
  )

  t.test(`${name}: what was sent before a close arrives, then the other side hears of the end, once`, async t => {
    const sim = setUp()
    const { server, client } = await dataPair(t, sim)
    client.connection.send(frame(1, [Buffer.alloc(300_000)]))
    client.connection.close()
    client.connection.close()
    client.connection.send(frame(2))
    await sim.until(() => server.ended.length > 0)
    await sim.pause()
    t.same(ids(server), [1])
    t.equal(server.ended.length, 1)
  })

  t.test(`${name}: nothing is delivered after close, not even what came in the same piece`, async t => {
    const sim = setUp()
    const { server, client } = await dataPair(t, sim)
    server.react = () => server.connection.close()
    for (let i = 0; i < 50; i++) client.connection.send(frame(i))
    await sim.until(() => client.ended.length === 1)
    t.same(ids(server), [0])
    t.same(server.ended, [])
  })

  t.test(
    `${name}: a side that pauses is not delivered to for ever, queued bytes tell the sender, resume goes on`,
    async t => {
      const sim = setUp()
      const { server, client } = await dataPair(t, sim)
      server.connection.pause()
      const count = 64
      for (let i = 0; i < count; i++) client.connection.send(frame(i, [Buffer.alloc(1_000_000)]))
      await sim.pause()
      t.ok(server.heard.length < count)
      t.ok(client.connection.queuedBytes > 1_000_000)
      server.connection.resume()
      await sim.until(() => server.heard.length === count && client.connection.queuedBytes === 0)
      t.same(
        ids(server),
        Array.from({ length: count }, (_, i) => i),
      )
    },
  )

  t.test(`${name}: a refused connection ends with a reason, later than the call`, async t => {
    const sim = setUp()
    const listener = await sim.link.listenData(anyPort, () => new Side<DataFrame>())
    await listener.close()
    await sim.pause()
    const client = new Side<DataFrame>()
    const connection = sim.link.connectData(listener.endpoint, client)
    connection.send(frame(1))
    t.same(client.ended, [])
    await sim.until(() => client.ended.length === 1)
    t.match(client.ended[0], /refused/i)
  })

  t.test(`${name}: an address that is taken cannot be listened on`, async t => {
    const sim = setUp()
    const listener = await sim.link.listenData(anyPort, () => new Side<DataFrame>())
    await t.rejects(
      sim.link.listenControl(listener.endpoint, () => new Side<ControlMessage>()),
      { code: 'UNREACHABLE' },
    )
    await listener.close()
  })

  t.test(`${name}: control messages arrive in order, both ways, large ones too`, async t => {
    const sim = setUp()
    const server = new Side<ControlMessage>()
    const listener = await sim.link.listenControl(anyPort, connection => {
      server.connection = connection
      return server
    })
    const client = new Side<ControlMessage>()
    const connection = sim.link.connectControl(listener.endpoint, client)
    server.react = message => {
      if (message.kind === 'request') server.connection.send({ kind: 'answer', id: message.id, result: message.params })
    }
    connection.send({ kind: 'request', id: 1, name: 'hello', params: { a: [1, null, 'x'] } })
    connection.send({ kind: 'request', id: 2, name: 'big', params: { text: 'y'.repeat(3_000_000) } })
    await sim.until(() => client.heard.length === 2)
    t.match(client.heard[0], { kind: 'answer', id: 1, result: { a: [1, null, 'x'] } })
    t.equal((client.heard[1] as { result: { text: string } }).result.text.length, 3_000_000)
    connection.close()
    await listener.close()
  })

  t.test(`${name}: a malformed frame closes the connection on both sides, with the field as the reason`, async t => {
    const sim = setUp()
    const { server, client } = await dataPair(t, sim)
    client.connection.send({ ...frame(1), bodyBytes: 2 ** 31 })
    await sim.until(() => server.ended.length === 1 && client.ended.length === 1)
    t.match(server.ended[0], /bodyBytes/)
    t.same(server.heard, [])
  })
}
