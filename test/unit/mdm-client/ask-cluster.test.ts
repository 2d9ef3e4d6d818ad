import t, { type Test } from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import { askCluster } from '../../../src/mdm-client/index.js'
import type { ClusterReport } from '../../../src/wire/control.js'
import { SimWorld } from '../../support/index.js'
import { FakeMdm, systemId, welcome } from './fake-mdm.js'

const addresses = [1, 2, 3].map(n => ({ host: `mdm-${n}`, port: 9011 }))

/** Three MDMs; `knows` says what each of them answers, null: it is down. */
async function ask(_t: Test, knows: (Partial<ClusterReport> | null)[], asked = addresses) {
  const world = new SimWorld(1)
  for (const [index, report] of knows.entries()) {
    const mdm = new FakeMdm(world, addresses[index]!.host)
    const self = { id: null, name: mdm.place, kind: 'manager', role: 'Slave', release: '' }
    mdm.answer = name => {
      if (name === 'queryCluster') return { systemId, term: 1, index: 1, mdms: [], self, ...report }
      if (report?.self?.role === 'Master') return welcome()
      throw new StorageError('NOT_MASTER')
    }
    if (report !== null) await mdm.listen(addresses[index]!)
  }
  const { clock, link } = world.portsOf('tool')
  return world.clock.finish(askCluster({ addresses: asked, systemId, timeoutMs: 1_000, clock, link }))
}

const master = (name: string) => ({ id: null, name, kind: 'manager', role: 'Master', release: '' }) as const
const tieBreaker = { id: null, name: 'mdm-3', kind: 'tieBreaker', role: 'Tie Breaker', release: '' } as const
const member = (n: number) => ({ endpoint: addresses[n - 1] }) as ClusterReport['mdms'][number]

t.test('cluster query: the master answers for all', async t => {
  const { from, report } = await ask(t, [{}, { self: master('mdm-2') }, {}])
  t.same(from, addresses[1])
  t.equal(report.self.name, 'mdm-2')
})

t.test('cluster query: a member that is asked alone leads to the others', async t => {
  const { from } = await ask(t, [{ mdms: [2, 3].map(member) }, {}, { self: master('mdm-3') }], addresses.slice(0, 1))
  t.same(from, addresses[2])
})

t.test('cluster query: without a master the one that knows most answers', async t => {
  const knows = [
    { term: 3, index: 5 },
    { term: 3, index: 8 },
    { term: 9, self: tieBreaker },
  ]
  t.same((await ask(t, knows)).from, addresses[1])
  t.same((await ask(t, [null, null, { term: 9, self: tieBreaker }])).from, addresses[2])
})

t.test('cluster query: if nobody answers it says what came of each address', async t => {
  await t.rejects(ask(t, [null, null, null]), {
    code: 'UNREACHABLE',
    message: /no MDM answers \(tried mdm-1:9011: .*refused.*mdm-2:9011: .*mdm-3:9011: /,
  })
})
