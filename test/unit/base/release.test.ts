import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { release } from '../../../src/base/release.js'

t.test('release: what daemons say of themselves is the version of the package', async t => {
  const path = join(dirname(fileURLToPath(import.meta.url)), '../../../../package.json')
  t.equal(release, JSON.parse(readFileSync(path, 'utf8')).version)
})
