import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { openStateDirectory } from '../../src/io/state-directory.js'
import { silentLog } from '../../src/ports/index.js'
import { FlushFile } from '../../src/sdc/flush-file.js'

const directory = mkdtempSync(join(tmpdir(), 'blockmesh-state-'))
t.teardown(() => rmSync(directory, { recursive: true }))

t.test('state directory: files are replaced as a whole, and changed in place', async t => {
  const state = openStateDirectory(join(directory, 'a', 'b'))
  t.equal(state.read('guid'), null)
  state.write('guid', 'one\n')
  state.write('guid', 'two\n')
  t.equal(state.read('guid')?.toString(), 'two\n')
  t.same(state.list(), ['guid'])
  const file = state.open('guid')
  file.writeAt(1, Buffer.from('ab'))
  file.close()
  file.close()
  t.equal(readFileSync(join(directory, 'a', 'b', 'guid'), 'utf8'), 'tab\n')
  t.equal(statSync(join(directory, 'a', 'b')).mode & 0o077, 0, 'nobody else reads it')
  state.remove('guid')
  state.remove('guid')
  t.same(state.list(), [])
  t.throws(() => state.open('guid'), { code: 'ENOENT' })
})

t.test('state directory: one that cannot be made is a mistake of the configuration', async t => {
  writeFileSync(join(directory, 'file'), '')
  t.throws(() => openStateDirectory(join(directory, 'file', 'state')), { code: 'CONFIGURATION', message: /file.state/ })
})

t.test('flush file: a process that is killed leaves its notes to the next one', async t => {
  const state = openStateDirectory(join(directory, 'flush'))
  const volume = { volumeId: '5eed00000000001f', mapping: 41, isShared: false }
  const options = { clock: systemClock, state, log: silentLog, bootId: 'boot', ...volume }
  const killed = FlushFile.open({ ...options, epochs: new Uint32Array(1024).fill(3) })
  t.ok(killed.note(1000, 5))
  t.ok(killed.note(1000, 6))
  const next = FlushFile.open({ ...options, epochs: new Uint32Array(1024).fill(8) })
  t.same([next.dirty.oldestEpoch(1000), next.dirty.flushedEpoch(0)], [5, 3])
  next.dirty.beginFlush(false)
  next.dirty.finishFlush(new Uint32Array(1024).fill(8))
  next.rewrite()
  next.close()
  const last = FlushFile.open({ ...options, epochs: new Uint32Array(1024).fill(9) })
  t.ok(last.dirty.isClean)
  t.equal(last.dirty.flushedEpoch(1000), 8)
  last.remove()
  t.same(state.list(), [])
})
