import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { addon } from '../../src/io/addon.js'
import { primaryPassesContract } from './primary-passes.js'
import { realPasses } from './real-passes.js'

t.test('which writes begin, by what the disk shows', async t => {
  const source = fileURLToPath(new URL('../../../test/contract/write-gate.cc', import.meta.url))
  const program = join(t.testdir(), 'write-gate')
  // The compiler is there, as the addon has been built.
  execFileSync('c++', ['-std=c++17', '-Wall', '-Wextra', '-Werror', '-o', program, source], { timeout: 60_000 })
  for (const line of execFileSync(program, { encoding: 'utf8', timeout: 30_000 }).trimEnd().split('\n')) {
    const [verdict = '', name = ''] = line.split('\t')
    t.equal(verdict, 'ok', name)
  }
})

t.test('from here on disks are taken for those that end all together', async () => addon.writeLaneGroups())
primaryPassesContract('the addon, where writes go in groups', t => ({ ...realPasses(t), goInGroups: true }))
