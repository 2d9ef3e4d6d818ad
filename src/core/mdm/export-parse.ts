import * as v from 'valibot'
import type { DeviceId, Id, PoolId } from '../../base/ids.js'
import type { SliceRecord } from '../../model/index.js'
import { sentence } from '../../wire/schema.js'
import type { Configuration } from './configuration.js'
import { checkConfiguration } from './export-check.js'
import { documentDigest, documentSchema, exportFormat, exportVersion, type ReadDocument } from './export-format.js'

export type Parsed = { configuration: Configuration; mapVersion: number } | { mistakes: string[] }

/** Reads an exported configuration; or everything that is wrong with it, each mistake beginning with where it is. */
export function parseConfiguration(text: string): Parsed {
  const json = parseJson(text)
  if ('mistake' in json) return { mistakes: [json.mistake] }
  const stranger = checkHead(json.value)
  if (stranger !== null) return { mistakes: [stranger] }
  const checked = v.safeParse(documentSchema, json.value, { message: sentence })
  if (!checked.success)
    return { mistakes: checked.issues.map(({ path, message }) => `${where(json.value, path)}: ${message}`) }
  const mistakes: string[] = []
  if (checked.output.digest !== documentDigest(json.value as object))
    mistakes.push('digest: it does not match the content; the file was changed or damaged after the export')
  const configuration = new Resolver(checked.output, mistakes).resolve()
  if (mistakes.length === 0) mistakes.push(...checkConfiguration(configuration))
  return mistakes.length > 0 ? { mistakes } : { configuration, mapVersion: checked.output.mapVersion }
}

function parseJson(text: string): { value: unknown } | { mistake: string } {
  try {
    return { value: JSON.parse(text) }
  } catch (error) {
    return { mistake: `the file is not JSON: ${(error as Error).message}; is it whole?` }
  }
}

/** A file of another kind or of a later release; null: it is one of ours. */
function checkHead(value: unknown): string | null {
  const { format, version } = (value ?? {}) as { format?: unknown; version?: unknown }
  if (format !== exportFormat) return `format: this is no exported configuration (want ${JSON.stringify(exportFormat)})`
  if (typeof version === 'number' && version > exportVersion)
    return `version: ${version} is newer than this program knows (${exportVersion}); import it with a newer release`
  return null
}

/** `devices[3] (device-7).capacity` */
function where(document: unknown, path: readonly v.IssuePathItem[] = []): string {
  let at = document as Record<string, unknown> | undefined
  let text = ''
  for (const { key } of path) {
    at = at?.[String(key)] as typeof at
    text += typeof key === 'number' ? `[${key}]` : `${text === '' ? '' : '.'}${String(key)}`
    if (typeof key === 'number' && typeof at?.name === 'string') text += ` (${at.name})`
  }
  return text === '' ? 'the file' : text
}

/** Turns names into ids; notes those that name nothing. */
class Resolver {
  readonly #domains: Map<string, string>
  readonly #sdss: Map<string, string>
  readonly #sdcs: Map<string, string>
  readonly #volumes: Map<string, string>
  readonly #devices: Map<string, string>
  /** Of a protection domain and their own name. */
  readonly #pools: Map<string, string>
  readonly #faultSets: Map<string, string>

  constructor(
    readonly document: ReadDocument,
    readonly mistakes: string[],
  ) {
    const named = (rows: { id: string; name: string }[]) => new Map(rows.map(({ id, name }) => [name, id]))
    const inDomain = (rows: { id: string; name: string; protectionDomain: string }[]) =>
      new Map(rows.map(({ id, name, protectionDomain }) => [`${protectionDomain} ${name}`, id]))
    this.#domains = named(document.protectionDomains)
    this.#sdss = named(document.sdss)
    this.#sdcs = named(document.sdcs)
    this.#volumes = named(document.volumes)
    this.#devices = named(document.devices)
    this.#pools = inDomain(document.pools)
    this.#faultSets = inDomain(document.faultSets)
  }

