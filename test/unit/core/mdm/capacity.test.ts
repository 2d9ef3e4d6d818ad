import t from 'tap'
import { GiB } from '../../../../src/base/units.js'
import { addVolume, four, volumeCommand } from './fixture.js'

t.test(
  'capacity: 4 equal fault sets of 16 GiB: three 8 GB thick volumes fit, the fourth would eat the spare',
  async t => {
    const made = four()
    for (const name of ['a', 'b', 'c']) addVolume(made, name, 8, 'thick')
    const error = made.machine.refused('addVolume', volumeCommand(made, 'd', 8, 'thick'))
    t.match(error, { code: 'CAPACITY', context: { volume: 'd', usable: '24 GiB', spare: '16 GiB', taken: '24 GiB' } })
    t.equal(made.machine.refused('addVolume', volumeCommand(made, 'd', 8, 'thin')).code, 'CAPACITY', 'nothing is free')
  },
)

t.test('capacity: what is written to thin volumes counts against thick ones', async t => {
  const made = four()
  addVolume(made, 'a', 16, 'thick')
  t.equal(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thick', 1)).code, 'CAPACITY')
  addVolume(made, 'b', 8, 'thick', 0)
})

t.test('capacity: thin volumes may promise ten times the usable capacity', async t => {
  const made = four()
  const id = addVolume(made, 'a', 240, 'thin')
  t.match(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thin')), { context: { detail: /10 times/ } })
  const grow = { id, sizeBytes: 248 * GiB, thinAllocatedBytes: 0 }
  t.equal(made.machine.refused('growVolume', grow).code, 'CAPACITY')
})

t.test('capacity: growing a thick volume is refused beyond the line, and reserves up to it', async t => {
  const made = four()
  const id = addVolume(made, 'a', 8, 'thick')
  t.equal(made.machine.refused('growVolume', { id, sizeBytes: 32 * GiB, thinAllocatedBytes: 0 }).code, 'CAPACITY')
  made.machine.do('growVolume', { id, sizeBytes: 24 * GiB, thinAllocatedBytes: 0 })
  t.equal(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thick')).code, 'CAPACITY')
})

t.test('capacity: a spare percentage that leaves less than the volumes take is refused', async t => {
  const made = four()
  addVolume(made, 'a', 24, 'thick')
  const set = (sparePercent: number | null) => ({ id: made.pool, sparePercent, thinAllocatedBytes: 0 })
  t.equal(made.machine.refused('setSparePercent', set(26)).code, 'CAPACITY')
  for (const bad of [-1, 99.5, 100, Number.NaN])
    t.equal(made.machine.refused('setSparePercent', set(bad)).code, 'BAD_ARGUMENT', String(bad))
  made.machine.do('setSparePercent', set(10))
})

t.test(
  'sizes: not a multiple of 8 GB, zero, beyond 1 PB, or smaller than before: refused with the size to take',
  async t => {
    const made = four()
    for (const gb of [0, 1, 12, 8.5, 1048584])
      t.match(made.machine.refused('addVolume', volumeCommand(made, 'v', gb, 'thin')), {
        code: 'BAD_ARGUMENT',
        context: { volume: 'v', detail: /multiple of 8 GB/, remedy: /take \d+ GB/ },
      })
    const id = addVolume(made, 'v', 16, 'thin')
    const grow = (gb: number) => ({ id, sizeBytes: gb * GiB, thinAllocatedBytes: 0 })
    t.match(made.machine.refused('growVolume', grow(8)), { code: 'BAD_ARGUMENT', context: { detail: /cannot shrink/ } })
    t.equal(made.machine.refused('growVolume', grow(20)).code, 'BAD_ARGUMENT')
    made.machine.do('growVolume', grow(16))
    t.same(made.machine.lastChanges, [], 'the size that it has changes nothing')
  },
)
