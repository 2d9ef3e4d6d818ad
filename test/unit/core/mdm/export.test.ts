import fc from 'fast-check'
import t from 'tap'
import type { DeviceId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { mapOf } from '../../../../src/core/mdm/configuration.js'
import { documentDigest, formatRanges, parseRanges } from '../../../../src/core/mdm/export-format.js'
import {
  type Configuration,
  checkConfiguration,
  configurationOf,
  digest,
  exportConfiguration,
  type MdmState,
  parseConfiguration,
} from '../../../../src/core/mdm/index.js'
import { addDevice, addSdc, addSds, addVolume, cluster, mapping, opened, registers } from './fixture.js'

/** A system with something of everything. */
function busyCluster() {
  const made = cluster([16 * GiB, 16 * GiB, 8 * GiB])
  const { machine, pool, sdss, devices } = made
  const volume = addVolume(made, 'v', 8, 'thick')
  addVolume(made, 'w', 16, 'thin')
  machine.do('mapVolume', { ...mapping(volume, addSdc(made, 'one')), iopsLimit: 500 })
  machine.do('setLimitPolicy', { id: pool, policy: { iops: 500, bandwidthKbPerSecPerGb: 256 } })
  machine.do('setRebuildPolicy', {
    id: pool,
    policy: { kind: 'favorAppIos', concurrentIos: 3, bandwidthKbPerSec: 2048 },
  })
  machine.do('setGracePeriod', { id: pool, gracePeriodMs: 1_500 })
  const { id: other } = machine.do('addProtectionDomain', { name: 'pd2' })
  machine.do('addPool', {
    protectionDomainId: other,
    name: 'pool1',
    zeroPadding: false,
    sparePercent: 12,
    sliceCount: 8,
  })
  machine.do('addDevice', { sdsId: sdss[0]!, poolId: pool, path: '/dev/"new"\n', name: null })
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })], [])
  registers(made, 1, 'p1-2', [opened(devices[1]!, { cleanStop: false, sameBoot: false })], devices, true)
  return made
}

const parsed = (text: string): Configuration => {
  const result = parseConfiguration(text)
  if ('mistakes' in result) throw new Error(result.mistakes.join('\n'))
  return result.configuration
}
const mistakesIn = (text: string): string[] => {
  const result = parseConfiguration(text)
  return 'mistakes' in result ? result.mistakes : []
}
/** The text with one thing changed by somebody who knows how to compute the digest. */
const forged = (text: string, change: (document: never) => void): string => {
  const document = JSON.parse(text)
  change(document as never)
  document.digest = documentDigest(document)
  return JSON.stringify(document)
}

/** What was exported, with nothing that is not of the configuration. */
const asState = (configuration: Configuration): MdmState => ({
  map: mapOf(configuration),
  nextNumber: configuration.nextNumber,
  epochHigh: new Map(configuration.epochHigh),
  answers: new Map(),
})

t.test('an export is read back as exactly the configuration, and exported again as the same text', async t => {
  const { state } = busyCluster().machine
  const text = exportConfiguration(state)
  const configuration = parsed(text)
  t.same(configuration, configurationOf(state))
  t.equal(digest(asState(configuration)), digest({ ...state, answers: new Map() }))
  const again = asState(configuration)
  again.map.version = state.map.version
  t.equal(exportConfiguration(again), text)
})

t.test('any history of commands leaves a configuration that is sound, and survives export and parsing', async t => {
  const steps = fc.array(fc.tuple(fc.nat(9), fc.nat(5), fc.nat(3)), { maxLength: 25 })
  fc.assert(
    fc.property(steps, history => {
      const made = cluster([16 * GiB, 24 * GiB, 8 * GiB], 16)
      const { machine, pool, domain, sdss, devices } = made
      history.forEach(([what, which, how], at) => {
        const { tables } = machine.state.map
        const volumes = [...tables.volumes.values()]
        const volume = volumes[which % Math.max(1, volumes.length)]
        const sdcs = [...tables.sdcs.values()]
        if (what === 0) machine.try('addProtectionDomain', { name: `domain-${which}` })
        if (what === 1) machine.try('addFaultSet', { protectionDomainId: domain, name: `rack-${which}` })
        if (what === 2) addDevice(made, addSds(made, 10 + at), (8 + which) * GiB)
        if (what === 3) attempt(() => addVolume(made, `v${at}`, 8 * (1 + which), how > 1 ? 'thin' : 'thick'))
        if (what === 4) addSdc(made, `sdc ${which}`)
        if (what === 5 && volume && sdcs[0]) machine.try('mapVolume', mapping(volume.id, sdcs[which % sdcs.length]!.id))
        if (what === 6 && volume) machine.try('removeVolume', { id: volume.id })
        if (what === 7) machine.try('setGracePeriod', { id: pool, gracePeriodMs: which === 0 ? null : which * 700 })
        if (what === 8) {
          const fields = { cleanStop: how > 1, sameBoot: how !== 0 }
          registers(made, which % sdss.length, `p-${at}`, devicesOf(which % sdss.length, fields), devices, how === 3)
        }
        if (what === 9 && volume) machine.try('renameVolume', { id: volume.id, name: `renamed-${how}` })
      })
      const { state } = machine
      const configuration = configurationOf(state)
      t.same(checkConfiguration(configuration), [])
      t.same(parsed(exportConfiguration(state)), configuration)

      function devicesOf(index: number, fields: { cleanStop: boolean; sameBoot: boolean }) {
        const own = [...machine.state.map.tables.devices.values()].filter(({ sdsId }) => sdsId === sdss[index])
        return own.map(({ id }) => opened(id as DeviceId, fields))
      }
    }),
    { numRuns: 60 },
  )
})

