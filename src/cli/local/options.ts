import {
  deviceBytesMin,
  nameLengthMax,
  rmcacheBytesDefault,
  rmcacheBytesMax,
  rmcacheBytesMin,
  sliceCountDefault,
  sliceCountMax,
} from '../../base/limits.js'
import { GiB, volumeStepBytes } from '../../base/units.js'
import type { ClusterMode } from '../../model/objects.js'
import { Mistakes } from '../format/failure.js'
import { formatSize, parseSize } from '../format/size.js'

export interface VolumeWish {
  name: string
  sizeBytes: number
  type: 'thin' | 'thick'
}

/** The shape of a local cluster: fixed when it is made. */
export interface Topology {
  mdms: ClusterMode
  sdss: number
  /** 0: every SDS is a fault unit of its own. */
  faultSets: number
  devicesPerSds: number
  deviceBytes: number
  /** Of the storage pool: fewer make fewer SDSs each other's partners, more share the load more evenly. */
  slices: number
  sdcs: number
  zeroPadding: boolean
  ioMode: 'direct' | 'buffered'
  /** Of each SDS, with direct I/O; 0: none. */
  rmcacheBytes: number
}

/** As commander hands it over: text, only what was given. */
export interface UpTexts {
  mdms?: string
  sdss?: string
  faultSets?: string
  devices?: string
  deviceSize?: string
  slices?: string
  sdcs?: string
  volume?: string[]
  zeroPadding?: string
  buffered?: boolean
  direct?: boolean
  rmcache?: string
  wait?: string
}

export interface UpOptions {
  /** Only what the command line says. */
  wanted: Partial<Topology>
  volumes: VolumeWish[]
  waitMs: number
}

export const topologyDefault: Topology = {
  mdms: 1,
  sdss: 3,
  faultSets: 3,
  devicesPerSds: 1,
  deviceBytes: 16 * GiB,
  slices: sliceCountDefault,
  sdcs: 1,
  zeroPadding: true,
  ioMode: 'direct',
  rmcacheBytes: rmcacheBytesDefault,
}

/** Checks everything that the command line says; throws `Mistakes` with all that is wrong. */
export function parseUpOptions(texts: UpTexts): UpOptions {
  const mistakes: string[] = []
  const wanted: Partial<Topology> = {}
  const number = (option: string, given: string | undefined, min: number, max: number) => {
    if (given === undefined) return undefined
    const value = Number(given)
    if (/^\d+$/.test(given) && value >= min && value <= max) return value
    mistakes.push(`${option} ${given}: must be a whole number from ${min} to ${max}`)
    return undefined
  }
  const put = <K extends keyof Topology>(key: K, value: Topology[K] | undefined) => {
    if (value !== undefined) wanted[key] = value
  }
  const size = (option: string, given: string | undefined, bytesMin: number, bytesMax = Number.POSITIVE_INFINITY) => {
    if (given === undefined) return undefined
    const bytes = collect(mistakes, () => parseSize(given, option))
    if (bytes === undefined || (bytes >= bytesMin && bytes <= bytesMax)) return bytes
    const atMost = bytesMax < Number.POSITIVE_INFINITY ? `, at most ${formatSize(bytesMax)}` : ''
    mistakes.push(`${option} ${given}: at least ${formatSize(bytesMin)}${atMost}`)
    return undefined
  }

  if (texts.mdms !== undefined && !['1', '3', '5'].includes(texts.mdms))
    mistakes.push(`--mdms ${texts.mdms}: an MDM cluster has 1, 3 or 5 members`)
  else put('mdms', texts.mdms === undefined ? undefined : (Number(texts.mdms) as ClusterMode))
  put('sdss', number('--sdss', texts.sdss, 2, 64))
  put('faultSets', number('--fault-sets', texts.faultSets, 0, 64))
  put('devicesPerSds', number('--devices', texts.devices, 1, 64))
  put('deviceBytes', size('--device-size', texts.deviceSize, deviceBytesMin))
  const slices = number('--slices', texts.slices, 1, sliceCountMax)
  if (slices !== undefined && !Number.isInteger(Math.log2(slices)))
    mistakes.push(`--slices ${slices}: must be a power of two`)
  else put('slices', slices)
  put('sdcs', number('--sdcs', texts.sdcs, 0, 64))
  if (texts.zeroPadding !== undefined && !['on', 'off'].includes(texts.zeroPadding))
    mistakes.push(`--zero-padding ${texts.zeroPadding}: must be on or off`)
  else put('zeroPadding', texts.zeroPadding === undefined ? undefined : texts.zeroPadding === 'on')
  put('rmcacheBytes', texts.rmcache === 'off' ? 0 : size('--rmcache', texts.rmcache, rmcacheBytesMin, rmcacheBytesMax))
  if (texts.buffered && texts.rmcache !== undefined)
    mistakes.push('--buffered and --rmcache exclude each other: the page cache is used then')
  if (texts.buffered && texts.direct) mistakes.push('--buffered and --direct exclude each other; give one')
  else put('ioMode', texts.buffered ? 'buffered' : texts.direct ? 'direct' : undefined)

  const volumes = (texts.volume ?? []).flatMap(given => collect(mistakes, () => parseVolumeWish(given)) ?? [])
  for (const volume of volumes)
    if (volumes.find(other => other.name === volume.name) !== volume)
      mistakes.push(`--volume ${volume.name}: the name is given twice`)
  const shape = { ...topologyDefault, ...wanted }
  if (wanted.faultSets === undefined && shape.faultSets > shape.sdss) shape.faultSets = wanted.faultSets = shape.sdss
  if (shape.faultSets > shape.sdss)
    mistakes.push(`--fault-sets ${shape.faultSets}: there are only ${shape.sdss} SDSs to put into them`)
  if (shape.faultSets === 1) mistakes.push('--fault-sets 1: the two copies of a chunk need two fault sets, or none (0)')
  if (volumes.length > 0 && shape.sdcs === 0)
    mistakes.push('--volume: there is no SDC to map volumes to; give --sdcs 1')
  const waitMs = (number('--wait', texts.wait, 1, 86_400) ?? 120) * 1000
  if (mistakes.length > 0) throw new Mistakes(mistakes)
  return { wanted, volumes, waitMs }
}

