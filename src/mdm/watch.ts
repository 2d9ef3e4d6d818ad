import type { DeviceId, SdsId } from '../base/ids.js'
import { type MdmState, recoveryOf, type SliceReason } from '../core/mdm/index.js'
import {
  arePartedNow,
  type Damping,
  isLively,
  isSilent,
  judge,
  type Membership,
  mayTakePart,
  noteEvent,
  noteOut,
  noteReturned,
  openDamping,
  openMembership,
  oscillations,
  type Verdicts,
} from '../core/membership/index.js'
import { type LossFacts, lostRecords, type PoolChanges, rejoinRecords } from '../core/slices/index.js'
import type { Device } from '../model/index.js'
import type { Clock, Log, Timer } from '../ports/index.js'
import type { MdmNotices } from '../wire/control.js'
import { Partners } from './partners.js'
import type { Proposer } from './proposer.js'
import type { Registry } from './registry.js'

const lookMs = 250
/** A device that its SDS did not bring along may still be found; after this it counts as lost. */
const missingMs = 3_000

type Unreachable = MdmNotices['sdsAlive']['unreachable']

/**
 * Watches who lives and who reaches whom, and has the slices changed accordingly: copies leave, and join again. What it
 * knows is lost with the process; it decides nothing that the log does not carry.
 */
export class Watch {
  readonly #membership: Membership
  readonly #dampings = new Map<SdsId, Damping>()
  readonly #registeredAtMs = new Map<SdsId, number>()
  readonly #partners: Partners
  #timer: Timer | null = null
  #isDropping = false
  #isJoining = false
  #verdicts: Verdicts = { convicted: new Set(), parted: [] }
  #isClosed = false
  /** Slices that wait for a convicted SDS may be decided now. */
  onConvicted: () => void = () => {}

  constructor(
    readonly state: MdmState,
    readonly registry: Registry,
    readonly proposer: Proposer,
    readonly clock: Clock,
    readonly log: Log,
  ) {
    this.#membership = openMembership(clock.nowMs())
    this.#partners = new Partners(state.map)
  }

