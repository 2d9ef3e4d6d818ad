import { type DeviceId, numberOfId, sameId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { RangeLocks, sliceKey } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { ReadPasses, Tally, Timer, WritePasses } from '../ports/index.js'
import type { DeviceRequest } from './device-request.js'
import type { Lane } from './lane.js'
import { RequestList } from './request-list.js'
import type { DeviceStore } from './store/device-store.js'

/** One device of this SDS with everything that is under way on it. */
export class OwnDevice {
  readonly id: DeviceId
  readonly locks = new RangeLocks()
  /** Everything that holds or waits for a range lock, in order of arrival. */
  readonly active = new RequestList<DeviceRequest>()
  /** The MDM has confirmed that this process has the device open. */
  registered = false
  /** A map that this process has seen names it: once one does not, it has been removed from the system. */
  isInMap = false
  /** Why the device could not be changed; null: it can. */
  failure: string | null = null
  /** Roles that an unclean stop made void, by slice: up to and with this epoch. */
  voidEpochs: Map<number, number> | null = null
  /** Volumes that are gone from the map, to be dropped once nothing of them is under way. */
  readonly volumesToDrop = new Set<number>()
  /** Epochs of slices, by slice, of which this device is primary and whose joining copy has no room. */
  readonly joiningFull = new Map<number, number>()
  /** Epochs of slices, by slice, into which this device went with changes of an earlier role as primary unfinished. */
  readonly unsound = new Map<number, number>()
  /** Requests of applications that have ended here, and their bytes: what fills have to make way for. */
  #appIos = 0
  #appBytes = 0
  /** What was read by passes besides. */
  readonly readsByPass: Tally
  /** What was written by passes, and who keeps chunks for that. */
  readonly writesByPass: Tally
  readonly lanes = new Set<Lane>()
  /** Goes on for as long as there are lanes. */
  laneWatch: Timer | null = null
  readonly #idle: (() => void)[] = []

  constructor(
    readonly store: DeviceStore,
    readonly passes: ReadPasses,
    writePasses: WritePasses,
  ) {
    this.id = sameId(store.deviceId)
    this.readsByPass = passes.newTally()
    this.writesByPass = writePasses.newTally()
    store.writesByPass = () => (mutate('forget-what-lanes-wrote') ? 0 : this.writesByPass.ios)
  }

  get number(): number {
    return numberOfId(this.id)
  }

  /** False while rule 6 makes this device's part in the record void. */
  holds(pool: number, record: SliceRecord): boolean {
    if (this.voidEpochs === null) return true
    return (this.voidEpochs.get(sliceKey(pool, record.slice)) ?? -1) < record.epoch
  }

  get appIos(): number {
    return this.#appIos + this.readsByPass.ios + this.writesByPass.ios
  }
  get appBytes(): number {
    return this.#appBytes + this.readsByPass.bytes + this.writesByPass.bytes
  }
  applicationEnded(lengthBytes: number): void {
    this.#appIos++
    this.#appBytes += lengthBytes
  }

  /** An application waits for something here. */
  get isInUse(): boolean {
    for (const { isApplication } of this.active) if (isApplication) return true
    return this.readsByPass.underWay + this.writesByPass.underWay > 0
  }

  isBusyWith(volume: number): boolean {
    for (const request of this.active) if (request.volume === volume) return true
    return false
  }

  /** Chunks, by `chunkKey`, that something changes or waits to change. */
  chunksBeingChanged(): Set<number> {
    const keys = new Set<number>()
    for (const request of this.active) if (!request.lockShared) keys.add(request.lockKey)
    return keys
  }

  /** Lanes of that kind, or all. */
  callBackLanes(isMeant: (lane: Lane) => boolean = () => true): void {
    for (const lane of this.lanes) if (isMeant(lane)) lane.callBack()
  }

  /** Calls back once nothing is under way. */
  whenIdle(fire: () => void): void {
    if (this.active.size === 0) fire()
    else this.#idle.push(fire)
  }

  finished(request: DeviceRequest): void {
    this.active.delete(request)
    if (this.volumesToDrop.size > 0) this.dropVolumes()
    if (this.active.size === 0) for (const fire of this.#idle.splice(0)) fire()
  }

  /** Drops the volumes that wait for it and have nothing under way. */
  dropVolumes(): void {
    for (const volume of [...this.volumesToDrop]) {
      if (this.isBusyWith(volume)) continue
      this.volumesToDrop.delete(volume)
      this.store.dropVolume(volume, () => {})
    }
  }
}
