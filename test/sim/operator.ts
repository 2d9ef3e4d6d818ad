import { StorageError } from '../../src/base/errors.js'
import { chunkBytes, GiB } from '../../src/base/units.js'
import type { ClusterMap, Device, Sds } from '../../src/model/index.js'
import type { Random } from '../../src/ports/index.js'
import type { AnswerOf, MdmRequestName, MdmRequests } from '../../src/wire/control.js'
import { deviceDirectory, domainName, poolName, type SimCluster, sdsAt } from './cluster.js'
import type { Situation, Situations } from './situations.js'

const againMs = 400
const patrolMs = 2_000
const volumeBytesMax = 24 * GiB
const devicesPerSdsMax = 3

/** What an operator has begun: it is brought to its end, however often its requests fail. */
interface Job {
  what: string
}

/** Somebody who administers the system while it is under load and while things go wrong. */
export class Operator {
  readonly #jobs = new Set<Job>()
  readonly #pathsUsed = new Map<string, number>()
  #volumes = 0
  #isOver = false
  #hasPolicies = false

  constructor(
    readonly cluster: SimCluster,
    readonly situations: Situations,
    readonly random: Random,
    /** A volume has so many chunks now. */
    readonly onGrown: (volume: string, chunks: number) => void,
  ) {}

