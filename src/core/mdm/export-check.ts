import { StorageError } from '../../base/errors.js'
import { isId, numberOfId, objectNumberMax } from '../../base/ids.js'
import { sliceCountMax, volumeBytesMax } from '../../base/limits.js'
import { chunkBytes, volumeStepBytes } from '../../base/units.js'
import { type ClusterMap, copiesOf, type SliceRecord, type StoragePool } from '../../model/index.js'
import { checkRecord, holdingDevices } from '../placement/index.js'
import { type Configuration, mapOf, objectTables } from './configuration.js'
import { kindOf } from './decider.js'
import { checkBandwidthLimit, checkIopsLimit } from './limits.js'
import { checkName } from './names.js'
import { checkGracePeriod, checkIoPolicy } from './policies.js'

/** At most so many mistakes of one slice table: they are alike. */
const mistakesPerTableMax = 10

/**
 * Everything that holds after any command, checked of a configuration that came from outside: each mistake begins with
 * the object's kind and name. References to objects that are not there count as well. None: it may be put in place.
 */
export function checkConfiguration(configuration: Configuration): string[] {
  const mistakes = [...checkIds(configuration)]
  // What follows looks objects up by their ids.
  if (mistakes.length > 0) return mistakes
  const map = mapOf(configuration)
  mistakes.push(...checkReferences(map))
  if (mistakes.length > 0) return mistakes
  const epochs = new Map(configuration.epochHigh)
  return [
    ...checkNames(configuration),
    ...checkDaemons(configuration),
    ...checkFields(map),
    ...configuration.slices.flatMap(([poolId, records]) => [
      ...checkTable(map, map.tables.pools.get(poolId)!, records, epochs.get(poolId) ?? 0),
    ]),
  ]
}

function* checkIds({ system, nextNumber, tables, slices, epochHigh }: Configuration): Generator<string> {
  if (!isId(system.id)) yield 'system: its id is 16 hexadecimal digits'
  if (!Number.isSafeInteger(nextNumber) || nextNumber < 1 || nextNumber > objectNumberMax + 1)
    yield `nextNumber: it is from 1 to ${objectNumberMax + 1}`
  const seen = new Map<number, string>()
  for (const table of objectTables)
    for (const row of tables[table]) {
      const what = spell(table, row)
      if (!isId(row.id)) yield `${what}: its id is 16 hexadecimal digits`
      const number = numberOfId(row.id)
      if (row.id.slice(0, 8) !== system.id.slice(0, 8)) yield `${what}: its id ${row.id} is of another system`
      if (number < 1 || number >= nextNumber) yield `${what}: the number of its id ${row.id} is not below nextNumber`
      const other = seen.get(number)
      if (other) yield `${what}: its number is also that of ${other}`
      seen.set(number, what)
    }
  const pools = new Set(tables.pools.map(({ id }) => id))
  for (const [poolId] of [...slices, ...epochHigh])
    if (!pools.has(poolId)) yield `slices: there is no storage pool ${poolId}`
}

function* checkReferences({ tables }: ClusterMap): Generator<string> {
  const { protectionDomains, faultSets, pools, sdss, devices, volumes, sdcs, mappings } = tables
  for (const row of [...faultSets.values(), ...pools.values(), ...sdss.values()])
    if (!protectionDomains.has(row.protectionDomainId)) yield `${row.name}: its protection domain does not exist`
  for (const sds of sdss.values()) {
    const faultSet = sds.faultSetId === null ? null : faultSets.get(sds.faultSetId)
    if (faultSet !== null && faultSet?.protectionDomainId !== sds.protectionDomainId)
      yield `${spell('sdss', sds)}: its fault set is not in its protection domain`
  }
  for (const device of devices.values()) {
    const domain = pools.get(device.poolId)?.protectionDomainId
    if (domain === undefined || sdss.get(device.sdsId)?.protectionDomainId !== domain)
      yield `${spell('devices', device)}: its SDS and its storage pool are not in one protection domain`
  }
  for (const volume of volumes.values())
    if (!pools.has(volume.poolId)) yield `${spell('volumes', volume)}: its storage pool does not exist`
  for (const mapping of mappings.values())
    if (!volumes.has(mapping.volumeId) || !sdcs.has(mapping.sdcId))
      yield `mapping ${mapping.id}: its volume or its SDC does not exist`
}

function* checkNames({ system, tables }: Configuration): Generator<string> {
  yield* attempt(`system ${system.name}`, () => checkName('system', system.name))
  const perDomain = new Set(['faultSets', 'pools'])
  for (const table of objectTables) {
    if (table === 'mappings') continue
    const names = new Set<string>()
    for (const row of tables[table]) {
      yield* attempt(spell(table, row), () => checkName(kindOf(table), row.name))
      const name =
        perDomain.has(table) && 'protectionDomainId' in row ? `${row.protectionDomainId} ${row.name}` : row.name
      if (names.has(name)) yield `${spell(table, row)}: the name is given twice`
      names.add(name)
    }
  }
}

