import { StorageError } from '../base/errors.js'
import type { DeviceId, SdsId } from '../base/ids.js'
import {
  type DeviceEvidence,
  devicesToHear,
  newerThan,
  planAcceptance,
  recoveryOf,
  type Voided,
} from '../core/mdm/index.js'
import type { Device, Sds } from '../model/index.js'
import type { OpenedDevice, RecoveryReport, SdsAnswers } from '../wire/control.js'
import type { Mdm } from './context.js'
import type { Peer } from './peer.js'

/** Shorter than what tools wait for an answer; a device may have adopted 65,536 records. */
const evidenceTimeoutMs = 30_000

interface Heard {
  peer: Peer
  devices: OpenedDevice[]
}

/**
 * Keeps the system still while its configuration may be an older one (design section 13): SDSs say what they have and wait
 * unregistered. When all have come and none knows more, the system goes on by itself; else people decide.
 */
export class Recovery {
  readonly #heard = new Map<SdsId, Heard>()
  #isEnding = false

  constructor(readonly mdm: Pick<Mdm, 'state' | 'map' | 'proposer' | 'registry' | 'ports' | 'drop'>) {}

  get isOn(): boolean {
    return recoveryOf(this.mdm.state) !== undefined
  }

  /** Why one of the SDS's own devices must have lived under a newer configuration; null: none need have. */
  reasonToSuspect(sds: Sds, devices: readonly OpenedDevice[]): string | null {
    for (const opened of devices) {
      const device = this.mdm.map.tables.devices.get(opened.deviceId)
      const why = device?.sdsId === sds.id ? newerThan(this.mdm.state, opened) : null
      if (why !== null) return `device ${device!.name}: ${why}`
    }
    return null
  }

  /** From now on nothing is served and nothing changes. */
  async suspect(sds: Sds, detail: string): Promise<void> {
    const { proposer, ports } = this.mdm
    await proposer.propose('suspectConfiguration', () => ({ era: ports.random.hex(8), sds: sds.name, detail }))
    ports.log.error('configuration.behind', { sds: sds.name, detail, remedy: 'see scli --query_recovery' })
    this.endOtherLives()
  }

  /** An SDS says what it has; it is told when it may register. */
  hear(sds: Sds, peer: Peer, devices: OpenedDevice[]): void {
    this.#heard.set(sds.id, { peer, devices })
    const why = this.reasonToSuspect(sds, devices)
    if (why === null) this.mdm.ports.log.info('configuration.heard', { sds: sds.name, devices: devices.length })
    else this.mdm.ports.log.error('configuration.behind', { sds: sds.name, detail: why })
    void this.#endIfCertain()
  }

  report(): RecoveryReport | null {
    const recovery = recoveryOf(this.mdm.state)
    if (!recovery) return null
    const newer = this.#present().flatMap(([sds, { devices }]) => {
      const detail = this.reasonToSuspect(sds, devices)
      return detail === null ? [] : [{ sds: sds.name, detail }]
    })
    return { why: recovery.why, missing: this.#missing().map(device => this.#spell(device)), newer }
  }

  /** People go on with what is there. Says what became void. */
  async accept(force: boolean): Promise<Voided> {
    const { mdm } = this
    const missing = this.#missing()
    if (this.isOn && missing.length > 0 && !force)
      throw new StorageError('CONFIGURATION', {
        detail: 'some devices have not said what they know, which may be newer than all that is here',
        devices: missing.length,
        first: this.#spell(missing[0]!),
        remedy: 'start their SDSs; or add --force: what they know that is newer becomes void',
      })
    const evidence = this.isOn ? await this.#evidence() : []
    const { command, voided } = planAcceptance(mdm.state, evidence)
    await mdm.proposer.propose('acceptConfiguration', () => command)
    mdm.ports.log.warn('configuration.accepted', {
      forced: force,
      pools: command.pools.map(({ poolId, epochsFrom }) => ({ pool: this.#poolName(poolId), epochsFrom })),
      unheard: missing.map(device => this.#spell(device)),
      slicesMoved: voided.slicesMoved,
      copiesDropped: voided.copiesDropped,
      slicesUnproven: voided.slicesUnproven,
      volumesDropped: voided.volumes,
    })
    this.#goOn()
    return voided
  }

  /** Processes that have lived under another configuration than this one end, and start with nothing in memory. */
  endOtherLives(): void {
    for (const peer of [...this.mdm.registry.peers])
      if (peer.role === 'sds' || peer.role === 'sdc')
        this.mdm.drop(peer, 'another configuration has taken the place of its own')
  }

  /** Everybody has come, and nobody knows more: the configuration is the newest. */
  async #endIfCertain(): Promise<void> {
    const { mdm } = this
    const isCertain = () =>
      this.isOn &&
      this.#missing().length === 0 &&
      this.#present().every(([sds, { devices }]) => this.reasonToSuspect(sds, devices) === null)
    if (this.#isEnding || !isCertain()) return
    this.#isEnding = true
    try {
      await mdm.proposer.propose('acceptConfiguration', () => (isCertain() ? { numbersFrom: 0, pools: [] } : null))
      if (this.isOn) return
      mdm.ports.log.info('configuration.current', { detail: 'all SDSs have come, and none knows a newer one' })
      this.#goOn()
    } catch (error) {
      mdm.ports.log.error('configuration.notEnded', { error: String(error) })
    } finally {
      this.#isEnding = false
    }
  }

  #goOn(): void {
    for (const { peer } of this.#heard.values()) if (!peer.closed) peer.notice('adopted', {})
    this.#heard.clear()
  }

  async #evidence(): Promise<DeviceEvidence[]> {
    const asked = this.#present().flatMap(([sds, { peer, devices }]) =>
      devices
        .filter(({ deviceId }) => this.mdm.map.tables.devices.get(deviceId)?.sdsId === sds.id)
        .map(async ({ deviceId }) => {
          const known = await peer.request('knownCopies', { deviceId }, evidenceTimeoutMs)
          return evidenceOf(deviceId as DeviceId, known)
        }),
    )
    return Promise.all(asked)
  }

  #present(): [Sds, Heard][] {
    return [...this.#heard].flatMap(([id, heard]) => {
      const sds = this.mdm.map.tables.sdss.get(id)
      return sds && !heard.peer.closed ? [[sds, heard] satisfies [Sds, Heard]] : []
    })
  }

  #missing(): Device[] {
    const present = new Set(this.#present().flatMap(([, { devices }]) => devices.map(({ deviceId }) => deviceId)))
    return devicesToHear(this.mdm.map).filter(({ id }) => !present.has(id))
  }

  #spell({ name, sdsId }: Device): string {
    return `${name} of ${this.mdm.map.tables.sdss.get(sdsId)?.name}`
  }

  #poolName(poolId: string): string | undefined {
    return this.mdm.map.tables.pools.get(poolId)?.name
  }
}

const evidenceOf = (deviceId: DeviceId, { copies, volumes }: SdsAnswers['knownCopies']): DeviceEvidence => ({
  deviceId,
  copies: copies.map(([pool, slice, epoch, inSync]) => ({ pool, slice, epoch, inSync: inSync === 1 })),
  volumes,
})
