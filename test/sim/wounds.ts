import type { Device } from '../../src/model/index.js'
import { poolName, type SimCluster } from './cluster.js'
import type { Operator } from './operator.js'
import { type FaultKind, mdmFaultKinds } from './plan.js'

export const woundKinds = ['read-error', 'write-error', 'sync-error', 'host-full', 'device-emptied'] as const
export type WoundKind = (typeof woundKinds)[number]
export const isWound = (kind: FaultKind): kind is WoundKind => woundKinds.includes(kind as WoundKind)

/** Meanwhile nothing else may happen to SDSs and their network. */
const harmless: readonly FaultKind[] = [
  'crash-sdc',
  'restart-sdc',
  'power-sdc',
  'crash-mdm',
  'restart-mdm',
  'power-mdm',
  ...mdmFaultKinds,
]

const failedWithinMs = 4_000
const lookMs = 100
const patrolMs = 2_000

/**
 * Devices that fail or lose what they hold. Two copies survive that only while the other one is there and stays: so a
 * wound is made when everything has been sound for a while, and until it is healed no other SDS is touched.
 */
export class Wounds {
  #kind: WoundKind | null = null
  /** Since when everything is as it should be. */
  #soundSinceMs: number | null = null
  #hasStruck = false
  #isOver = false

  constructor(
    readonly cluster: SimCluster,
    readonly operator: Operator,
    /** Nothing else is broken. */
    readonly isCalm: () => boolean,
  ) {}

  /** One is open, or waits for its moment. */
  get isOpen(): boolean {
    return this.#kind !== null
  }

  forbids(kind: FaultKind): boolean {
    return this.isOpen && !harmless.includes(kind)
  }

  begin(kind: WoundKind): void {
    if (this.isOpen || this.cluster.plan.sparePercent !== 34) return
    this.#kind = kind
    this.#hasStruck = false
    this.#soundSinceMs = null
    this.#await()
  }