/** What tells one process, disk or right from another. */
function* checkDaemons({ tables }: Configuration): Generator<string> {
  yield* once('sdss', tables.sdss, 'guid', ({ guid }) => guid)
  yield* once('sdss', tables.sdss, 'address', ({ endpoint }) => `${endpoint.host}:${endpoint.port}`)
  yield* once('sdcs', tables.sdcs, 'guid', ({ guid }) => guid)
  yield* once('mappings', tables.mappings, 'volume and SDC', ({ volumeId, sdcId }) => `${volumeId} ${sdcId}`)
}

function* once<Row extends { id: string }>(
  table: 'sdss' | 'sdcs' | 'mappings',
  rows: readonly Row[],
  what: string,
  keyOf: (row: Row) => string,
): Generator<string> {
  const seen = new Map<string, Row>()
  for (const row of rows) {
    const other = seen.get(keyOf(row))
    if (other) yield `${spell(table, row)}: it has the ${what} of ${spell(table, other)}`
    seen.set(keyOf(row), row)
  }
}

function* checkFields({ tables }: ClusterMap): Generator<string> {
  for (const pool of tables.pools.values()) {
    const at = spell('pools', pool)
    const { sliceCount, sparePercent, limitPolicy, rebuildPolicy, rebalancePolicy, gracePeriodMs } = pool
    if (!Number.isInteger(Math.log2(sliceCount)) || sliceCount > sliceCountMax)
      yield `${at}: the number of slices is a power of two from 1 to ${sliceCountMax}`
    if (sparePercent !== null && !(sparePercent >= 0 && sparePercent <= 99))
      yield `${at}: the spare percentage is from 0 to 99`
    if (limitPolicy) yield* attempt(at, () => checkIopsLimit(limitPolicy.iops, {}))
    for (const policy of [rebuildPolicy, rebalancePolicy])
      if (policy) yield* attempt(at, () => checkIoPolicy(policy, pool.name))
    if (gracePeriodMs !== undefined) yield* attempt(at, () => checkGracePeriod(gracePeriodMs, pool.name))
  }
  for (const device of tables.devices.values()) {
    const at = spell('devices', device)
    if (device.capacityBytes % chunkBytes !== 0) yield `${at}: its capacity is a whole number of MiB`
    if (device.capacityBytes === 0 && device.state === 'ready') yield `${at}: a ready device has a capacity`
    const { sliceCount } = tables.pools.get(device.poolId)!
    if (device.waiting?.slices.some(slice => slice >= sliceCount))
      yield `${at}: it waits with a slice that does not exist`
  }
  for (const volume of tables.volumes.values()) {
    const at = spell('volumes', volume)
    const { sizeBytes, sliceOffset } = volume
    if (sizeBytes <= 0 || sizeBytes % volumeStepBytes !== 0 || sizeBytes > volumeBytesMax)
      yield `${at}: its size is a multiple of 8 GiB, up to 1 PiB`
    if (sliceOffset >= tables.pools.get(volume.poolId)!.sliceCount) yield `${at}: its sliceOffset is below sliceCount`
  }
  for (const mapping of tables.mappings.values()) {
    yield* attempt(`mapping ${mapping.id}`, () => checkIopsLimit(mapping.iopsLimit, {}))
    yield* attempt(`mapping ${mapping.id}`, () => checkBandwidthLimit(mapping.bandwidthLimitKbPerSec, {}))
  }
  const placed = new Set([...tables.volumes.values()].map(({ poolId }) => poolId))
  for (const device of tables.devices.values()) placed.delete(device.poolId)
  for (const poolId of placed) yield `${spell('pools', tables.pools.get(poolId)!)}: it has volumes and no devices`
}

function* checkTable(
  map: ClusterMap,
  pool: StoragePool,
  records: readonly SliceRecord[],
  epochHigh: number,
): Generator<string> {
  const at = spell('pools', pool)
  if (records.length !== pool.sliceCount)
    return yield `${at}: its table has ${records.length} of ${pool.sliceCount} slices`
  const units = new Map(holdingDevices(map, pool.id).map(device => [device.deviceId as string, device.faultUnit]))
  let mistakes = 0
  for (const record of records) {
    const where = `${at}, slice ${record.slice}`
    const found = [
      ...attempt(where, () => checkRecord(units, record)),
      ...(record.epoch > epochHigh ? [`${where}: its epoch is above the pool’s epochHigh`] : []),
      ...(new Set(copiesOf(record)).size < copiesOf(record).length ? [`${where}: a device holds two copies`] : []),
    ]
    yield* found
    mistakes += found.length
    if (mistakes >= mistakesPerTableMax) return yield `${at}: and more in its other slices`
  }
}

/** The mistake that a rule of the commands finds. */
function* attempt(where: string, check: () => void): Generator<string> {
  try {
    check()
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    const { detail, device } = error.context
    yield `${where}: ${String(detail)}${device === undefined ? '' : ` (device ${device})`}`
  }
}

const spell = (table: (typeof objectTables)[number], row: { id: string; name?: string }): string =>
  `${kindOf(table)} ${row.name ?? row.id}`