  resolve(): Configuration {
    const { document } = this
    const domainOfSds = new Map(document.sdss.map(({ name, protectionDomain }) => [name, protectionDomain]))
    const slices = this.#each('slices', document.slices, ({ protectionDomain, pool, copies }, at) => {
      const poolId = this.#pool(protectionDomain, pool, at)
      return [poolId, this.#records(copies, at)] satisfies Configuration['slices'][number]
    })
    return {
      system: document.system as Configuration['system'],
      nextNumber: document.nextNumber,
      epochHigh: document.pools
        .filter(({ epochHigh }) => epochHigh > 0)
        .map(({ id, epochHigh }) => [id as PoolId, epochHigh]),
      slices: slices.sort(([a], [b]) => (a < b ? -1 : 1)),
      tables: {
        protectionDomains: document.protectionDomains as Configuration['tables']['protectionDomains'],
        faultSets: this.#each('faultSets', document.faultSets, ({ id, name, protectionDomain }, at) => ({
          id: id as Id<'faultSet'>,
          name,
          protectionDomainId: this.#find(this.#domains, 'protection domain', protectionDomain, at),
        })),
        pools: this.#each('pools', document.pools, (row, at) => {
          const { id, name, protectionDomain, gracePeriod, epochHigh: _, rebuildPolicy, rebalancePolicy, ...pool } = row
          return {
            id: id as PoolId,
            name,
            protectionDomainId: this.#find(this.#domains, 'protection domain', protectionDomain, at),
            ...pool,
            ...(rebuildPolicy === undefined ? {} : { rebuildPolicy }),
            ...(rebalancePolicy === undefined ? {} : { rebalancePolicy }),
            ...(gracePeriod === undefined ? {} : { gracePeriodMs: gracePeriod }),
          }
        }),
        sdss: this.#each('sdss', document.sdss, (row, at) => {
          const { id, name, protectionDomain, faultSet, address, maintenance, removing, ...sds } = row
          return {
            id: id as Id<'sds'>,
            name,
            protectionDomainId: this.#find(this.#domains, 'protection domain', protectionDomain, at),
            faultSetId:
              faultSet === null
                ? null
                : this.#find<'faultSet'>(this.#faultSets, 'fault set', `${protectionDomain} ${faultSet}`, at),
            endpoint: address,
            ...sds,
            ...(maintenance ? { maintenance } : {}),
            ...(removing ? { removing } : {}),
          }
        }),
        devices: this.#each('devices', document.devices, (row, at) => {
          const { id, name, sds, pool, capacity, waiting, incarnation, ...device } = row
          return {
            id: id as DeviceId,
            name,
            sdsId: this.#find<'sds'>(this.#sdss, 'SDS', sds, at),
            poolId: this.#pool(domainOfSds.get(sds) ?? '', pool, at),
            capacityBytes: capacity,
            ...device,
            ...(waiting ? { waiting } : {}),
            ...(incarnation === undefined ? {} : { incarnation }),
          }
        }),
        volumes: this.#each('volumes', document.volumes, (row, at) => {
          const { id, name, protectionDomain, pool, size, ...volume } = row
          const poolId = this.#pool(protectionDomain, pool, at)
          return { id: id as Id<'volume'>, name, poolId, sizeBytes: size, ...volume }
        }),
        sdcs: document.sdcs as Configuration['tables']['sdcs'],
        mappings: this.#each('mappings', document.mappings, ({ id, volume, sdc, ...mapping }, at) => ({
          id: id as Id<'mapping'>,
          volumeId: this.#find<'volume'>(this.#volumes, 'volume', volume, at),
          sdcId: this.#find<'sdc'>(this.#sdcs, 'SDC', sdc, at),
          ...mapping,
        })),
      },
    }
  }

  /** One record a slice, in order. What is named twice or not at all is a mistake. */
  #records(copies: ReadDocument['slices'][number]['copies'], at: string): SliceRecord[] {
    const records: SliceRecord[] = []
    copies.forEach((group, index) => {
      const where = `${at}.copies[${index}]`
      const device = (name: string) => this.#find<'device'>(this.#devices, 'device', name, where)
      const shared = {
        epoch: group.epoch,
        primary: device(group.primary),
        secondary: group.secondary === null ? null : device(group.secondary),
        joining: group.joining === undefined ? null : device(group.joining),
        lossEpoch: group.lossEpoch ?? 0,
        left: group.left === undefined ? null : device(group.left),
      }
      for (const slice of group.slices) {
        if (records[slice]) this.mistakes.push(`${where}: slice ${slice} is named twice`)
        records[slice] = { slice, ...shared }
      }
    })
    for (let slice = 0; slice < records.length; slice++) {
      if (records[slice]) continue
      this.mistakes.push(`${at}: slice ${slice} is not named`)
      break
    }
    return records
  }

  #each<Row extends object, Made>(table: string, rows: Row[], make: (row: Row, at: string) => Made): Made[] {
    return rows.map((row, index) => {
      const name = 'name' in row ? ` (${row.name})` : ''
      return make(row, `${table}[${index}]${name}`)
    })
  }

  #pool(protectionDomain: string, pool: string, at: string): PoolId {
    return this.#find<'pool'>(this.#pools, 'storage pool', `${protectionDomain} ${pool}`, at)
  }

  #find<Kind extends string>(table: Map<string, string>, what: string, name: string, at: string): Id<Kind> {
    const id = table.get(name)
    if (id === undefined) this.mistakes.push(`${at}: there is no ${what} ${JSON.stringify(name)} in the file`)
    return (id ?? '') as Id<Kind>
  }
}