  start(): void {
    this.#timer = this.clock.setTimer(lookMs, () => {
      this.look()
      this.start()
    })
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  registered(sdsId: SdsId): void {
    const nowMs = this.clock.nowMs()
    this.#registeredAtMs.set(sdsId, nowMs)
    noteEvent(this.#membership, { kind: 'connected', sdsId, nowMs })
    this.look()
  }

  closed(sdsId: SdsId): void {
    noteEvent(this.#membership, { kind: 'closed', sdsId, nowMs: this.clock.nowMs() })
  }

  heard(sdsId: SdsId): void {
    noteEvent(this.#membership, { kind: 'heard', sdsId, nowMs: this.clock.nowMs() })
  }

  alive(sdsId: SdsId, unreachable: Unreachable): void {
    const those = unreachable as (Unreachable[number] & { sdsId: SdsId })[]
    noteEvent(this.#membership, { kind: 'alive', sdsId, unreachable: those, nowMs: this.clock.nowMs() })
  }

  /** Silent, and unreachable for its partners. */
  isConvicted(sdsId: SdsId): boolean {
    return this.#verdicts.convicted.has(sdsId)
  }

  /** It is heard, and says itself that it lives: it may be relied upon for copies. */
  isLively(sdsId: SdsId): boolean {
    return isLively(this.#membership, sdsId, this.clock.nowMs())
  }

  /** The device is open at an SDS that is heard, and has not failed. */
  isPresent(deviceId: DeviceId): boolean {
    const device = this.state.map.tables.devices.get(deviceId)
    if (!device || device.state === 'failed' || this.registry.usage.get(deviceId)?.error) return false
    return this.registry.isPresent(deviceId) && !isSilent(this.#membership, device.sdsId, this.clock.nowMs())
  }

  arePartedNow(one: DeviceId, two: DeviceId): boolean {
    const [a, b] = [this.#sdsOf(one), this.#sdsOf(two)]
    return a !== null && b !== null && a !== b && arePartedNow(this.#membership, a, b, this.clock.nowMs())
  }

  oscillations(sdsId: SdsId): { short: number; medium: number; long: number } {
    return oscillations(this.#dampingOf(sdsId), this.clock.nowMs())
  }

  /** Judges, and asks for what follows. */
  look(): void {
    // Nobody is registered: who is silent has nothing to say.
    if (recoveryOf(this.state)) return
    const nowMs = this.clock.nowMs()
    noteEvent(this.#membership, { kind: 'looked', nowMs })
    const { map } = this.state
    const sdsIds = map.tables.sdss.keys() as Iterable<SdsId>
    this.#verdicts = judge(this.#membership, sdsIds, id => this.#partners.of(id), nowMs)
    for (const sdsId of this.#verdicts.convicted) this.#convict(sdsId, nowMs)
    for (const [sdsId, damping] of this.#dampings) {
      if (!damping.isOut || isSilent(this.#membership, sdsId, nowMs)) continue
      noteReturned(damping, nowMs)
      this.log.info('sds.back', { sds: map.tables.sdss.get(sdsId)?.name, pauseMs: damping.pauseMs })
    }
    this.#dropCopies()
    this.#joinCopies()
  }

  #convict(sdsId: SdsId, nowMs: number): void {
    const damping = this.#dampingOf(sdsId)
    if (damping.isOut) return
    noteOut(damping, nowMs)
    this.log.warn('sds.convicted', { sds: this.state.map.tables.sdss.get(sdsId)?.name })
    this.onConvicted()
  }

  #dropCopies(): void {
    if (this.#isDropping || (this.#lost().length === 0 && this.#failed().length === 0)) return
    this.#isDropping = true
    this.#change(
      'copies lost',
      () => this.#lost(),
      () => this.#failed(),
    ).finally(() => {
      this.#isDropping = false
    })
  }

  #joinCopies(): void {
    if (this.#isJoining || !this.#partners.someLeft || this.#returned().length === 0) return
    this.#isJoining = true
    this.#change('copies returned', () => this.#returned()).finally(() => {
      this.#isJoining = false
    })
  }

  /** Decided again at its turn: from the state that the entry will change. */
  async #change(why: SliceReason, slices: () => PoolChanges, failed: () => DeviceId[] = () => []): Promise<void> {
    let told = { why, slices: [] as PoolChanges, failed: [] as DeviceId[] }
    try {
      await this.proposer.propose('changeSlices', () => {
        told = { why, slices: slices(), failed: failed() }
        return told.slices.length + told.failed.length > 0 ? told : null
      })
      this.#tell(told)
    } catch (error) {
      if (!this.#isClosed) this.log.error('slices.notChanged', { why, error: String(error) })
    }
  }

  #tell({ why, slices, failed }: { why: SliceReason; slices: PoolChanges; failed: DeviceId[] }): void {
    const { map } = this.state
    const count = slices.reduce((sum, { changes }) => sum + changes.length, 0)
    if (count > 0) this.log.info('slices.changed', { why, slices: count })
    for (const id of failed) this.log.error('device.failed', { device: map.tables.devices.get(id)?.name })
    if (why !== 'copies lost' || count === 0) return
    for (const { loser } of this.#verdicts.parted) if (loser) noteOut(this.#dampingOf(loser), this.clock.nowMs())
  }

  #lost(): PoolChanges {
    const { convicted, parted } = this.#verdicts
    const { map, epochHigh } = this.state
    const lost = new Set<DeviceId>()
    for (const device of map.tables.devices.values())
      if (convicted.has(device.sdsId) || this.#isBad(device) || this.#isMissing(device)) lost.add(device.id)
    if (lost.size === 0 && parted.length === 0 && !this.registry.someUnsound) return []
    const facts: LossFacts = {
      map,
      epochHigh,
      isLost: id => lost.has(id),
      leavesBeside: (copy, other, copyIsPrimary) => this.#leavesBeside(copy, other, copyIsPrimary),
      canGoOn: (id, slice) => this.canGoOn(id, slice),
      isUnsound: record => this.registry.isUnsound(record),
      keepsMarks: id => !this.#isBad(map.tables.devices.get(id)!),
    }
    return lostRecords(facts)
  }

  #returned(): PoolChanges {
    const { map, epochHigh } = this.state
    const mayJoin = (left: DeviceId, primary: DeviceId): boolean => {
      const device = map.tables.devices.get(left)
      const sds = device && map.tables.sdss.get(device.sdsId)
      if (!device || !sds || sds.maintenance || !this.isPresent(left) || !this.isPresent(primary)) return false
      return mayTakePart(this.#dampingOf(sds.id), this.clock.nowMs()) && !this.arePartedNow(left, primary)
    }
    return rejoinRecords({ map, epochHigh, mayJoin })
  }

  /** Devices that are to be called failed from now on. */
  #failed(): DeviceId[] {
    const ready = [...this.state.map.tables.devices.values()].filter(({ state }) => state === 'ready')
    return ready.filter(device => this.#isBad(device)).map(({ id }) => id)
  }

  /** It has failed, or its SDS says so. */
  #isBad({ id, sdsId, state }: Device): boolean {
    return state === 'failed' || (Boolean(this.registry.usage.get(id)?.error) && this.isLively(sdsId))
  }

  #isMissing({ id, sdsId, state }: Device): boolean {
    if (state === 'pending') return false
    if (!this.isLively(sdsId) || this.registry.isPresent(id)) return false
    return this.clock.nowMs() - (this.#registeredAtMs.get(sdsId) ?? this.clock.nowMs()) >= missingMs
  }

  /** It may stand alone for the slice. */
  canGoOn(id: DeviceId, slice: number): boolean {
    const device = this.state.map.tables.devices.get(id)
    if (!device || device.waiting?.slices.includes(slice)) return false
    return this.isLively(device.sdsId) && this.isPresent(id)
  }

  #leavesBeside(copy: DeviceId, other: DeviceId, copyIsPrimary: boolean): boolean {
    if (this.#verdicts.parted.length === 0) return false
    const [mine, theirs] = [this.#sdsOf(copy), this.#sdsOf(other)]
    const pair = this.#verdicts.parted.find(
      ({ one, two }) => (one === mine && two === theirs) || (one === theirs && two === mine),
    )
    if (!pair) return false
    return pair.loser === null ? !copyIsPrimary : pair.loser === mine
  }

  #sdsOf(deviceId: DeviceId): SdsId | null {
    return this.state.map.tables.devices.get(deviceId)?.sdsId ?? null
  }

  #dampingOf(sdsId: SdsId): Damping {
    const damping = this.#dampings.get(sdsId) ?? openDamping()
    this.#dampings.set(sdsId, damping)
    return damping
  }
}
