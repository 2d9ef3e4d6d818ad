import t from 'tap'
import type { StorageError } from '../../../src/base/errors.js'
import type { ConfigKeys, ConfigOf } from '../../../src/config/keys.js'
import { loadConfig } from '../../../src/config/load.js'
import {
  oneOf,
  parseBoolean,
  parseCpus,
  parseDurationMs,
  parseEndpoint,
  parseEndpointList,
  parseInteger,
  parsePath,
  parsePathList,
  parseSizeBytes,
  parseText,
} from '../../../src/config/parse.js'

const keys = {
  name: { key: 'name', parse: parseText, help: 'what people call it' },
  listen: { key: 'listen', parse: parseEndpoint, help: 'where it listens' },
  mdm: { key: 'mdm', parse: parseEndpointList, help: 'addresses of the MDMs' },
  ioMode: { key: 'io.mode', parse: oneOf('direct', 'buffered'), default: 'direct', help: 'how devices are opened' },
  leaseTimeoutMs: { key: 'lease.timeout', parse: parseDurationMs, default: '5 s', help: 'silence before revoking' },
  ioTimeoutMs: { key: 'io.timeout', parse: parseDurationMs, default: null, help: 'before EIO' },
  search: { key: 'devices.search', parse: parsePathList, default: '', help: 'where devices may be' },
} satisfies ConfigKeys

const load = (text: string): ConfigOf<typeof keys> => loadConfig(keys, text, 'sds.yaml')
function mistakesOf(text: string): string[] {
  try {
    load(text)
  } catch (error) {
    t.equal((error as StorageError).code, 'CONFIGURATION')
    return (error as StorageError).context.detail!.split('\n')
  }
  return []
}

t.test('config: units and nested keys become frozen numbers, defaults fill the rest', async t => {
  const config = load(`
# a comment
name: sds-1
listen: 127.0.0.1:9000
mdm: [127.0.0.1:9011, "[::1]:9012"]
io:
  mode: buffered
lease.timeout: 250 ms
`)
  t.same(config, {
    name: 'sds-1',
    listen: { host: '127.0.0.1', port: 9000 },
    mdm: [
      { host: '127.0.0.1', port: 9011 },
      { host: '::1', port: 9012 },
    ],
    ioMode: 'buffered',
    leaseTimeoutMs: 250,
    ioTimeoutMs: null,
    search: [],
  })
  t.ok(Object.isFrozen(config))
})

t.test('config: all mistakes are reported at once, each with file, line, key and remedy', async t => {
  const mistakes = mistakesOf(`listen: somewhere
listne: 127.0.0.1:1
io:
  mode: fast
lease:
  timeout: 5
lease.timeout: 6 s
mdm:
  - 127.0.0.1:9011
  - nonsense
frobnicate: yes
io.timeout:
`)
  t.same(mistakes, [
    'sds.yaml:1: listen = somewhere: write host:port, for example "192.168.1.10:9011"',
    'sds.yaml:2: listne: unknown key, did you mean listen?',
    'sds.yaml:4: io.mode = fast: write one of direct, buffered',
    'sds.yaml:6: lease.timeout = 5: missing unit, write "5 s" or "5000 ms"',
    'sds.yaml:7: lease.timeout: given twice, first in line 6',
    'sds.yaml:8: mdm = [127.0.0.1:9011, nonsense]: write host:port, for example "192.168.1.10:9011"',
    `sds.yaml:11: frobnicate: unknown key; known are ${Object.values(keys)
      .map(key => key.key)
      .join(', ')}`,
    'sds.yaml:12: io.timeout: has no value',
    'sds.yaml: name: missing (what people call it)',
  ])
})

t.test('config: a file that is no YAML, no map, or empty is refused with what is wrong', async t => {
  t.match(mistakesOf('name: [a\nlisten: b'), [/^sds.yaml:\d+: not YAML: /])
  t.match(mistakesOf('just words'), [/^sds.yaml:1: the file is a list of "key: value" lines$/])
  t.match(mistakesOf('name: *other'), [/not YAML|aliases are not understood/])
  t.same(
    mistakesOf('').map(line => line.split(' (')[0]),
    ['sds.yaml: name: missing', 'sds.yaml: listen: missing', 'sds.yaml: mdm: missing'],
  )
})

t.test('config values: what each parser takes and what it says to the rest', async t => {
  t.equal(parseSizeBytes('16G'), 16 * 2 ** 30)
  t.equal(parseSizeBytes('1.5 GiB'), 1.5 * 2 ** 30)
  t.equal(parseSizeBytes('512 B'), 512)
  t.throws(() => parseSizeBytes('16'), { message: 'missing unit, write "16 GiB" or "16 MiB"' })
  t.throws(() => parseSizeBytes('-1 G'), /not a size/)
  t.equal(parseDurationMs('2 min'), 120_000)
  t.throws(() => parseDurationMs('soon'), /not a duration/)
  t.equal(parseBoolean('on'), true)
  t.equal(parseBoolean('false'), false)
  t.throws(() => parseBoolean('maybe'), /true or false/)
  t.equal(parseInteger('-3'), -3)
  for (const text of ['3.5', '1e3', '99999999999999999999', '']) t.throws(() => parseInteger(text), /whole number/)
  t.throws(() => parseEndpoint('host:65536'), /host:port/)
  t.throws(() => parsePath('relative/path'), /absolute/)
  t.same(parsePathList('/a, /b'), ['/a', '/b'])
  t.same(parseCpus('3'), [3])
  t.same(parseCpus('8,0-3, 2'), [0, 1, 2, 3, 8])
  t.same(parseCpus(['1', '0']), [0, 1])
  for (const text of ['all', '-1', '3-1', '1024', '0-', '1.5', ''])
    t.throws(() => parseCpus(text), /write for example "2" or "0-3,8"/)
  t.throws(() => parseText(['a']), /not a list/)
  t.throws(() => parseEndpointList([]), /at least one/)
})
