import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { lmdbStores } from '../../src/io/meta-store.js'
import { SimWorld } from '../support/index.js'
import { metaStoreContract } from './meta-store.js'

const root = mkdtempSync(join(tmpdir(), 'blockmesh-meta-'))
t.teardown(() => rmSync(root, { recursive: true }))
let count = 0
const freshDirectory = () => join(root, `store.${count++}`)

metaStoreContract('lmdb', () => ({ port: lmdbStores, directory: freshDirectory(), settle: promise => promise }))
metaStoreContract('simulated', () => {
  const world = new SimWorld(11)
  const { metaStores } = world.portsOf('mdm')
  return { port: metaStores, directory: '/meta', settle: promise => world.clock.finish(promise) }
})

/** Runs `body` with `store` open in a process of its own; resolves to how it ended. */
function inProcess(directory: string, body: string): Promise<string> {
  const module = fileURLToPath(new URL('../../src/io/meta-store.js', import.meta.url))
  const script = `import { lmdbStores } from ${JSON.stringify(module)}
    const store = await lmdbStores.open(${JSON.stringify(directory)})
    ${body}`
  return new Promise(resolve => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    let errors = ''
    child.stderr.setEncoding('utf8').on('data', text => (errors += text))
    child.on('close', (code, signal) => resolve(signal ?? `exit ${code} ${errors}`))
  })
}

t.test('lmdb: what was visible survives a SIGKILL in that same moment', async t => {
  const directory = freshDirectory()
  const body = `for (let i = 0; i < 20; i++) await new Promise(resolve => store.commit([{ put: ['n', i], value: i }], resolve))
    process.kill(process.pid, 'SIGKILL')`
  t.equal(await inProcess(directory, body), 'SIGKILL')
  const store = await lmdbStores.open(directory)
  t.equal([...store.range(['n'])].length, 20)
  await store.close()
})

t.test('lmdb: another process that has it open is named as the reason', async t => {
  const directory = freshDirectory()
  const store = await lmdbStores.open(directory)
  t.match(await inProcess(directory, ''), /^exit 1.*DEVICE_BUSY/s)
  await store.close()
})

for (const [what, damage] of [
  ['is none', (path: string) => writeFileSync(path, Buffer.alloc(16384, 7))],
  ['is too short', (path: string) => truncateSync(path, 5000)],
  ['was cut off', (path: string) => truncateSync(path, 8192)],
  ['has another version', (path: string) => overwrite(path, 28, 9)],
  ['is a directory', (path: string) => [unlinkSync(path), mkdirSync(path)]],
] as const)
  t.test(`lmdb: a data file that ${what} is a damaged device`, async t => {
    const directory = freshDirectory()
    const store = await lmdbStores.open(directory)
    for (let i = 0; i < 3; i++) await new Promise(resolve => store.commit([{ put: ['k'], value: i }], resolve))
    await store.close()
    damage(join(directory, 'data', 'data.mdb'))
    await t.rejects(lmdbStores.open(directory), { code: 'DEVICE_DAMAGED' })
    await t.rejects(lmdbStores.open(directory), { code: 'DEVICE_DAMAGED' }, 'and the lock was given back')
  })

function overwrite(path: string, at: number, byte: number): void {
  const bytes = readFileSync(path)
  bytes[at] = byte
  writeFileSync(path, bytes)
}

t.test('lmdb: an empty data file, as a process leaves it that dies while making it, is a new store', async t => {
  const directory = freshDirectory()
  mkdirSync(join(directory, 'data'), { recursive: true })
  writeFileSync(join(directory, 'data', 'data.mdb'), '')
  const store = await lmdbStores.open(directory)
  t.same([...store.range([])], [])
  await store.close()
})

t.test('simulated: a power loss keeps all that was durable and a prefix of the rest', async t => {
  let lost = 0
  for (let seed = 0; seed < 20; seed++) {
    const world = new SimWorld(seed)
    const { metaStores } = world.portsOf('mdm')
    const store = await metaStores.open('/m')
    const put = (n: number) =>
      new Promise<void>(resolve => store.commit([{ put: ['n', n], value: n }], () => resolve()))
    for (let n = 0; n < 3; n++) await world.clock.finish(put(n))
    await world.clock.finish(new Promise<void>(resolve => store.flush(() => resolve())))
    for (let n = 3; n < 8; n++) await world.clock.finish(put(n))
    world.powerLoss('mdm')
    const found = [...(await metaStores.open('/m')).range(['n'])].map(entry => entry.value as number)
    t.ok(found.length >= 3)
    t.same(found, [0, 1, 2, 3, 4, 5, 6, 7].slice(0, found.length))
    lost += 8 - found.length
  }
  t.ok(lost > 0)
})
