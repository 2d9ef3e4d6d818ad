import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import t, { type Test } from 'tap'
import { silentLog } from '../../src/ports/index.js'
import { listenNbd } from '../../src/sdc/nbd/index.js'
import { exportsOf, MemoryBackend } from '../support/memory-backend.js'
import { RawClient, request } from '../unit/sdc/nbd/raw-client.js'
import { run, startNbdServer, wallClock } from './nbd-server.js'

const options = { clock: wallClock, log: silentLog }
const exports = exportsOf(new MemoryBackend({ name: 'vol1' }))

async function temporary(t: Test): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'blockmesh-listen-'))
  t.teardown(() => rm(directory, { recursive: true }))
  return directory
}

t.test('a socket file that nobody listens on is replaced', async t => {
  const socketPath = join(await temporary(t), 'nbd.sock')
  // A process that is killed leaves its socket file behind.
  const leave = `require('net').createServer().listen(${JSON.stringify(socketPath)}, () => process.kill(process.pid, 9))`
  await run(process.execPath, '-e', leave).catch(() => {})
  t.ok(existsSync(socketPath))
  const listener = await listenNbd({ socketPath }, exports, options)
  t.match(await run('nbdinfo', '--size', `nbd+unix:///vol1?socket=${socketPath}`), /^16777216/)
  await listener.close()
  t.notOk(existsSync(socketPath), 'close removes it')
})

t.test('a socket that is served stays, and so does anything that is not a socket', async t => {
  const directory = await temporary(t)
  const socketPath = join(directory, 'nbd.sock')
  const first = await listenNbd({ socketPath }, exports, options)
  await t.rejects(listenNbd({ socketPath }, exports, options), { code: 'DEVICE_BUSY', context: { path: socketPath } })
  t.match(await run('nbdinfo', '--size', `nbd+unix:///vol1?socket=${socketPath}`), /^16777216/)
  await first.close()
  const file = join(directory, 'file')
  await writeFile(file, 'precious')
  await t.rejects(listenNbd({ socketPath: file }, exports, options), { code: 'DEVICE_BUSY' })
  t.ok(existsSync(file))
})

t.test('a path that is too long, a missing directory and a port in use are told by name', async t => {
  const directory = await temporary(t)
  await t.rejects(listenNbd({ socketPath: join(directory, 'x'.repeat(108)) }, exports, options), {
    code: 'CONFIGURATION',
  })
  await t.rejects(listenNbd({ socketPath: join(directory, 'no', 'nbd.sock') }, exports, options), {
    code: 'UNREACHABLE',
    context: { at: join(directory, 'no', 'nbd.sock') },
  })
  const other = createServer()
  await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
  t.teardown(() => other.close())
  const { port } = other.address() as AddressInfo
  await t.rejects(listenNbd({ host: '127.0.0.1', port }, exports, options), {
    code: 'UNREACHABLE',
    context: { at: `127.0.0.1:${port}` },
  })
})

t.test('TCP clients are served, counted, and hung up on by close', async t => {
  const listener = await listenNbd({ host: '127.0.0.1', port: 0 }, exports, options)
  t.match(await run('nbdinfo', '--size', `nbd://127.0.0.1:${listener.port}/vol1`), /^16777216/)
  const idle = connect(listener.port, '127.0.0.1')
  await new Promise(resolve => idle.once('data', resolve))
  t.equal(listener.connections(), 1)
  const hungUp = new Promise(resolve => idle.once('end', resolve))
  await listener.close()
  await hungUp
  t.equal(listener.connections(), 0)
})

t.test('closing the clients of one export leaves those of others alone', async t => {
  const [gone, kept] = [new MemoryBackend({ name: 'gone' }), new MemoryBackend({ name: 'kept' })]
  const listener = await listenNbd({ host: '127.0.0.1', port: 0 }, exportsOf(gone, kept), options)
  const open = async (name: string) => {
    const client = new RawClient(connect(listener.port, '127.0.0.1'))
    await client.go(name)
    return client
  }
  const [first, second] = [await open('gone'), await open('kept')]
  const closed = listener.closeExport(gone)
  t.equal((await first.rest()).length, 0)
  first.end()
  await closed
  t.equal(await second.errorOf({ type: 3 }), 0)
  second.hangUp()
  await listener.close()
})

t.test('a socket pair by its descriptor: requests are answered until DISC, then it is closed', async t => {
  const moduleUrl = (path: string) => JSON.stringify(new URL(path, import.meta.url).href)
  const program = `
    import { serveTransmission, streamOfSocketFd } from ${moduleUrl('../../src/sdc/nbd/index.js')}
    import { MemoryBackend } from ${moduleUrl('../support/memory-backend.js')}
    import { wallClock } from ${moduleUrl('./nbd-server.js')}
    import { silentLog } from ${moduleUrl('../../src/ports/index.js')}
    serveTransmission(streamOfSocketFd(3), new MemoryBackend(), { clock: wallClock, log: silentLog })`
  // Node makes its pipes to children from socket pairs, as the kernel's are.
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
  })
  const exited = new Promise(resolve => child.once('exit', resolve))
  const client = new RawClient(child.stdio[3] as Duplex)
  const body = Buffer.alloc(1 << 20, 0x5a)
  client.send(request({ type: 1, offset: 4096, body }))
  t.equal((await client.simple()).error, 0)
  client.send(request({ type: 0, offset: 4096, length: 1 << 20 }), request({ type: 2 }))
  t.ok((await client.simple(1 << 20)).data.equals(body))
  t.equal((await client.rest()).length, 0)
  t.equal(await exited, 0, 'nothing keeps the process')
})

t.test('a thousand clients that come and go leave nothing behind', async t => {
  const server = await startNbdServer([new MemoryBackend({ name: 'vol1' })])
  t.teardown(() => server.close())
  for (let round = 0; round < 10; round++)
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        const socket = connect(server.socketPath)
        await new Promise(resolve => socket.once('data', resolve))
        socket.write(Buffer.from([0, 0, 0, 3, 0x49, 0x48]))
        socket.destroy()
      }),
    )
  while (server.listener.connections() > 0) await new Promise(resolve => setImmediate(resolve))
  t.equal(server.listener.connections(), 0)
})
