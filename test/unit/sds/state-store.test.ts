import t from 'tap'
import { openState } from '../../../src/sds/state-store.js'
import { simPorts } from '../../support/index.js'

t.test('state: the format is noted, and the state of before it was noted is taken over', async t => {
  const ports = simPorts('sds-1')
  const finish = <T>(promise: Promise<T>) => ports.world.clock.finish(promise, { withinMs: 1_000 })
  const change = async (format: unknown) => {
    const store = await finish(ports.metaStores.open('/state/state'))
    const write = format === undefined ? { drop: ['format'] } : { put: ['format'], value: format }
    await finish(new Promise(resolve => store.commit([write], resolve)))
    const noted = store.get(['format'])
    await finish(store.close())
    return noted
  }
  const first = await finish(openState(ports, '/state', null))
  await finish(first.close())
  await change(undefined)
  const second = await finish(openState(ports, '/state', null))
  t.equal(second.guid, first.guid)
  await finish(second.close())
  const store = await finish(ports.metaStores.open('/state/state'))
  t.equal(store.get(['format']), 1)
  await finish(store.close())
  await change(2)
  await t.rejects(finish(openState(ports, '/state', null)), {
    code: 'CONFIGURATION',
    message: /newer version of this program/,
  })
})
