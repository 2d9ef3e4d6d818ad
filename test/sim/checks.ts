import { join } from 'node:path'
import { numberOfId } from '../../src/base/ids.js'
import { chunkBytes } from '../../src/base/units.js'
import { slotOffsetOf } from '../../src/core/store/index.js'
import { type ClusterMap, copiesOf, faultUnitOf, type SliceRecord, type Volume } from '../../src/model/index.js'
import type { MemoryFile } from '../support/index.js'
import type { SimCluster } from './cluster.js'
import { Violation } from './register-checker.js'

/** A slice table as it was when the MDM applied the last entry, to see what each entry did. */
export class RecordWatch {
  #before = new Map<string, SliceRecord>()

  /** Checks what is true of every step from one configuration to the next; returns slices that gave up unsynced writes. */
  step(map: ClusterMap, onChange: (before: SliceRecord, after: SliceRecord) => void): number[] {
    const lost: number[] = []
    for (const [poolId, records] of map.slices)
      for (const record of records) {
        const key = `${poolId}/${record.slice}`
        const before = this.#before.get(key)
        this.#before.set(key, record)
        if (before !== undefined && text(before) === text(record)) continue
        checkPlaces(map, record)
        // While a pool has no volume its table is planned anew.
        if (before === undefined || map.tables.volumes.size === 0) continue
        onChange(before, record)
        checkStep(before, record)
        if (record.lossEpoch > before.lossEpoch) lost.push(record.slice)
      }
    return lost
  }
}

const text = (record: SliceRecord): string => JSON.stringify(record)

function checkPlaces(map: ClusterMap, record: SliceRecord): void {
  const copies = copiesOf(record)
  if (new Set(copies).size !== copies.length) throw new Violation(`a device is twice in ${text(record)}`)
  const { primary, secondary } = record
  if (secondary !== null && faultUnitOf(map, primary) === faultUnitOf(map, secondary))
    throw new Violation(`both copies in one fault set: ${text(record)}`)
}

function checkStep(before: SliceRecord, after: SliceRecord): void {
  const complain = (what: string) => {
    throw new Violation(`${what}: ${text(before)} became ${text(after)}`)
  }
  if (after.epoch <= before.epoch) complain('a change did not raise the epoch')
  if (after.lossEpoch < before.lossEpoch) complain('a loss was forgotten')
  const inSync = [before.primary, before.secondary]
  if (!inSync.includes(after.primary)) complain('a copy that was not in sync is primary')
  if (after.secondary !== null && !inSync.includes(after.secondary) && after.secondary !== before.joining)
    complain('a copy is in sync that was not filled')
}

/** Whether every device has told the MDM of as many slots in use as its index has chunks. */
export const isCounted = (cluster: SimCluster): boolean =>
  [...cluster.map!.tables.devices.keys()].every(id => cluster.slotsUsed(id) === indexOf(cluster, id).size)

/** Whether every device has dropped what is no longer its own. */
export function isTidy(cluster: SimCluster): boolean {
  const map = cluster.map!
  const volumes = new Map([...map.tables.volumes.values()].map(volume => [String(numberOfId(volume.id)), volume]))
  for (const device of map.tables.devices.values())
    for (const name of indexOf(cluster, device.id).keys()) {
      const [number, chunk] = name.split('/') as [string, string]
      const volume = volumes.get(number)
      if (volume === undefined || !copiesOf(recordOf(map, volume, Number(chunk))).includes(device.id)) return false
    }
  return true
}

function recordOf(map: ClusterMap, volume: Volume, chunk: number): SliceRecord {
  const { id, sliceCount } = map.tables.pools.get(volume.poolId)!
  return map.slices.get(id)![(volume.sliceOffset + chunk) % sliceCount]!
}

/** Every device's index and bytes against the map, once nothing is under way. */
export function checkDevices(cluster: SimCluster): void {
  const map = cluster.map!
  const chunksOf = new Map<string, Map<string, number>>()
  for (const device of map.tables.devices.values()) chunksOf.set(device.id, indexOf(cluster, device.id))
  for (const volume of map.tables.volumes.values()) checkVolume(cluster, map, volume, chunksOf)
  for (const [deviceId, chunks] of chunksOf) checkOwners(map, deviceId, chunks)
}

function hostOf(cluster: SimCluster, deviceId: string) {
  const { devices, sdss } = cluster.map!.tables
  const device = devices.get(deviceId)!
  return { ...cluster.world.portsOfHost(sdss.get(device.sdsId)!.name), path: device.path }
}

/** `volume/chunk` to slot. */
function indexOf(cluster: SimCluster, deviceId: string): Map<string, number> {
  const { metaStores } = hostOf(cluster, deviceId)
  const chunks = new Map<string, number>()
  const owners = new Map<number, string>()
  for (const { key, value } of metaStores.peek(join('/state/index', deviceId), ['chunk'])) {
    const name = `${key[1]}/${key[2]}`
    const slot = (value as number) >>> 1
    if (owners.has(slot)) throw new Violation(`slot ${slot} of ${deviceId} belongs to ${owners.get(slot)} and ${name}`)
    owners.set(slot, name)
    chunks.set(name, slot)
  }
  return chunks
}

function checkVolume(
  cluster: SimCluster,
  map: ClusterMap,
  volume: Volume,
  chunksOf: ReadonlyMap<string, ReadonlyMap<string, number>>,
): void {
  const number = numberOfId(volume.id)
  const names = new Set<string>()
  for (const chunks of chunksOf.values())
    for (const name of chunks.keys()) if (name.startsWith(`${number}/`)) names.add(name)
  for (const name of names) {
    const chunk = Number(name.split('/')[1])
    const record = recordOf(map, volume, chunk)
    for (const [deviceId, chunks] of chunksOf)
      if (chunks.has(name) && !copiesOf(record).includes(deviceId as never))
        throw new Violation(`${deviceId} has chunk ${name}, and no part in ${text(record)}`)
    if (record.secondary === null) continue
    const one = bytesOf(cluster, record.primary, chunksOf.get(record.primary)!.get(name))
    const two = bytesOf(cluster, record.secondary, chunksOf.get(record.secondary)!.get(name))
    if (one.equals(two)) continue
    let at = 0
    while (one[at] === two[at]) at++
    throw new Violation(
      `the copies of chunk ${name} differ at ${at} (sector ${chunk * 2048 + Math.floor(at / 512)}): ` +
        `${one.subarray(at, at + 8).toString('hex')} at ${record.primary}, ` +
        `${two.subarray(at, at + 8).toString('hex')} at ${record.secondary}; ${text(record)}`,
    )
  }
}

const hole = Buffer.alloc(chunkBytes)

function bytesOf(cluster: SimCluster, deviceId: string, slot: number | undefined): Buffer {
  if (slot === undefined) return hole
  const { disks, path } = hostOf(cluster, deviceId)
  return (disks.files.get(path) as MemoryFile).peek(slotOffsetOf(slot), chunkBytes)
}

function checkOwners(map: ClusterMap, deviceId: string, chunks: ReadonlyMap<string, number>): void {
  const numbers = new Set([...map.tables.volumes.keys()].map(id => String(numberOfId(id as never))))
  for (const name of chunks.keys())
    if (!numbers.has(name.split('/')[0]!)) throw new Violation(`${deviceId} has chunk ${name} of no volume`)
}
