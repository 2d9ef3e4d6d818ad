import t from 'tap'
import { GiB } from '../../../src/base/units.js'
import { Mistakes } from '../../../src/cli/format/failure.js'
import { parseUpOptions, topologyConflicts, topologyDefault, type UpTexts } from '../../../src/cli/local/options.js'

const mistakesOf = (texts: UpTexts): string[] => {
  try {
    parseUpOptions(texts)
  } catch (error) {
    if (error instanceof Mistakes) return error.mistakes
    throw error
  }
  return []
}

t.test('local up: options become a topology and volumes; what is left out stays open', async t => {
  const options = parseUpOptions({
    sdss: '6',
    faultSets: '3',
    deviceSize: '32GiB',
    slices: '128',
    volume: ['vol1:8G', 'vol2:104GB:thick'],
    zeroPadding: 'off',
    buffered: true,
  })
  t.same(options.wanted, {
    sdss: 6,
    faultSets: 3,
    deviceBytes: 32 * GiB,
    slices: 128,
    zeroPadding: false,
    ioMode: 'buffered',
  })
  t.same(options.volumes, [
    { name: 'vol1', sizeBytes: 8 * GiB, type: 'thin' },
    { name: 'vol2', sizeBytes: 104 * GiB, type: 'thick' },
  ])
})

t.test('local up: every mistake is reported at once', async t => {
  const mistakes = mistakesOf({
    mdms: '4',
    sdss: 'many',
    faultSets: '9',
    deviceSize: '16',
    slices: '100',
    volume: ['vol1', 'vol2:9G', 'vol3:8G', 'vol3:8G'],
    zeroPadding: 'maybe',
    rmcache: '1K',
    buffered: true,
    direct: true,
  })
  t.equal(mistakes.length, 12)
  for (const what of [
    /--mdms 4: an MDM cluster has 1, 3 or 5 members/,
    /--sdss many/,
    /--fault-sets 9/,
    /missing unit/,
    /--slices 100: must be a power of two/,
  ])
    t.match(mistakes.join('\n'), what)
  for (const what of [/vol1: write NAME:SIZE/, /vol2:9G: .*multiple of 8 GB/, /vol3: the name is given twice/])
    t.match(mistakes.join('\n'), what)
  for (const what of [
    /--zero-padding maybe/,
    /--rmcache 1K: at least 4 MB/,
    /--buffered and --direct exclude/,
    /--buffered and --rmcache exclude/,
  ])
    t.match(mistakes.join('\n'), what)
})

t.test(
  'local up: one fault set cannot hold two copies; fewer SDSs than fault sets by default means fewer sets',
  async t => {
    t.match(mistakesOf({ faultSets: '1' }), [/need two fault sets/])
    t.same(parseUpOptions({ sdss: '2' }).wanted, { sdss: 2, faultSets: 2 })
  },
)

t.test('local up: a cluster that exists keeps its shape, and says which option asks for another one', async t => {
  t.same(topologyConflicts(topologyDefault, { sdss: 3, zeroPadding: true }), [])
  t.match(topologyConflicts(topologyDefault, { sdss: 4, deviceBytes: GiB }), [
    /--sdss: .* made with 3/,
    /made with 16 GB/,
  ])
})