  /** What is still to be done; empty: nothing. */
  get toDo(): string[] {
    return [...this.#jobs].map(({ what }) => what)
  }

  /** Nothing new begins. */
  end(): void {
    this.#isOver = true
    this.#patrol()
    if (this.#hasPolicies)
      this.begin('policies as they were', async () => {
        await this.persist(() => this.#setPolicies(null))
      })
  }

  /** Maintenance that nobody has answered for may still come about, whatever the map showed when it was to be left. */
  #patrol(): void {
    this.cluster.clock.setTimer(patrolMs, () => {
      this.#patrol()
      if (this.#jobs.size > 0) return
      const left = this.#sdss().find(({ maintenance }) => maintenance)
      if (left !== undefined)
        this.begin(`${left.name} is still in maintenance`, () =>
          this.persistUntil(({ tables }) => !tables.sdss.get(left.id)?.maintenance, 'exitMaintenance', {
            sds: left.id,
          }),
        )
    })
  }

  /** Does something that takes time; the run is not over before it is. */
  begin(what: string, act: () => Promise<void>): void {
    const job = { what }
    this.#jobs.add(job)
    this.#say(what)
    // Whatever is no StorageError is a mistake of ours, and ends the run as an unhandled rejection.
    void act().finally(() => this.#jobs.delete(job))
  }

  /** null: refused, or nobody knows. */
  async ask<N extends MdmRequestName>(name: N, params: MdmRequests[N]): Promise<AnswerOf<N> | null> {
    try {
      return await this.cluster.tool.request(name, params, { timeoutMs: 10_000 })
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      this.#say(`${name} failed: ${error.message.slice(0, 200)}`)
      return null
    }
  }

  /** Acts again and again until it says that it is done. */
  async persist(act: () => Promise<boolean>): Promise<void> {
    while (!(await act())) await this.sleep(againMs)
  }

  /** Asks until the map shows it. */
  async persistUntil<N extends MdmRequestName>(
    isDone: (map: ClusterMap) => boolean,
    name: N,
    params: MdmRequests[N],
  ): Promise<void> {
    await this.persist(async () => {
      if (this.#shows(isDone)) return true
      await this.ask(name, params)
      return this.#shows(isDone)
    })
  }

  sleep(ms: number): Promise<void> {
    return new Promise(resolve => this.cluster.clock.setTimer(ms, resolve))
  }

  reached(situation: Situation): void {
    this.situations.reached(situation)
  }

  // ---- what an administrator may do at any moment

  addDevice(): void {
    const sds = this.#pick(this.#sdss().filter(({ removing }) => !removing))
    const taken = this.#devices().filter(({ sdsId }) => sdsId === sds?.id)
    if (sds === undefined || taken.length >= devicesPerSdsMax) return
    this.begin(`add a device to ${sds.name}`, async () => {
      if ((await this.#addDeviceTo(sds.name)) !== null) this.reached('device added under load')
    })
  }

  removeDevice(): void {
    const device = this.#pick(this.#devices().filter(({ state }) => state === 'ready'))
    if (device === undefined) return
    this.begin(`remove device ${device.name}`, async () => {
      const answer = await this.ask('removeDevice', { device: device.id })
      if (answer !== null) this.reached(answer.removed ? 'device removed' : 'device drained under load')
    })
  }

  addSds(): void {
    const endpoints = this.#sdss().map(({ endpoint }) => endpoint.host)
    const strangers = this.cluster
      .ofRole('sds')
      .filter(({ state, index }) => state === 'up' && !endpoints.includes(sdsAt(index).host))
    const process = this.#pick(strangers)
    if (process === undefined) return
    const faultSet = `fs-${1 + this.random.integer(this.cluster.plan.faultSets)}`
    this.begin(`add ${process.name} in ${faultSet}`, async () => {
      const sds = { protectionDomain: domainName, faultSet, name: process.name, endpoint: sdsAt(process.index) }
      if ((await this.ask('addSds', sds)) === null) return
      for (let tries = 0; tries < 3; tries++) {
        await this.sleep(againMs)
        if ((await this.#addDeviceTo(process.name)) === null) continue
        this.reached('SDS added under load')
        return
      }
    })
  }

  removeSds(): void {
    const sds = this.#pick(this.#sdss().filter(({ removing }) => !removing))
    if (sds === undefined) return
    this.begin(`remove ${sds.name}`, async () => {
      if ((await this.ask('removeSds', { sds: sds.id })) !== null) this.reached('SDS removed under load')
    })
  }

  maintenance(): void {
    const sds = this.#pick(this.#sdss())
    if (sds === undefined) return
    const ms = 300 + this.random.integer(4_000)
    const restarts = this.random.integer(2) === 0
    this.begin(`maintenance of ${sds.name} for ${ms} ms`, async () => {
      if ((await this.ask('enterMaintenance', { sds: sds.id })) !== null) this.reached('maintenance under load')
      if (restarts && !this.#isOver)
        this.cluster.stop(sds.name, () => this.cluster.startIn(sds.name, this.random.integer(1_000)))
      await this.sleep(ms)
      await this.persistUntil(({ tables }) => !tables.sdss.get(sds.id)?.maintenance, 'exitMaintenance', {
        sds: sds.id,
      })
    })
  }

  growVolume(): void {
    const volume = this.#pick([...(this.cluster.map?.tables.volumes.values() ?? [])])
    if (volume === undefined || volume.sizeBytes >= volumeBytesMax || !volume.name.startsWith('vol')) return
    const sizeBytes = volume.sizeBytes + 8 * GiB
    this.begin(`grow ${volume.name} to ${sizeBytes / GiB} GiB`, async () => {
      if ((await this.ask('growVolume', { volume: volume.id, sizeBytes })) === null) return
      this.reached('volume grown under load')
      this.onGrown(volume.name, sizeBytes / chunkBytes)
    })
  }

  /** A volume that comes, is written, and goes while requests to it are under way. */
  passingVolume(): void {
    const name = `passing${++this.#volumes}`
    const sdc = `sdc-${1 + this.random.integer(this.cluster.plan.sdcs)}`
    this.begin(`${name} at ${sdc}`, async () => {
      const isGone = (map: ClusterMap) => ![...map.tables.volumes.values()].some(volume => volume.name === name)
      await this.ask('addVolume', { pool: poolName, name, sizeBytes: 8 * GiB, type: 'thin' })
      await this.ask('mapVolume', { volume: name, sdc })
      await this.sleep(50 + this.random.integer(200))
      if (this.#write(sdc, name)) this.reached('volume removed with requests under way')
      await this.sleep(this.random.integer(50))
      // A mapping that nobody has answered for may still come about, whatever the map shows by now.
      await this.persist(async () => {
        if (this.#shows(isGone)) return true
        await this.ask('unmapVolume', { volume: name })
        await this.ask('removeVolume', { volume: name })
        return this.#shows(isGone)
      })
    })
  }

  policies(): void {
    this.#hasPolicies = true
    this.begin('other policies', async () => {
      await this.#setPolicies(this.random.integer(4))
    })
  }

  // ----

  /** True if the volume is exported and gets something to do; nobody waits for the answers. */
  #write(sdc: string, volume: string): boolean {
    const backend = this.cluster.exportOf(sdc, volume)
    const { ports, state } = this.cluster.process(sdc)
    if (backend === undefined || ports === null || state !== 'up') return false
    for (let i = 0; i < 8; i++) {
      const at = this.random.integer(6) * chunkBytes + 4096 * this.random.integer(200)
      ports.clock.deliver(() => backend.write(at, [Buffer.alloc(8192, 0xab)], false, () => {}))
    }
    return true
  }

  async #addDeviceTo(sds: string) {
    const number = (this.#pathsUsed.get(sds) ?? 10) + 1
    this.#pathsUsed.set(sds, number)
    const path = `${deviceDirectory}/${number}`
    return this.ask('addDevice', { sds, pool: poolName, path, sizeBytes: this.cluster.deviceBytes })
  }

  async #setPolicies(which: number | null): Promise<boolean> {
    const few = { concurrentIos: 1, bandwidthKbPerSec: 20_480 }
    const policies: MdmRequests['setRebuildPolicy']['policy'][] = [
      { kind: 'unlimited' },
      { kind: 'limitNumOfConcurrentIos', concurrentIos: 1 },
      { kind: 'favorAppIos', ...few },
      {
        kind: 'dynamicBwThrottling',
        ...few,
        appIopsThreshold: 10,
        appBandwidthKbPerSecThreshold: 100,
        quietPeriodMs: 200,
      },
    ]
    const policy = which === null ? null : policies[which]!
    const one = await this.ask('setRebuildPolicy', { pool: poolName, policy })
    return (await this.ask('setRebalancePolicy', { pool: poolName, policy })) !== null && one !== null
  }

  #shows(isDone: (map: ClusterMap) => boolean): boolean {
    const { map } = this.cluster
    return map !== null && isDone(map)
  }

  #sdss(): Sds[] {
    return [...(this.cluster.map?.tables.sdss.values() ?? [])]
  }
  #devices(): Device[] {
    return [...(this.cluster.map?.tables.devices.values() ?? [])]
  }
  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.random.integer(Math.max(1, list.length))]
  }

  #say(what: string): void {
    this.cluster.transcript.say(`admin  ${what}`)
  }
}
