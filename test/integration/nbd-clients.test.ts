import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { MemoryBackend } from '../support/memory-backend.js'
import { run, startNbdServer } from './nbd-server.js'

/** What real clients see of the engine, over a unix socket, compared with the same operations on a plain file. */
const MiB = 1 << 20

t.test('nbdinfo lists the exports and shows size, flags, block sizes and map', async t => {
  const vol1 = new MemoryBackend({ name: 'vol1', sizeBytes: 64 * MiB, chunkBytes: MiB, description: 'the first' })
  const vol2 = new MemoryBackend({ name: 'vol2', sizeBytes: 8 * MiB, readOnly: true })
  const server = await startNbdServer([vol1, vol2])
  t.teardown(() => server.close())
  const list = JSON.parse(await run('nbdinfo', '--list', '--json', server.uri('')))
  t.same(
    list.exports.map((found: Record<string, unknown>) => [
      found['export-name'],
      found.description,
      found['export-size'],
    ]),
    [
      ['vol1', 'the first', 64 * MiB],
      ['vol2', 'a volume in memory', 8 * MiB],
    ],
  )
  const info = JSON.parse(await run('nbdinfo', '--json', server.uri('vol1')))
  t.equal(info.protocol, 'newstyle-fixed')
  t.equal(info.structured, true)
  t.match(info.exports[0], {
    'export-size': 64 * MiB,
    contexts: ['base:allocation'],
    is_read_only: false,
    can_cache: true,
    can_df: true,
    can_fast_zero: false,
    can_flush: true,
    can_fua: true,
    can_multi_conn: true,
    can_trim: true,
    can_zero: true,
    block_size_minimum: 512,
    block_size_preferred: 4096,
    block_size_maximum: 32 * MiB,
  })
  t.equal(JSON.parse(await run('nbdinfo', '--json', server.uri('vol2'))).exports[0].is_read_only, true)
  vol1.write(2 * MiB, [Buffer.alloc(MiB, 1)], false, () => {})
  const map = JSON.parse(await run('nbdinfo', '--map', '--json', server.uri('vol1')))
  t.same(
    map.map(({ offset, length, type }: Record<string, number>) => [offset, length, type]),
    [
      [0, 2 * MiB, 3],
      [2 * MiB, MiB, 0],
      [3 * MiB, 61 * MiB, 3],
    ],
  )
})

t.test('nbdcopy brings a file in and out again, holes as holes, over several connections', async t => {
  const backend = new MemoryBackend({ name: 'vol1', sizeBytes: 32 * MiB, chunkBytes: MiB })
  const server = await startNbdServer([backend])
  t.teardown(() => server.close())
  const [source, target] = [join(server.directory, 'in'), join(server.directory, 'out')]
  const content = Buffer.alloc(32 * MiB)
  randomBytes(5 * MiB).copy(content, 3 * MiB)
  randomBytes(512).copy(content, 32 * MiB - 512)
  await writeFile(source, content)
  await run('nbdcopy', '--connections=4', '--flush', source, server.uri('vol1'))
  t.ok(backend.peek(0, 32 * MiB).equals(content))
  t.ok(backend.allocatedBytes <= 7 * MiB, 'what is zero in the file is a hole')
  await run('nbdcopy', '--connections=4', server.uri('vol1'), target)
  t.ok((await readFile(target)).equals(content))
})

t.test('qemu-img converts into an export and finds both sides equal', async t => {
  const backend = new MemoryBackend({ name: 'vol1', sizeBytes: 16 * MiB, chunkBytes: MiB })
  const server = await startNbdServer([backend])
  t.teardown(() => server.close())
  const source = join(server.directory, 'in')
  const content = Buffer.alloc(16 * MiB)
  randomBytes(3 * MiB).copy(content, 4 * MiB + 4096)
  await writeFile(source, content)
  const info = JSON.parse(await run('qemu-img', 'info', '--output=json', server.uri('vol1')))
  t.equal(info['virtual-size'], 16 * MiB)
  await run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, server.uri('vol1'))
  t.match(await run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', source, server.uri('vol1')), /identical/)
  t.ok(backend.peek(0, 16 * MiB).equals(content))
  backend.write(5 * MiB, [Buffer.alloc(512, 1)], false, () => {})
  await t.rejects(run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', source, server.uri('vol1')), /[Mm]ismatch/)
})

t.test('qemu-io: FUA, zeroes with and without punching, discard and aio leave what they leave in a file', async t => {
  const backend = new MemoryBackend({ name: 'vol1', sizeBytes: 16 * MiB, chunkBytes: MiB })
  backend.calls = []
  const server = await startNbdServer([backend])
  t.teardown(() => server.close())
  const file = join(server.directory, 'file')
  await writeFile(file, Buffer.alloc(16 * MiB))
  const commands = [
    'write -P 0x11 0 16M',
    'write -f -P 0x22 4096 8192',
    'writev -P 0x33 1M 4096 8192 512',
    'write -z -u 2M 2M',
    'write -z 5000k 3000k',
    'discard 9M 2M',
    'aio_write -P 0x44 12M 64k',
    'aio_write -P 0x55 13M 64k',
    'aio_write -z 14M 1M',
    'aio_flush',
    'flush',
    'read -P 0x22 4096 8192',
    'read -P 0 9M 2M',
    'read -P 0x44 12M 64k',
  ].flatMap(command => ['-c', command])
  const printed = await run('qemu-io', '-f', 'raw', '-d', 'unmap', ...commands, server.uri('vol1'))
  t.notMatch(printed, /fail|error/i)
  await run('qemu-io', '-f', 'raw', '-d', 'unmap', ...commands, file)
  t.ok(backend.peek(0, 16 * MiB).equals(await readFile(file)))
  const seen = (verb: string) => backend.calls?.filter(call => call.verb === verb) ?? []
  t.ok(seen('write').some(call => call.fua && call.offsetBytes === 4096 && call.lengthBytes === 8192))
  t.ok(seen('zero').some(call => call.mayPunch && call.offsetBytes === 2 * MiB))
  t.ok(seen('zero').some(call => !call.mayPunch && call.offsetBytes === 5000 * 1024))
  t.ok(seen('trim').some(call => call.offsetBytes === 9 * MiB && call.lengthBytes === 2 * MiB))
  t.ok(seen('flush').length > 0)
})

t.test('fio writes, verifies and trims through its nbd engine without an error', async t => {
  const backend = new MemoryBackend({ name: 'vol1', sizeBytes: 32 * MiB, chunkBytes: MiB })
  const server = await startNbdServer([backend])
  t.teardown(() => server.close())
  const fio = (...options: string[]) =>
    run('fio', '--name=job', '--ioengine=nbd', `--uri=${server.uri('vol1')}`, '--iodepth=16', ...options)
  // Not with serialize_overlap: where reads and writes differ in size, fio 3.33 then miscounts its own seeds, on any file.
  await fio('--rw=randrw', '--bs=64k,32k', '--rwmixread=45', '--size=16M', '--verify=crc32c', '--loops=2')
  await fio('--rw=randwrite', '--bsrange=512-128k', '--size=8M', '--verify=crc32c', '--fsync=16')
  await fio('--rw=randtrim', '--bs=1M', '--size=32M')
  t.equal(backend.allocatedBytes, 0)
})
