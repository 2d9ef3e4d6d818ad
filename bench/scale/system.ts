import type { DeviceId, PoolId, SystemId } from '../../src/base/ids.js'
import { GiB } from '../../src/base/units.js'
import {
  apply,
  buildAddVolume,
  buildDeviceReady,
  type Command,
  type CommandAnswer,
  type CommandKind,
  type Commands,
  emptyState,
  type MdmState,
} from '../../src/core/mdm/index.js'

/** A state machine without a log, for measuring. */
export class Machine {
  readonly state: MdmState = emptyState()

  do<K extends CommandKind>(kind: K, fields: Commands[K]): CommandAnswer<K> {
    const command = { kind, ...fields } as unknown as Command
    const { outcome } = apply(this.state, this.state.map.version + 1, { client: null, number: 0, command })
    if ('error' in outcome) throw new Error(`${kind}: ${JSON.stringify(outcome.error)}`)
    return outcome.answer as CommandAnswer<K>
  }

  addVolume(poolId: PoolId, name: string): void {
    const want = { poolId, name, sizeBytes: 8 * GiB, type: 'thin' as const }
    this.do('addVolume', buildAddVolume(this.state, want, 0))
  }
}

export interface Shape {
  sdss: number
  devicesPerSds: number
  deviceGb: number
  sliceCount: number
}

/** A system with one pool and no volumes. */
export function makeSystem({ sdss, devicesPerSds, deviceGb, sliceCount }: Shape): { machine: Machine; pool: PoolId } {
  const machine = new Machine()
  machine.do('createSystem', { systemId: '5ca1ab1e00000000' as SystemId, name: 'scale' })
  const { id: domain } = machine.do('addProtectionDomain', { name: 'pd1' })
  const pooled = { protectionDomainId: domain, name: 'pool1', zeroPadding: true, sparePercent: null, sliceCount }
  const { id: pool } = machine.do('addPool', pooled)
  const devices: { id: DeviceId; path: string }[] = []
  for (let index = 0; index < sdss; index++) {
    const endpoint = { host: `10.0.${index >> 8}.${index & 255}`, port: 7072 }
    const fields = {
      protectionDomainId: domain,
      faultSetId: null,
      name: `sds-${index}`,
      endpoint,
      guid: `guid-${index}`,
    }
    const { id: sdsId } = machine.do('addSds', fields)
    for (let disk = 0; disk < devicesPerSds; disk++) {
      const path = `/dev/disk${disk}`
      devices.push({ id: machine.do('addDevice', { sdsId, poolId: pool, path, name: null }).id, path })
    }
  }
  // Planned once, with the last of them: the others would be planned again and again.
  for (const [at, { id, path }] of devices.entries()) {
    const ready = { capacityBytes: deviceGb * GiB, path }
    const isLast = at === devices.length - 1
    machine.do('deviceReady', isLast ? buildDeviceReady(machine.state, id, ready) : { id, ...ready, plan: null })
  }
  return { machine, pool }
}
