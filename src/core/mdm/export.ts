import type { DeviceId, PoolId } from '../../base/ids.js'
import { GiB, MiB } from '../../base/units.js'
import type { Endpoint, SliceRecord } from '../../model/index.js'
import { configurationOf } from './configuration.js'
import {
  type Document,
  documentDigest,
  documentSchema,
  exportFormat,
  exportVersion,
  formatRanges,
} from './export-format.js'
import type { MdmState } from './state.js'

/** The whole configuration as one readable file: the same state always gives the same text. */
export function exportConfiguration(state: MdmState): string {
  return layOut(documentOf(state))
}

function documentOf(state: MdmState): Document {
  const { system, nextNumber, tables, slices, epochHigh } = configurationOf(state)
  const epochs = new Map(epochHigh)
  const name = (table: keyof typeof tables, id: string): string =>
    (state.map.tables[table].get(id) as { name: string }).name
  const domain = (id: string): string => name('protectionDomains', id)
  const ofPool = (id: PoolId) => {
    const pool = state.map.tables.pools.get(id)!
    return { protectionDomain: domain(pool.protectionDomainId), pool: pool.name }
  }
  const document: Document = {
    format: exportFormat,
    version: exportVersion,
    digest: '',
    system,
    mapVersion: state.map.version,
    nextNumber,
    protectionDomains: tables.protectionDomains,
    faultSets: tables.faultSets.map(({ id, name, protectionDomainId }) => ({
      id,
      name,
      protectionDomain: domain(protectionDomainId),
    })),
    pools: tables.pools.map(({ id, name, protectionDomainId, gracePeriodMs, ...policies }) => ({
      id,
      name,
      protectionDomain: domain(protectionDomainId),
      ...policies,
      ...(gracePeriodMs === undefined ? {} : { gracePeriod: spellMs(gracePeriodMs) }),
      epochHigh: epochs.get(id) ?? 0,
    })),
    sdss: tables.sdss.map(({ id, name: own, protectionDomainId, faultSetId, endpoint, ...sds }) => ({
      id,
      name: own,
      protectionDomain: domain(protectionDomainId),
      faultSet: faultSetId === null ? null : name('faultSets', faultSetId),
      address: spellEndpoint(endpoint),
      ...(sds as Omit<typeof sds, 'maintenance' | 'removing'> & { maintenance?: true; removing?: true }),
    })),
    devices: tables.devices.map(({ id, name: own, sdsId, poolId, capacityBytes, waiting, ...device }) => ({
      id,
      name: own,
      sds: name('sdss', sdsId),
      pool: name('pools', poolId),
      capacity: spellBytes(capacityBytes),
      ...device,
      ...(waiting ? { waiting: { slices: formatRanges(waiting.slices), sameBoot: waiting.sameBoot } } : {}),
    })),
    volumes: tables.volumes.map(({ id, name, poolId, sizeBytes, ...volume }) => ({
      id,
      name,
      ...ofPool(poolId),
      size: spellBytes(sizeBytes),
      ...volume,
    })),
    sdcs: tables.sdcs,
    mappings: tables.mappings.map(({ id, volumeId, sdcId, ...mapping }) => ({
      id,
      volume: name('volumes', volumeId),
      sdc: name('sdcs', sdcId),
      ...mapping,
    })),
    slices: slices.map(([poolId, records]) => ({
      ...ofPool(poolId),
      copies: copiesOf(records, id => name('devices', id)),
    })),
  }
  return { ...document, digest: documentDigest(document) }
}

/** Slices whose records say the same, in one line; lines in the order of their first slices. */
function copiesOf(records: readonly SliceRecord[], name: (id: DeviceId) => string) {
  const groups = new Map<string, { record: SliceRecord; slices: number[] }>()
  for (const record of records) {
    const { primary, secondary, joining, left, epoch, lossEpoch } = record
    const key = [primary, secondary, joining, left, epoch, lossEpoch].join(' ')
    const group = groups.get(key)
    if (group) group.slices.push(record.slice)
    else groups.set(key, { record, slices: [record.slice] })
  }
  return [...groups.values()].map(({ record: { primary, secondary, joining, left, epoch, lossEpoch }, slices }) => ({
    primary: name(primary),
    secondary: secondary === null ? null : name(secondary),
    ...(joining === null ? {} : { joining: name(joining) }),
    // A device that was removed since gives nothing back.
    ...(left ? { left: name(left) } : {}),
    epoch,
    ...(lossEpoch === 0 ? {} : { lossEpoch }),
    slices: formatRanges(slices),
  }))
}

const spellBytes = (bytes: number): string =>
  bytes % GiB === 0 ? `${bytes / GiB} GiB` : bytes % MiB === 0 ? `${bytes / MiB} MiB` : `${bytes} B`
const spellMs = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`)
const spellEndpoint = ({ host, port }: Endpoint): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** JSON with one object of a list a line, its keys in the order of the schema. */
function layOut(document: Document): string {
  const lines = Object.entries(document).map(([key, value]) => {
    if (!Array.isArray(value) || value.length === 0) return `  "${key}": ${inOneLine(value)}`
    const items = key === 'slices' ? (value as Document['slices']).map(layOutSlices) : layOutRows(key, value)
    return `  "${key}": [\n${items.map(item => `    ${item}`).join(',\n')}\n  ]`
  })
  return `{\n${lines.join(',\n')}\n}\n`
}

function layOutRows(table: string, rows: object[]): string[] {
  const keys = Object.keys(documentSchema.entries[table as 'volumes'].item.entries)
  return rows.map(row => inOneLine(Object.fromEntries(keys.map(key => [key, row[key as keyof typeof row]]))))
}

function layOutSlices({ copies, ...pool }: Document['slices'][number]): string {
  const head = inOneLine(pool).slice(0, -2)
  return `${head}, "copies": [\n${copies.map(copy => `      ${inOneLine(copy)}`).join(',\n')}\n    ] }`
}

/** The line breaks that JSON.stringify makes are its only ones: those in texts are escaped. */
const inOneLine = (value: unknown): string => JSON.stringify(value, null, 1).replace(/\n */g, ' ')
