import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

/** A folder imports from those above it; the daemons share one rank. */
const ranks = [
  ['base'],
  ['model'],
  ['config'],
  ['wire'],
  ['core'],
  ['ports'],
  ['io'],
  ['mdm-client'],
  ['mdm', 'sds', 'sdc'],
  ['cli'],
]
const rank = (folder: string) => ranks.findIndex(folders => folders.includes(folder))

/** Modules from outside that have one address. */
const addresses: Record<string, RegExp> = {
  lmdb: /^src\/io\/meta-store\.ts$/,
  pino: /^src\/io\/log\.ts$/,
  msgpackr: /^src\/wire\/codec\.ts$/,
  'prom-client': /^src\/io\/metrics\.ts$/,
  yaml: /^src\/(config|cli)\//,
}

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../../..')

interface Import {
  file: string
  target: string
  typesOnly: boolean
}

function importsUnder(folder: string): Import[] {
  const found: Import[] = []
  for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
    const path = join(entry.parentPath, entry.name)
    const file = relative(root, path)
    const statements = /^(?:import|export)\s+(type\s+)?(?:[^'";]*?from\s+)?'([^']+)'/gm
    for (const [, types, target] of readFileSync(path, 'utf8').matchAll(statements))
      found.push({ file, target: resolvedFrom(path, target!), typesOnly: types !== undefined })
  }
  return found
}

const resolvedFrom = (path: string, target: string) =>
  target.startsWith('.') ? relative(root, resolve(dirname(path), target)) : target

const folderOf = (file: string) => file.split('/')[1]!

t.test('layers: every folder of src has a rank', async t => {
  for (const entry of readdirSync(join(root, 'src'), { withFileTypes: true }))
    if (entry.isDirectory()) t.ok(rank(entry.name) >= 0, entry.name)
})

t.test('layers: imports only go up the ranks', async t => {
  const imports = importsUnder('src').filter(({ target }) => target.startsWith('src/'))
  t.ok(imports.length > 50, 'imports are found')
  const wrong = imports.filter(({ file, target, typesOnly }) => {
    const from = folderOf(file)
    const to = folderOf(target)
    if (from === to) return false
    // Ports are types; whoever takes one as an argument may name it.
    if (to === 'ports' && typesOnly) return false
    return rank(to) >= rank(from)
  })
  t.same(wrong, [])
})

t.test('layers: decisions know no ports, and clients of the MDM no io', async t => {
  const imports = importsUnder('src')
  // Hashes are pure functions, and the only thing that decisions take from Node.
  const outside = /^(node:(?!crypto$)|src\/ports\/)/
  t.same(
    imports.filter(({ file, target }) => file.startsWith('src/core/') && outside.test(target)),
    [],
  )
  t.same(
    imports.filter(({ file, target }) => file.startsWith('src/mdm-client/') && /^(node:|src\/io\/)/.test(target)),
    [],
  )
})

t.test('layers: src knows nothing of test and bench', async t => {
  t.same(
    importsUnder('src').filter(({ target }) => /^(test|bench)\//.test(target)),
    [],
  )
})

t.test('layers: each outside module has one address', async t => {
  const wrong = importsUnder('src').filter(({ file, target }) => addresses[target] && !addresses[target].test(file))
  t.same(wrong, [])
})

t.test('layers: time and chance are arguments outside of io', async t => {
  const wrong: string[] = []
  for (const entry of readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue
    const path = join(entry.parentPath, entry.name)
    const file = relative(root, path)
    if (/^src\/(io|cli)\//.test(file)) continue
    const code = readFileSync(path, 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')
    if (
      /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|set(Timeout|Interval|Immediate)|process\.hrtime|randomBytes|randomInt|randomUUID)\b/.test(
        code,
      )
    )
      wrong.push(file)
  }
  t.same(wrong, [])
})
