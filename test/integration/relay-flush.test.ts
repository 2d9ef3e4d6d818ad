import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { relay } from '../../src/io/relay.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { silentLog } from '../../src/ports/index.js'
import { DataPath } from '../../src/sdc/data-path.js'
import { FlushFile } from '../../src/sdc/flush-file.js'
import { serveNbd } from '../../src/sdc/nbd/index.js'
import { SocketStream } from '../../src/sdc/nbd/socket-stream.js'
import { VolumeClient } from '../../src/sdc/volume-client.js'
import { encode } from '../../src/wire/codec.js'
import { makeReply, opcodes } from '../../src/wire/data.js'
import { exportsOf } from '../support/memory-backend.js'
import { RawClient, request, settle } from '../unit/sdc/nbd/raw-client.js'
import { MemoryState, mappingOf, pool, volumeOf, World } from '../unit/sdc/world.js'
import { blockBytes, clean, flushCommand, newBytesAt, until, writeCommand } from './relay-scene.js'

/** A client, a volume with all that an SDC has around it, and SDSs that answer at once what has not come past it. */
class WholeScene {
  /** What the SDSs have been asked past the SDC, and not answered yet: they do when the test says so. */
  readonly held: (() => void)[] = []
  /** Slices and epochs of each FLUSH that an SDS has been asked. */
  readonly flushes: string[] = []
  readonly volume: VolumeClient
  readonly client: RawClient

  private constructor(volume: VolumeClient, client: RawClient) {
    this.volume = volume
    this.client = client
  }

  static async make(t: Test): Promise<WholeScene> {
    const { map, hello, sliceCount } = await worldOfMap()
    let scene: WholeScene | null = null
    const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => ({
      onMessage: frame => {
        const body = Buffer.concat(frame.body)
        const reply = frame.opcode === opcodes.hello ? [encode({ sdsId: '', mapVersion: 0 })] : []
        const answer = () => connection.send(makeReply(frame, 0, reply))
        if (frame.opcode === opcodes.flush) scene!.flushes.push(`${body.readUInt32BE(0)}:${body.readUInt32BE(4)}`)
        if (frame.requestId >= 2 ** 31) scene!.held.push(answer)
        else answer()
      },
      onClose: () => {},
    }))
    const path = new DataPath({
      clock: systemClock,
      link: tcpLink,
      log: silentLog,
      relay,
      map,
      hello,
      endpointOf: () => listener.endpoint,
      onNoSession: () => {},
      offerDeltas: () => {},
    })
    const volume = volumeOf(31)
    const notes = FlushFile.open({
      clock: systemClock,
      state: new MemoryState(),
      log: silentLog,
      bootId: 'boot-1',
      volumeId: volume.id,
      mapping: 41,
      epochs: new Uint32Array(sliceCount).fill(1),
      isShared: false,
    })
    const backend = new VolumeClient({
      path,
      notes,
      pool,
      volume,
      mapping: mappingOf(41),
      isShared: false,
      ioTimeoutMs: null,
    })
    const directory = mkdtempSync(join(tmpdir(), 'blockmesh-'))
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, accepted => {
      serveNbd(SocketStream.over(accepted)!, exportsOf(backend), { clock: systemClock, log: silentLog })
    })
    server.listen(join(directory, 'nbd.sock'))
    await once(server, 'listening')
    const socket = net.connect({ path: join(directory, 'nbd.sock'), allowHalfOpen: true })
    scene = new WholeScene(backend, new RawClient(socket))
    await scene.client.go(volume.name)
    t.teardown(async () => {
      socket.destroy()
      server.close()
      for (const answer of scene!.held) answer()
      await backend.close()
      path.close()
      notes.close()
      await listener.close()
      rmSync(directory, { recursive: true })
    })
    return scene
  }

  /** A write that goes past the SDC, up to the SDS. */
  async writeBelow(offset: number): Promise<void> {
    this.client.send(request({ type: writeCommand, offset, body: newBytesAt(offset, blockBytes) }))
    await until(() => this.held.length === 1)
  }

  /** The FLUSHes that SDSs have been asked for one of the client. */
  async flush(): Promise<string[]> {
    if ((await this.client.errorOf({ type: flushCommand })) !== 0) throw new Error('a FLUSH failed')
    return this.flushes.splice(0)
  }
}

/** A map, as an SDC has it. */
async function worldOfMap(): Promise<Pick<World, 'map' | 'sliceCount' | 'hello'>> {
  const world = await new World().start()
  return { map: world.map, sliceCount: world.sliceCount, hello: () => world.hello() }
}

t.test('a FLUSH covers what was written past the SDC before it', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  t.same(await scene.flush(), ['0:1', '0:1'], 'of both copies')
  t.same(await scene.flush(), [])
  for (let round = 0; round < 3; round++) {
    await scene.writeBelow(blockBytes)
    t.ok(volume.notes.dirty.isClean, 'it is not answered yet')
    t.equal(volume.requestsActive, 1)
    held.pop()!()
    t.equal((await client.simple()).error, 0)
    t.equal(volume.notes.dirty.oldestEpoch(0), 1)
    t.same(await scene.flush(), ['0:1', '0:1'])
    t.ok(volume.notes.dirty.isClean)
  }
  t.same([volume.stats.requests('write'), volume.requestsActive], [4, 0])
})

t.test('a write past the SDC of a slice that rests meanwhile is noted before it is answered', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  await scene.flush()
  await scene.writeBelow(blockBytes)
  volume.notes.settle()
  t.equal(volume.notes.cells[0], clean)
  held.pop()!()
  t.equal((await client.simple()).error, 0)
  t.equal(volume.notes.cells[0], 1)
  t.same(await scene.flush(), ['0:1', '0:1'])
  t.equal(volume.stats.relayed.write.ios, 0, 'it was sent once more')
})

t.test('a volume that is closed waits for the SDS, also for what has come back from it', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  await scene.writeBelow(blockBytes)
  let isClosed = false
  const closed = volume.close().then(() => {
    isClosed = true
  })
  // The client need not wait for it.
  t.not((await client.simple()).error, 0)
  await settle()
  t.equal(isClosed, false, 'the SDS may still carry it out')
  held.pop()!()
  await closed
})
