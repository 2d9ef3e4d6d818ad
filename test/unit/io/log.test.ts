import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { systemRandom } from '../../../src/io/random.js'

t.test('log: one JSON line per event, with name, level and fields; quieter events are left out', async t => {
  const module = fileURLToPath(new URL('../../../src/io/log.js', import.meta.url))
  const script = `import { openLog } from ${JSON.stringify(module)}
    const log = openLog({ name: 'sds-1', level: 'info' })
    log.debug('not.seen')
    log.info('device.opened', { deviceId: 'd' })
    log.child({ session: 3 }).error('device.failed')
    setImmediate(() => process.kill(process.pid, 'SIGKILL'))`
  let output = ''
  try {
    execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  } catch (error) {
    output = (error as { stdout: string }).stdout
  }
  const lines = output
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(lines, [
    { level: 'info', name: 'sds-1', event: 'device.opened', deviceId: 'd' },
    { level: 'error', name: 'sds-1', event: 'device.failed', session: 3 },
  ])
  t.equal(lines.length, 2, 'also what was logged in the turn before a SIGKILL')
})

t.test('chance: numbers stay below their bound, hex has two digits a byte', async t => {
  t.match(systemRandom.hex(8), /^[0-9a-f]{16}$/)
  for (let i = 0; i < 100; i++) t.ok([0, 1, 2].includes(systemRandom.integer(3)))
})
