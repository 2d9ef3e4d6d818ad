import { join } from 'node:path'
import { numberOfId } from '../../src/base/ids.js'
import { chunkBytes } from '../../src/base/units.js'
import { slotOffsetOf } from '../../src/core/store/index.js'
import type { ClusterMap, SliceRecord } from '../../src/model/index.js'
import { type MemoryFile, pageBytes } from '../support/index.js'
import type { SimCluster } from './cluster.js'
import { Violation } from './register-checker.js'

const everyMs = 250

/** What one device holds, as its process would find it if it started now. */
interface Content {
  file: MemoryFile
  /** `volume/chunk` to slot. */
  slots: ReadonlyMap<string, number>
  marked: ReadonlySet<string>
}

/**
 * What has to be true at every moment, whoever runs and whatever is under way (looked at now and then):
 *
 * * outside the regions that either side has marked, the bytes of the two copies in sync are equal;
 * * no device knows a slice in a higher epoch than the MDM.
 */
export class Invariants {
  checks = 0

  constructor(
    readonly cluster: SimCluster,
    /** A device has lost what it held and the MDM cannot know yet, or no MDM that runs has applied what one has told. */
    readonly isExcused: () => boolean,
    readonly fail: (error: Error) => void,
  ) {}

  start(): void {
    this.cluster.clock.setTimer(everyMs, () => {
      try {
        this.check()
      } catch (error) {
        this.fail(error as Error)
      }
      this.start()
    })
  }

  check(): void {
    const { map } = this.cluster
    if (map === null || this.isExcused()) return
    const contents = new Map<string, Content>()
    for (const device of map.tables.devices.values()) {
      const content = device.state === 'ready' ? this.#contentOf(map, device.id) : null
      if (content !== null) contents.set(device.id, content)
      this.#checkEpochs(map, device.id)
    }
    for (const volume of map.tables.volumes.values()) {
      const records = map.slices.get(volume.poolId) ?? []
      const number = numberOfId(volume.id)
      for (const name of namesOf(contents.values(), number)) {
        const record = records[(volume.sliceOffset + Number(name.split('/')[1])) % records.length]
        if (record !== undefined) this.#checkCopies(record, name, contents)
      }
    }
    this.checks++
  }

  #checkCopies(record: SliceRecord, name: string, contents: ReadonlyMap<string, Content>): void {
    const { primary, secondary } = record
    const one = contents.get(primary)
    const two = secondary === null ? undefined : contents.get(secondary)
    if (one === undefined || two === undefined || one.marked.has(name) || two.marked.has(name)) return
    const at = differenceOf(one, two, name)
    if (at === null) return
    throw new Violation(`chunk ${name} is marked nowhere, and its copies differ at ${at}: ${JSON.stringify(record)}`)
  }

  #checkEpochs(map: ClusterMap, deviceId: string): void {
    const { metaStores } = this.#hostOf(map, deviceId)
    for (const { key, value } of metaStores.peek(join('/state/index', deviceId), ['epoch'])) {
      const [, pool, slice] = key as [string, number, number]
      for (const [poolId, records] of map.slices) {
        const record = numberOfId(poolId) === pool ? records[slice] : undefined
        if (record !== undefined && (value as number) > record.epoch)
          throw new Violation(`${deviceId} knows epoch ${value}, the MDM ${JSON.stringify(record)}`)
      }
    }
  }

  #hostOf({ tables }: ClusterMap, deviceId: string) {
    const device = tables.devices.get(deviceId)!
    return { ...this.cluster.world.portsOfHost(tables.sdss.get(device.sdsId)!.name), path: device.path }
  }

  #contentOf(map: ClusterMap, deviceId: string): Content | null {
    const { disks, metaStores, path } = this.#hostOf(map, deviceId)
    const file = disks.files.get(path)
    if (file === undefined) return null
    const directory = join('/state/index', deviceId)
    const entries = metaStores.peek(directory, ['chunk'])
    const slots = new Map(entries.map(({ key, value }) => [`${key[1]}/${key[2]}`, (value as number) >>> 1]))
    const marked = new Set(metaStores.peek(directory, ['mark']).map(({ key }) => `${key[1]}/${key[2]}`))
    return { file, slots, marked }
  }
}

function namesOf(contents: Iterable<Content>, volume: number): Set<string> {
  const names = new Set<string>()
  for (const { slots } of contents) for (const name of slots.keys()) if (name.startsWith(`${volume}/`)) names.add(name)
  return names
}

/** Where the two differ; null: nowhere. A chunk without a slot is all zeroes. */
function differenceOf(one: Content, two: Content, name: string): number | null {
  const [a, b] = [one.slots.get(name), two.slots.get(name)]
  for (let at = 0; at < chunkBytes; at += pageBytes) {
    const left = a === undefined ? undefined : one.file.pageAt(slotOffsetOf(a) + at)
    const right = b === undefined ? undefined : two.file.pageAt(slotOffsetOf(b) + at)
    if (left !== right && !(left ?? hole).equals(right ?? hole)) return at
  }
  return null
}

const hole = Buffer.alloc(pageBytes)
