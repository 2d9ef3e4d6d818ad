import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { tcpLink } from '../../src/io/tcp-link.js'
import type { Connection } from '../../src/ports/link.js'
import { type DataFrame, dataHeaderBytes, encodeHeader, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'
import { until } from './relay-scene.js'

const run = promisify(execFile)
const peerPath = fileURLToPath(new URL('shared-stream-peer.js', import.meta.url))
const badPeerPath = fileURLToPath(new URL('../../../test/integration/shared-stream-bad.py', import.meta.url))

/** A data endpoint that pings are answered at, with who is there, what they said, and why they went. */
async function endpoint(t: Test) {
  const scene = {
    port: 0,
    came: [] as Connection<DataFrame>[],
    heard: [] as DataFrame[],
    ended: [] as string[],
    onHeard: () => {},
  }
  const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => {
    scene.came.push(connection)
    return {
      onMessage: frame => {
        if (frame.opcode === opcodes.ping) connection.send(makeReply(frame, 0))
        scene.heard.push({ ...frame, body: [Buffer.concat(frame.body)] })
        scene.onHeard()
      },
      onClose: reason => scene.ended.push(reason),
    }
  })
  scene.port = listener.endpoint.port
  t.teardown(() => listener.close())
  return scene
}

/** A process that has come in at the local door. */
async function peerOf(t: Test, scene: Awaited<ReturnType<typeof endpoint>>, what: string) {
  const peer = spawn(process.execPath, [peerPath, String(scene.port), what], { stdio: 'inherit' })
  t.teardown(() => peer.kill('SIGKILL'))
  await until(() => scene.came.length === 1)
  t.equal(scene.came[0]!.remote.host, 'this host')
  return { peer, connection: scene.came[0]! }
}

/** Has a process do something by itself at the door; how it ended. */
async function badPeer({ port }: { port: number }, what: string): Promise<string> {
  const ping = Buffer.alloc(dataHeaderBytes)
  encodeHeader(makeFrame({ opcode: opcodes.ping, requestId: 1 }), ping, 0)
  return (await run('/usr/bin/python3', [badPeerPath, String(port), what, ping.toString('hex')])).stdout
}

t.test('two processes say frames of all sizes to each other, and nobody sleeps over what has come', async t => {
  const scene = await endpoint(t)
  const { connection } = await peerOf(t, scene, 'echo')
  const random = seededRandom(3)
  const all = 50_000
  let said = 0
  let error: string | null = null
  let haveAll = () => {}
  const heardAll = new Promise<void>(resolve => {
    haveAll = resolve
  })
  // At once, as timers would wake whoever sleeps when he should not.
  const sayMore = () => {
    const { requestId, body } = scene.heard.at(-1) ?? { requestId: 0, body: [Buffer.alloc(0)] }
    if (!body[0]!.equals(Buffer.alloc(body[0]!.length, requestId))) error ??= `the bytes of frame ${requestId}`
    if (scene.heard.length < said) return
    if (said >= all) return haveAll()
    // Mostly one at a time: each side is about to sleep when the next one comes.
    const some = random.integer(20) === 0 ? 1 + random.integer(40) : 1
    // And now and then more than there is room for, which comes back as well.
    const isMuch = random.integer(100) === 0
    for (let i = 0; i < some; i++, said++) {
      const length = random.integer(isMuch ? 500_000 : 1000)
      connection.send(makeFrame({ opcode: opcodes.write, requestId: said, body: [Buffer.alloc(length, said)] }))
    }
  }
  scene.onHeard = sayMore
  sayMore()
  // If one sleeps too long, this takes too long.
  await heardAll
  t.equal(error, null)
  t.same(
    scene.heard.map(({ requestId }) => requestId),
    scene.heard.map((_, i) => i),
    'each once, in their order',
  )
})

t.test('what a process has said before it was killed is heard, and then its end', async t => {
  const scene = await endpoint(t)
  // More than there is room for would be lost with it.
  const { peer } = await peerOf(t, scene, '1000')
  await once(peer, 'close')
  await until(() => scene.ended.length === 1)
  t.equal(scene.heard.length, 1000)
  // A reset, where it was killed before it had read our first word.
  t.match(scene.ended, [/closed by the other side|ECONNRESET/])
})

t.test('who sends to a process that was killed hears of it, though he does not read', async t => {
  const scene = await endpoint(t)
  const { peer, connection } = await peerOf(t, scene, 'echo')
  connection.pause()
  peer.kill('SIGKILL')
  await once(peer, 'close')
  const frame = makeFrame({ opcode: opcodes.write, requestId: 1, body: [Buffer.alloc(1000)] })
  const endMs = Date.now() + 10_000
  for (; scene.ended.length === 0 && Date.now() < endMs; await sleep(1)) connection.send(frame)
  t.match(scene.ended, [/EPIPE|ECONNRESET/])
})

t.test('a process that is killed while what is sent to it waits for room is heard of without another word', async t => {
  const scene = await endpoint(t)
  const { peer, connection } = await peerOf(t, scene, 'echo')
  peer.kill('SIGSTOP')
  connection.pause()
  for (let i = 0; i < 10; i++)
    connection.send(makeFrame({ opcode: opcodes.write, requestId: i, body: [Buffer.alloc(1_000_000)] }))
  await until(() => connection.queuedBytes > 0)
  peer.kill('SIGKILL')
  await until(() => scene.ended.length === 1)
  t.match(scene.ended, [/EPIPE|ECONNRESET/])
  t.equal(connection.queuedBytes, 0)
})

t.test('a writer that was woken for room that is not there says again that it waits', async t => {
  const scene = await endpoint(t)
  const said = badPeer(scene, 'a bell for no room')
  await until(() => scene.came.length === 1)
  scene.came[0]!.send(makeFrame({ opcode: opcodes.write, requestId: 1, body: [Buffer.alloc(3_000_000)] }))
  t.equal(await said, 'waits\n')
})

const skip = process.geteuid!() === 0 ? false : 'only the superuser can have a process of another user'
t.test('memory is shared with the same user alone, others speak through the socket', { skip }, async t => {
  const scene = await endpoint(t)
  t.equal(await badPeer(scene, 'a stranger'), 'answered\n')
  await until(() => scene.ended.length === 1)
  t.match(scene.heard, [{ opcode: opcodes.ping, requestId: 1 }])
  t.equal(await badPeer(scene, 'a stranger with memory'), 'ended\n')
  await until(() => scene.ended.length === 2)
  t.match(scene.ended[1], /EACCES/)
})

t.test('who offers what is no shared memory, or says what cannot be, is turned away, and nobody else', async t => {
  const scene = await endpoint(t)
  for (const [what, reason] of [
    ['short', /EPROTO/],
    ['unsealed', /EPROTO/],
    ['no memory', /EPROTO/],
    ['one too few', /EPROTO/],
    ['a bell alone', /EPROTO/],
    ['nothing', /EPROTO/],
    ['an end', /ECONNRESET/],
    ['more than there is', /EPROTO/],
    ['less than there was', /EPROTO/],
    ['read before it was written', /EPROTO/],
    ['one more descriptor', /EPROTO/],
  ] as const) {
    t.equal(await badPeer(scene, what), 'ended\n', what)
    await until(() => scene.ended.length === 1)
    t.match(scene.ended.pop(), reason, what)
  }
  scene.came.length = scene.heard.length = 0
  const { connection } = await peerOf(t, scene, 'echo')
  connection.send(makeFrame({ opcode: opcodes.write, requestId: 7 }))
  await until(() => scene.heard.length === 1)
  t.equal(scene.heard[0]!.requestId, 7)
})