t.test('the file is meant for people: names, units, and slices with the same copies in one line', async t => {
  const text = exportConfiguration(busyCluster().machine.state)
  t.match(text, /"name": "v", "protectionDomain": "pd1", "pool": "pool1", "size": "8 GiB", "type": "thick"/)
  t.match(text, /"gracePeriod": "1500 ms"/)
  t.match(text, /"capacity": "16 GiB"/)
  t.match(
    text,
    /\{ "primary": "device-\d+", "secondary": null, "joining": "device-\d+", "left": .*"slices": "[\d -]+" \}/,
  )
  t.ok(text.split('\n').length < 120, 'it is not one line a slice')
})

t.test('a file that was changed, cut or damaged is refused', async t => {
  const text = exportConfiguration(busyCluster().machine.state)
  t.match(mistakesIn(text.replace('"8 GiB"', '"16 GiB"')), [/^digest: .*changed or damaged/])
  t.match(mistakesIn(text.slice(0, -20)), [/not JSON/])
  t.match(mistakesIn('{}'), [/^format: this is no exported configuration/])
  t.match(mistakesIn('null'), [/^format/])
  t.equal(parsed(JSON.stringify(JSON.parse(text))).system.name, 'sys', 'how it is laid out does not matter')
})

t.test('a file of a later release is refused, and says how to go on', async t => {
  const text = exportConfiguration(busyCluster().machine.state)
  const later = forged(text, (document: { version: number }) => document.version++)
  t.match(mistakesIn(later), [/^version: 2 is newer than this program knows \(1\); import it with a newer release/])
})

t.test('all mistakes are told at once, each with its place', async t => {
  const text = exportConfiguration(busyCluster().machine.state)
  const malformed = forged(text, (document: { volumes: { size: unknown }[]; pools: { sliceCount: unknown }[] }) => {
    document.volumes[1]!.size = '8 parsecs'
    document.pools[0]!.sliceCount = 'many'
  })
  t.match(mistakesIn(malformed), [
    /^pools\[0\] \(pool1\)\.sliceCount: /,
    /^volumes\[1\] \(w\)\.size: "8 parsecs": not a size/,
  ])
  const strange = forged(text, (document: { pools: object[]; sdcs: { name?: string }[] }) => {
    document.pools[0] = { ...document.pools[0], colour: 'red' }
    delete document.sdcs[0]!.name
  })
  t.same(mistakesIn(strange), ['pools[0] (pool1).colour: there is no such field', 'sdcs[0].name: it is missing'])
  const dangling = forged(text, (document: { devices: { sds: string }[]; mappings: { volume: string }[] }) => {
    document.devices[0]!.sds = 'nobody'
    document.mappings[0]!.volume = 'nothing'
  })
  t.match(mistakesIn(dangling), [
    /^devices\[0\] \(device-\d+\): there is no SDS "nobody"/,
    /^devices\[0\] \(device-\d+\): there is no storage pool/,
    /^mappings\[0\]: there is no volume "nothing"/,
  ])
})

t.test('what no command could have made is refused', async t => {
  const { state } = busyCluster().machine
  const found = (change: (configuration: Configuration) => void): string[] => {
    const configuration = structuredClone(configurationOf(state))
    change(configuration)
    return checkConfiguration(configuration)
  }
  t.match(
    found(({ tables }) => {
      tables.volumes[0]!.name = tables.volumes[1]!.name
      tables.sdss[0]!.guid = tables.sdss[1]!.guid
    }),
    [/^volume w: the name is given twice/, /^SDS sds-1: it has the guid of SDS sds-0/],
  )
  t.match(
    found(configuration => {
      configuration.nextNumber = 5
    }),
    [/its id [0-9a-f]+ is not below nextNumber/],
  )
  t.match(
    found(({ tables }) => {
      tables.sdss[1]!.faultSetId = tables.sdss[0]!.faultSetId
    }).slice(0, 1),
    [/^storage pool pool1, slice \d+: .*two copies never stand in one fault unit/],
  )
  t.match(
    found(({ slices }) => slices[0]![1].pop()),
    [/^storage pool pool1: its table has 63 of 64 slices/],
  )
  t.match(
    found(({ slices }) => {
      slices[0]![1][7]!.epoch = 10_000
    }),
    [/^storage pool pool1, slice 7: its epoch is above/],
  )
  t.match(
    found(({ tables }) => {
      tables.volumes[0]!.sizeBytes = 9 * GiB
      tables.volumes[1]!.sliceOffset = 64
      tables.mappings[0]!.iopsLimit = 3
    }),
    [/^volume v: its size/, /^volume w: its sliceOffset/, /^mapping .*: a limit of IOPS/],
  )
  t.match(
    found(({ tables }) => {
      tables.devices[0]!.id = tables.devices[1]!.id
    }),
    [/its number is also that of device/],
  )
})

t.test('lists of slices are written as ranges and read back', async t => {
  t.equal(formatRanges([0, 3, 4, 5, 9]), '0 3-5 9')
  t.equal(formatRanges([]), '')
  t.throws(() => parseRanges('3-1'), /ascending/)
  t.throws(() => parseRanges('1 1'), /ascend/)
  t.throws(() => parseRanges('1-99999999999'), /ascending/)
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(200)), numbers => {
      const sorted = [...numbers].sort((a, b) => a - b)
      t.same(parseRanges(formatRanges(sorted)), sorted)
    }),
    { numRuns: 50 },
  )
})

function attempt(action: () => void): void {
  try {
    action()
  } catch {
    // Refused for want of capacity or a name: one of the histories that there are.
  }
}