  /** No new ones. */
  end(): void {
    this.#isOver = true
    if (!this.#hasStruck) this.#kind = null
    this.#patrol()
  }

  /** What the MDMs hear of late, as their master was cut off meanwhile, is looked after as well. */
  #patrol(): void {
    const { cluster, operator } = this
    cluster.clock.setTimer(patrolMs, () => {
      this.#patrol()
      if (this.isOpen || operator.toDo.length > 0 || cluster.map === null) return
      const { devices, sdss } = cluster.map.tables
      const failed = [...devices.values()].find(({ state }) => state === 'failed')
      if (failed === undefined) return
      const host = sdss.get(failed.sdsId)!.name
      operator.begin(`${failed.path} of ${host} has failed`, () => this.#replace(failed, host))
    })
  }

  #await(): void {
    this.cluster.clock.setTimer(lookMs, () => {
      if (this.#kind === null || this.#isOver) return
      const nowMs = this.cluster.clock.nowMs()
      if (!this.#isSound()) this.#soundSinceMs = null
      else this.#soundSinceMs ??= nowMs
      const enoughMs = this.cluster.plan.releaseMs + 1_200
      if (this.#soundSinceMs === null || nowMs - this.#soundSinceMs < enoughMs) this.#await()
      else this.#strike(this.#kind)
    })
  }

  /** Every slice has two copies in sync, on SDSs that run. */
  #isSound(): boolean {
    const { map } = this.cluster
    if (map === null || !this.isCalm() || this.operator.toDo.length > 0) return false
    for (const { state, ports } of this.cluster.ofRole('sds'))
      if (state !== 'up' || ports!.clock.isStalled) return false
    if (this.cluster.master === null) return false
    for (const { state, waiting } of map.tables.devices.values()) if (state !== 'ready' || waiting) return false
    for (const { maintenance, removing } of map.tables.sdss.values()) if (maintenance || removing) return false
    // Two are left when a device is removed, to be replaced: with fewer the pool could not do without it.
    const units = [...map.tables.devices.values()].map(({ sdsId }) => map.tables.sdss.get(sdsId)?.faultSetId ?? sdsId)
    if (new Set(units).size < 3) return false
    for (const records of map.slices.values())
      for (const { secondary, joining } of records) if (secondary === null || joining !== null) return false
    return true
  }

  #strike(kind: WoundKind): void {
    const { map, world, transcript } = this.cluster
    const devices = [...map!.tables.devices.values()]
    const device = devices[this.operator.random.integer(devices.length)]!
    const host = map!.tables.sdss.get(device.sdsId)!.name
    this.#hasStruck = true
    transcript.say(`fault  ${kind} at ${device.path} of ${host}`)
    const { disks, metaStores } = world.portsOfHost(host)
    const index = `/state/index/${device.id}`
    const { path } = device
    if (kind === 'device-emptied') {
      this.#emptied(device, host)
      return
    }
    if (kind === 'read-error') {
      const fromBytes = 2 ** 20 * (1 + this.operator.random.integer(8))
      disks.fail(path, { operation: 'read', error: 'EIO', fromBytes, toBytes: fromBytes + 2 ** 18 })
    }
    if (kind === 'write-error') disks.fail(path, { operation: 'write', error: 'EIO' })
    if (kind === 'sync-error') disks.fail(path, { operation: 'sync', error: 'EIO' })
    if (kind === 'host-full') {
      disks.fail(path, { operation: 'write', error: 'ENOSPC' })
      // The index may lie elsewhere, or have its room reserved.
      if (this.operator.random.integer(2) === 0) metaStores.fail(index, 'MDB_MAP_FULL')
    }
    this.operator.begin(`${kind}: look after ${path} of ${host}`, async () => {
      for (let ms = 0; ms < failedWithinMs && !this.#hasFailed(device); ms += lookMs) await this.operator.sleep(lookMs)
      disks.heal(path)
      metaStores.fail(index, null)
      // What its SDS knows by now the MDM hears within a second.
      await this.operator.sleep(1_500)
      await this.operator.persist(async () => this.cluster.master !== null)
      await this.operator.sleep(1_500)
      await this.operator.persist(async () => this.cluster.master !== null && this.cluster.map !== null)
      if (kind === 'read-error') this.operator.reached('blocks could not be read')
      if (this.#hasFailed(device)) {
        this.operator.reached(kind === 'host-full' ? 'device failed as its host was full' : 'device failed')
        await this.#replace(device, host)
      }
      this.#kind = null
    })
  }

  #emptied(device: Device, host: string): void {
    const { cluster, operator } = this
    if (operator.random.integer(2) === 0) cluster.kill(host)
    else cluster.powerLoss(host)
    cluster.world.portsOfHost(host).disks.replace(device.path, cluster.deviceBytes)
    cluster.startIn(host, operator.random.integer(1_500))
    operator.begin(`an empty disk at ${device.path} of ${host}`, async () => {
      await operator.sleep(5_000)
      await this.#replace(device, host)
      operator.reached('device replaced by an empty one')
      this.#kind = null
    })
  }

  #hasFailed({ id }: Device): boolean {
    return this.cluster.map?.tables.devices.get(id)?.state === 'failed'
  }

  /** Removes the device from the system, puts an empty disk in its place, and adds that. */
  async #replace({ id, sdsId, path }: Device, host: string): Promise<void> {
    const { cluster, operator } = this
    await operator.persistUntil(({ tables }) => !tables.devices.has(id), 'removeDevice', { device: id })
    const { disks } = cluster.world.portsOfHost(host)
    let isNew = false
    await operator.persist(async () => {
      if (!isNew && disks.isOpen(path)) return false
      if (!isNew) disks.replace(path, cluster.deviceBytes)
      isNew = true
      const added = [...(cluster.map?.tables.devices.values() ?? [])].find(
        device => device.sdsId === sdsId && device.path === path,
      )
      if (added?.state === 'ready') return true
      if (added === undefined) await operator.ask('addDevice', { sds: sdsId, pool: poolName, path })
      return false
    })
  }
}
