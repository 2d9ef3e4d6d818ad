import t from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import { check } from '../../../src/wire/check.js'
import { mdmRequests, peerNotices } from '../../../src/wire/control.js'

const id = '0123456789abcdef'
const volume = { pool: 'p', name: 'v', sizeBytes: 1, type: 'thin' }
const hello = { version: 1, role: 'mdm', systemId: null, name: '' }
const mdm = { id: null, kind: 'manager', endpoint: { host: 'h', port: 1 }, release: '', want: null }

/** The field and the sentence of the refusal. */
function refusal(schema: Parameters<typeof check>[0], params: unknown): [unknown, unknown] {
  try {
    check(schema, params, 'asked')
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'BAD_ARGUMENT') throw error
    return [error.context.field, error.context.detail]
  }
  throw new Error('it was taken')
}

t.test('parameters: what is taken has the known fields only', async t => {
  t.same(check(mdmRequests.addVolume, { ...volume, stray: 1 }, 'addVolume'), volume)
  t.same(check(mdmRequests.hello, { ...hello, mdm }, 'hello'), { ...hello, mdm })
  t.same(check(mdmRequests.ping, undefined, 'ping'), {})
})

t.test('parameters: a refusal names the field, and says what is wrong with it', async t => {
  const { addVolume } = mdmRequests
  t.same(refusal(addVolume, { ...volume, name: undefined }), ['name', 'it is missing'])
  t.same(refusal(addVolume, { pool: 'p' }), ['name', 'it is missing'])
  t.match(refusal(addVolume, { ...volume, sizeBytes: -1 }), ['sizeBytes', /Expected >=0 but received -1/])
  t.match(refusal(addVolume, { ...volume, sizeBytes: 2 ** 53 }), ['sizeBytes', /safe integer/])
  t.match(refusal(addVolume, { ...volume, pool: '' }), ['pool', /Expected >=1 but received 0/])
  t.match(refusal(addVolume, { ...volume, type: 'fat' }), ['type', /"thin" \| "thick".* received "fat"/])
  t.match(refusal(mdmRequests.setSparePercent, { pool: 'p', sparePercent: Number.POSITIVE_INFINITY }), ['sparePercent'])
  t.match(refusal(mdmRequests.switchClusterMode, { mode: 2 }), ['mode', /1 \| 3 \| 5.* received 2/])
  t.match(refusal(mdmRequests.hello, { ...hello, systemId: 'x' }), ['systemId', /^an id is 16/])
  const far = { ...mdm, endpoint: { host: 'h', port: 65536 } }
  t.match(refusal(mdmRequests.hello, { ...hello, mdm: far }), ['mdm.endpoint.port', /<=65535/])
  t.match(refusal(addVolume, 'p'), ['params', /Expected Object but received "p"/])
  t.match(refusal(mdmRequests.ping, []), ['params', /list/])
})

t.test('parameters: of the kinds of a message, the one that it says it is counts', async t => {
  const { raft } = peerNotices
  const offer = { from: id, to: id, term: 1, type: 'offer', index: 1 }
  t.same(check(raft, { messages: [offer] }, 'raft').messages, [offer])
  t.match(refusal(raft, { messages: [offer, { ...offer, index: 'a' }] }), ['messages.1.index', /number/])
  t.match(refusal(raft, { messages: [{ ...offer, type: 'gift' }] }), ['messages.0.type', /"vote" \| .*"gift"/])
})

t.test('parameters: a long or strange text is not quoted as it came', async t => {
  const [, long] = refusal(mdmRequests.growVolume, { volume: 'v', sizeBytes: 'x'.repeat(1e6) })
  t.ok(String(long).length < 200, String(long).slice(0, 200))
  t.match(refusal(mdmRequests.growVolume, { volume: 'v', sizeBytes: 'a\n"b' }), ['sizeBytes', /received "a\\n\\"b"$/])
})
