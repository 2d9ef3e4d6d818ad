import t from 'tap'
import { SdcIdentity } from '../../../src/sdc/identity.js'
import { MemoryState } from '../../sim/memory-state.js'
import { seededRandom } from '../../support/index.js'

t.test('identity: the guid stays; the format is noted, and a newer one is refused', async t => {
  const random = seededRandom(1)
  const state = new MemoryState(random)
  const where = { directory: '/state', systemId: null }
  const { guid } = new SdcIdentity(state, random, where)
  t.equal(state.read('format')?.toString(), '1\n')
  state.remove('format')
  t.equal(new SdcIdentity(state, random, where).guid, guid, 'also where no format was noted yet')
  state.write('format', '2\n')
  t.throws(() => new SdcIdentity(state, random, where), {
    code: 'CONFIGURATION',
    message: /newer version of this program/,
    context: { directory: '/state', format: '2', known: 1 },
  })
})
