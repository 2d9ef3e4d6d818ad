import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { runProgram } from '../support/run-program.js'

const dir = mkdtempSync(join(tmpdir(), 'blockmesh-programs-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))

const configFile = (name: string, lines: string[]): string => {
  const path = join(dir, name)
  writeFileSync(path, `${lines.join('\n')}\n`)
  return path
}

t.test('a daemon: --check reports every mistake of the file at once, with its line and key, and exits 78', async t => {
  const path = configFile('sds.yaml', ['name: sds-1', 'listen: nowhere', 'io:', '  mode: sideways', 'colour: blue'])
  const { exit, stdout, stderr } = await runProgram('blockmesh', ['sds', '--config', path, '--check'])
  t.equal(exit, 78)
  t.equal(stdout, '')
  t.match(stderr, /sds\.yaml:2: listen/)
  t.match(stderr, /sds\.yaml:4: io\.mode/)
  t.match(stderr, /sds\.yaml:5: colour: unknown key/)
  t.match(stderr, /directory: missing/)
  const started = await runProgram('blockmesh', ['sds', '--config', path])
  t.equal(started.exit, 78, 'it does not start with such a file either')
})

t.test('a daemon: --check of a sound file says so and starts nothing', async t => {
  const path = configFile('mdm.yaml', ['name: mdm-1', 'listen: 127.0.0.1:1', `directory: ${dir}/mdm-state`])
  const { exit, stdout } = await runProgram('blockmesh', ['mdm', '--config', path, '--check'])
  t.equal(exit, 0)
  t.match(stdout, /no mistakes/)
})

t.test(
  'a daemon: a file that is not there, and an address that is taken, are one clear line and an exit code',
  async t => {
    const missing = await runProgram('blockmesh', ['mdm', '--config', join(dir, 'nothing.yaml')])
    t.equal(missing.exit, 78)
    t.match(missing.stderr, /^Error: the configuration file \S+nothing\.yaml cannot be read: ENOENT/)

    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => taken.once('listening', resolve))
    t.teardown(() => taken.close())
    const { port } = taken.address() as { port: number }
    const path = configFile('taken.yaml', ['name: mdm-1', `listen: 127.0.0.1:${port}`, `directory: ${dir}/taken-state`])
    const { exit, stderr } = await runProgram('blockmesh', ['mdm', '--config', path])
    t.equal(exit, 69)
    t.match(stderr.trim().split('\n').at(-1), /^Error: .*127\.0\.0\.1/)
  },
)

t.test('blockmesh: what this version does not have says so and exits 69', async t => {
  for (const role of ['gateway', 'lia']) {
    const { exit, stderr } = await runProgram('blockmesh', [role, '--config', 'x.yaml'])
    t.equal(exit, 69)
    t.match(stderr, `this version has no ${role}`)
  }
})

t.test('blockmesh: mistakes on the command line exit 64, a directory without a cluster 66', async t => {
  const many = ['local', 'up', '--dir', join(dir, 'none'), '--mdms', '2', '--sdss', '0', '--volume', 'x:7G']
  const wrong = await runProgram('blockmesh', many)
  t.equal(wrong.exit, 64)
  t.equal(wrong.stderr.trim().split('\n').length, 3, 'each mistake has its line')
  t.equal((await runProgram('blockmesh', ['local', 'upp', '--dir', dir])).exit, 64)
  t.equal((await runProgram('blockmesh', ['local', 'up'])).exit, 64)
  for (const verb of [['status'], ['down'], ['kill', 'sds-1']]) {
    const { exit, stderr } = await runProgram('blockmesh', ['local', ...verb, '--dir', join(dir, 'none')])
    t.equal(exit, 66)
    t.match(stderr, /there is no local cluster in .*; start one with/)
  }
  t.equal((await runProgram('blockmesh', ['check', '--dir', join(dir, 'none')])).exit, 66)
})

t.test('scli: without an MDM it says where it looked, on stderr, as JSON if asked, and exits 69', async t => {
  const env = { BLOCKMESH_MDM: '127.0.0.1:1' }
  const plain = await runProgram('scli', ['--query_all'], env)
  t.equal(plain.exit, 69)
  t.match(plain.stderr, /^Error: no MDM answers as master \(tried 127\.0\.0\.1:1: /)
  const json = await runProgram('scli', ['--query_all', '--json', '--mdm_ip', '127.0.0.1:2'], env)
  t.match(JSON.parse(json.stderr), { error: { code: 'UNREACHABLE', message: /127\.0\.0\.1:2/ } })
  t.equal(json.stdout, '')
})

t.test('scli: help exits 0, mistakes exit 64, and what destroys is not done unasked', async t => {
  t.match(await runProgram('scli', ['--help']), { exit: 0, stdout: /--add_volume/ })
  t.match(await runProgram('scli', ['--query_al']), { exit: 64, stderr: /did you mean/ })
  const remove = await runProgram('scli', ['--remove_volume', '--volume_name', 'v', '--mdm_ip', '127.0.0.1:1'])
  t.match(remove, { exit: 64, stderr: /--i_am_sure/ })
})
