import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MemoryBackend } from '../support/memory-backend.js'
import { run, startNbdServer } from './nbd-server.js'

t.test('libnbd without its own checks is told the right error, and its connection goes on', async t => {
  const backend = new MemoryBackend({ name: 'vol1', sizeBytes: 64 << 20 })
  const server = await startNbdServer([backend])
  t.teardown(() => server.close())
  const script = fileURLToPath(new URL('../../../test/integration/nbd-negative.py', import.meta.url))
  const printed = await run('/usr/bin/python3', script, server.uri('vol1'))
  const errors = [
    ['read beyond the end', 'EINVAL'],
    ['write beyond the end', 'ENOSPC'],
    ['zero beyond the end', 'ENOSPC'],
    ['trim beyond the end', 'EINVAL'],
    ['read of nothing', 'EINVAL'],
    ['trim of nothing', 'EINVAL'],
    ['trim of 4 GiB - 1', 'EINVAL'],
    ['unaligned read', 'EINVAL'],
    ['unaligned write', 'EINVAL'],
    ['read of 33 MiB', 'EINVAL'],
    ['write of 33 MiB', 'EINVAL'],
    ['fast zero', 'EINVAL'],
    ['flush with an unknown flag', 'EINVAL'],
    ['trim with a flag of others', 'EINVAL'],
    ['cache', 'ok'],
    ['read after all that', 'ok'],
  ]
  const want = ['structured', 'simple'].flatMap(kind => errors.map(([what, error]) => `${kind} ${what}: ${error}`))
  t.same(printed.trim().split('\n'), want)
  t.equal(backend.allocatedBytes, 0, 'nothing was changed')
})
