import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import type { ClusterMdm, ClusterReport, SystemReport } from '../../wire/control.js'
import { suggest } from '../format/suggest.js'
import { idValue, nameValue, text } from './values.js'

/**
 * The options that name an object, and how they are found in a report. Commands send ids to the MDM, never names, so
 * that a name that looks like an id means what the option says.
 */
export const namesDomain = {
  protection_domain_id: idValue('protection domain, by id'),
  protection_domain_name: nameValue('protection domain, by name'),
}
export const namesFaultSet = {
  fault_set_id: idValue('fault set, by id'),
  fault_set_name: nameValue('fault set, by name'),
}
export const namesPool = {
  storage_pool_id: idValue('storage pool, by id'),
  storage_pool_name: nameValue('storage pool, by name'),
}
export const namesSds = {
  sds_id: idValue('SDS, by id'),
  sds_name: nameValue('SDS, by name'),
  sds_ip: text('IP[:PORT]', 'SDS, by the address of its data endpoint'),
}
export const namesDevice = {
  device_id: idValue('device, by id'),
  device_name: nameValue('device, by name'),
  device_path: text('PATH', 'device, by its path (with the SDS)'),
}
export const namesVolume = {
  volume_id: idValue('volume, by id'),
  volume_name: nameValue('volume, by name'),
}
export const namesSdc = {
  sdc_id: idValue('SDC, by id'),
  sdc_name: nameValue('SDC, by name'),
  sdc_guid: text('GUID', 'SDC, by its GUID'),
  sdc_ip: text('IP', 'SDC, by the address that it connects from'),
}

type Given = { readonly [option: string]: unknown }

export const domainOf = (report: SystemReport, given: Given) =>
  pick(report.protectionDomains, 'protection domain', given, {
    protection_domain_id: (domain, want) => domain.id === want,
    protection_domain_name: (domain, want) => domain.name === want,
  })

/** null where neither option is given. */
export const domainIfGiven = (report: SystemReport, given: Given) =>
  given.protection_domain_id === undefined && given.protection_domain_name === undefined
    ? null
    : domainOf(report, given)

export const faultSetOf = (report: SystemReport, given: Given) =>
  pick(inDomain(report, report.faultSets, given), 'fault set', given, {
    fault_set_id: (faultSet, want) => faultSet.id === want,
    fault_set_name: (faultSet, want) => faultSet.name === want,
  })

export const poolOf = (report: SystemReport, given: Given) =>
  pick(inDomain(report, report.pools, given), 'storage pool', given, {
    storage_pool_id: (pool, want) => pool.id === want,
    storage_pool_name: (pool, want) => pool.name === want,
  })

export const sdsOf = (report: SystemReport, given: Given) =>
  pick(report.sdss, 'SDS', given, {
    sds_id: (sds, want) => sds.id === want,
    sds_name: (sds, want) => sds.name === want,
    sds_ip: (sds, want) => isAt(sds.endpoint, want),
  })

export function deviceOf(report: SystemReport, given: Given) {
  const namesAnSds = Object.keys(namesSds).some(option => given[option] !== undefined)
  const sds = namesAnSds ? sdsOf(report, given) : null
  const devices = sds ? report.devices.filter(device => device.sdsId === sds.id) : report.devices
  return pick(devices, 'device', given, {
    device_id: (device, want) => device.id === want,
    device_name: (device, want) => device.name === want,
    device_path: (device, want) => device.path === want || device.originalPath === want,
  })
}

export const volumeOf = (report: SystemReport, given: Given) =>
  pick(report.volumes, 'volume', given, {
    volume_id: (volume, want) => volume.id === want,
    volume_name: (volume, want) => volume.name === want,
  })

export const sdcOf = (report: SystemReport, given: Given) =>
  pick(report.sdcs, 'SDC', given, {
    sdc_id: (sdc, want) => sdc.id === want,
    sdc_name: (sdc, want) => sdc.name === want,
    sdc_guid: (sdc, want) => sdc.guid.toLowerCase() === want.toLowerCase(),
    sdc_ip: (sdc, want) => sdc.address !== null && isAt(sdc.address, want),
  })

/** The MDMs that `PREFIX_id`, `PREFIX_name` and `PREFIX_ip` name, each a list with commas; [] where none is given. */
export function mdmsOf({ mdms }: ClusterReport, given: Given, prefix: string): ClusterMdm[] {
  const tests = {
    [`${prefix}_id`]: (mdm: ClusterMdm, want: string) => mdm.id === want.toLowerCase().replace(/^0x/, ''),
    [`${prefix}_name`]: (mdm: ClusterMdm, want: string) => mdm.name === want,
    [`${prefix}_ip`]: (mdm: ClusterMdm, want: string) => isAt(mdm.endpoint, want),
  }
  return Object.keys(tests).flatMap(option =>
    String(given[option] ?? '')
      .split(',')
      .filter(want => want !== '')
      .map(want => pick(mdms, 'MDM', { [option]: want.trim() }, tests)),
  )
}

const isAt = (endpoint: Endpoint, want: string): boolean =>
  endpoint.host === want || `${endpoint.host}:${endpoint.port}` === want

function inDomain<T extends { protectionDomainId: string }>(report: SystemReport, objects: T[], given: Given): T[] {
  const domain = domainIfGiven(report, given)
  return domain ? objects.filter(object => object.protectionDomainId === domain.id) : objects
}

function pick<T extends { id: string; name: string }>(
  objects: readonly T[],
  noun: string,
  given: Given,
  tests: Record<string, (object: T, want: string) => boolean>,
): T {
  const option = Object.keys(tests).find(name => given[name] !== undefined)
  const want = option === undefined ? '' : String(given[option])
  const found = option === undefined ? [] : objects.filter(object => tests[option]!(object, want))
  if (found.length === 1) return found[0]!
  if (found.length > 1)
    throw new StorageError('BAD_ARGUMENT', {
      detail: `--${option} ${want} names ${found.length} objects (${found.map(object => `${object.name} ${object.id}`).join(', ')})`,
      remedy: 'name it by its id, or say where it is (protection domain, SDS)',
    })
  const near = suggest(
    want,
    objects.map(object => object.name),
  )
  throw new StorageError('NOT_FOUND', {
    detail: `there is no ${noun} with ${(option ?? 'that name').replace(/^.*_/, '')} ${want}`,
    remedy:
      near.length > 0 ? `did you mean ${near.join(' or ')}?` : `list them with ${listVerb[noun] ?? '--query_all'}`,
  })
}

const listVerb: Record<string, string> = {
  'fault set': '--query_all_fault_sets',
  SDS: '--query_all_sds',
  SDC: '--query_all_sdc',
  volume: '--query_all_volumes',
  device: '--query_all_devices',
  MDM: '--query_cluster',
}
