import t from 'tap'
import { MiB } from '../../src/base/units.js'
import { startNbdServer } from '../integration/nbd-server.js'
import { MemoryBackend } from '../support/memory-backend.js'
import { seededRandom } from '../support/seeded-random.js'
import { Load, type LoadOptions } from './load.js'

/** What a bad system might do, once, to a volume in memory. */
class LyingBackend extends MemoryBackend {
  lie: 'nothing' | 'flip a byte' | 'forget a write' | 'old bytes' | 'EIO' = 'nothing'

  override read(offsetBytes: number, target: Buffer, done: Parameters<MemoryBackend['read']>[2]): void {
    super.read(offsetBytes, target, errno => {
      const at = target.findIndex(byte => byte !== 0)
      if (this.lie === 'flip a byte' && at >= 0) target[at]! ^= 1
      if (this.lie === 'old bytes' && at >= 0) target.fill(0)
      done(this.lie === 'EIO' ? 'EIO' : errno)
    })
  }

  override write(
    offsetBytes: number,
    pieces: readonly Buffer[],
    fua: boolean,
    done: Parameters<MemoryBackend['write']>[3],
  ): void {
    if (this.lie === 'forget a write') done(null)
    else super.write(offsetBytes, pieces, fua, done)
  }
}

async function startLoad(mayLoseSdc: LoadOptions['mayLoseSdc'] = () => false) {
  const backend = new LyingBackend({ name: 'vol1', sizeBytes: 8192 * MiB, chunkBytes: MiB })
  const server = await startNbdServer([backend])
  const failures: string[] = []
  const options: LoadOptions = {
    volume: 'vol1',
    socketPath: server.socketPath,
    random: seededRandom(7),
    connections: 2,
    depth: 4,
    thinkMs: 1,
    hotChunks: 2,
    generation: () => 1,
    mayLoseSdc,
    fail: error => failures.push(error.message),
  }
  const load = new Load(options)
  load.start()
  return { backend, server, failures, load }
}

async function runLoad(lie: LyingBackend['lie'], forMs: number) {
  const { backend, server, failures, load } = await startLoad()
  const endMs = performance.now() + forMs
  while (performance.now() < endMs && failures.length === 0) {
    await new Promise(resolve => setTimeout(resolve, 50))
    if (load.counts.answered > 60) backend.lie = lie
  }
  await load.end(5000)
  if (failures.length === 0) await load.readAll(5000)
  load.close()
  await server.close()
  return { failures, counts: load.counts }
}

t.test('load: a system that keeps its promises passes', async t => {
  const { failures, counts } = await runLoad('nothing', 1500)
  t.same(failures, [])
  t.ok(counts.checked > 50, `${counts.checked} reads were checked`)
})

for (const [lie, says] of [
  ['flip a byte', /torn sector|another sector|write \d+/],
  ['forget a write', /returned/],
  ['old bytes', /returned zeroes/],
  ['EIO', /errno 5/],
] as const)
  t.test(`load: a system that does this is found out: ${lie}`, async t => {
    const { failures } = await runLoad(lie, 10_000)
    t.match(failures[0], says, `${failures[0]}`)
  })

/** What the load says when process 1 drops its connections, and that process is known to have ended. */
async function dropConnections(ended: number): Promise<string[]> {
  const { server, failures, load } = await startLoad(generation => generation === ended)
  const endMs = performance.now() + 10_000
  const until = async (holds: () => boolean) => {
    while (!holds() && performance.now() < endMs) await new Promise(resolve => setTimeout(resolve, 10))
  }
  await until(() => load.counts.answered >= 60)
  await server.close()
  await until(() => load.counts.connectionsLost === 2)
  load.close()
  t.equal(load.counts.connectionsLost, 2)
  return failures
}

t.test('load: a process that ends may drop its connections, even if that is heard of late', async t => {
  t.same(await dropConnections(1), [])
})

t.test('load: a process that lives may not, whichever has ended', async t => {
  t.match((await dropConnections(0))[0], /a living SDC dropped a connection/)
})