/** `NAME:SIZE[:thick]`. */
export function parseVolumeWish(given: string): VolumeWish {
  const [name, size, type, ...rest] = given.split(':')
  if (!name || !size || rest.length > 0 || (type !== undefined && type !== 'thick' && type !== 'thin'))
    throw new Mistakes([`--volume ${given}: write NAME:SIZE or NAME:SIZE:thick, as vol1:8G`])
  if (name.length > nameLengthMax)
    throw new Mistakes([`--volume ${given}: a name has at most ${nameLengthMax} characters`])
  const sizeBytes = parseSize(size, `--volume ${given}: the size`)
  if (sizeBytes === 0 || sizeBytes % volumeStepBytes !== 0)
    throw new Mistakes([`--volume ${given}: the size of a volume is a multiple of ${formatSize(volumeStepBytes)}`])
  return { name, sizeBytes, type: type === 'thick' ? 'thick' : 'thin' }
}

/** What differs between a cluster that exists and what a later `up` asks of it. */
export function topologyConflicts(have: Topology, wanted: Partial<Topology>): string[] {
  const options: Record<keyof Topology, string> = {
    mdms: '--mdms',
    sdss: '--sdss',
    faultSets: '--fault-sets',
    devicesPerSds: '--devices',
    deviceBytes: '--device-size',
    slices: '--slices',
    sdcs: '--sdcs',
    zeroPadding: '--zero-padding',
    ioMode: '--direct or --buffered',
    rmcacheBytes: '--rmcache',
  }
  return (Object.keys(wanted) as (keyof Topology)[])
    .filter(key => wanted[key] !== have[key])
    .map(
      key => `${options[key]}: the cluster in this directory was made with ${shown(key, have[key])}; use another --dir`,
    )
}

const shown = (key: keyof Topology, value: Topology[keyof Topology]): string =>
  key === 'deviceBytes' || key === 'rmcacheBytes'
    ? formatSize(value as number)
    : value === true
      ? 'on'
      : value === false
        ? 'off'
        : String(value)

function collect<T>(mistakes: string[], parse: () => T): T | undefined {
  try {
    return parse()
  } catch (error) {
    mistakes.push((error as Error).message)
    return undefined
  }
}
