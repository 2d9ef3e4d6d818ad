import t from 'tap'
import { errorCodeOfWire, errorTable, StorageError } from '../../../src/base/errors.js'
import { idOfNumber, isId, numberOfId, type SystemId } from '../../../src/base/ids.js'

t.test('errors: every wire status stands for one code only', async t => {
  const statuses = Object.values(errorTable).map(traits => traits.wire)
  t.equal(new Set(statuses).size, statuses.length)
  for (const [code, traits] of Object.entries(errorTable)) t.equal(errorCodeOfWire(traits.wire), code)
  t.equal(errorCodeOfWire(60_000), 'INTERNAL', 'a newer peer may know more')
})

t.test('errors: the sentence names rule, object and remedy', async t => {
  const error = new StorageError('IN_USE', {
    volume: 'vol1',
    detail: 'a mapped volume is not removed',
    remedy: 'unmap it',
  })
  t.equal(error.message, 'a mapped volume is not removed (volume vol1); unmap it')
})

t.test('ids: the lower half is the number, the upper half the system', async t => {
  const systemId = '0123456789abcdef' as SystemId
  const id = idOfNumber<'volume'>(systemId, 300)
  t.equal(id, '012345670000012c')
  t.equal(numberOfId(id), 300)
  t.ok(isId(id))
  t.notOk(isId('vol1'))
})
