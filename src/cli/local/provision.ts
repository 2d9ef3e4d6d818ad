import { setTimeout as sleep } from 'node:timers/promises'
import { errorTable, StorageError } from '../../base/errors.js'
import { labelBytes } from '../../core/store/index.js'
import type { MdmClient } from '../../mdm-client/index.js'
import type { SystemReport } from '../../wire/control.js'
import type { VolumeWish } from './options.js'
import { faultSetOfSds, mdmKindOf } from './plan.js'
import { devicePath, type LocalState } from './state.js'

export const domainName = 'pd1'
export const poolName = 'pool1'

type Mdm = Pick<MdmClient, 'request'>

export interface Provisioning {
  dir: string
  state: LocalState
  mdm: Mdm
  volumes: readonly VolumeWish[]
  /** Says what is done, for people. */
  progress(sentence: string): void
  /** Throws if going on is of no use: a daemon has ended, or time is up. */
  checkAlive(): void
}

/** Makes what the topology and the wishes name and the system lacks. May be called again after it was interrupted. */
export async function provision(work: Provisioning): Promise<void> {
  const { mdm, state } = work
  if (!state.provisioned) await formMdmCluster(work)
  const report = await mdm.request('query', {})
  if (!state.provisioned) {
    await addDomainAndPool(work, report)
    await addServers(work, report)
  }
  await addVolumes(work, await mdm.request('query', {}))
}

/** mdm-1 has made the system; the others are attached to it, and become members. */
async function formMdmCluster(work: Provisioning): Promise<void> {
  const { mdm, state, progress } = work
  const mode = state.topology.mdms
  if (mode === 1) return
  const processes = state.processes.filter(({ role }) => role === 'mdm')
  const before = await mdm.request('queryCluster', {})
  for (const [index, { name, address }] of processes.entries()) {
    if (before.mdms.some(known => known.name === name)) continue
    const kind = mdmKindOf(state.topology, index + 1)
    await untilDaemonIsThere(work, () => mdm.request('addStandbyMdm', { name, endpoint: address!, kind }))
  }
  const { mdms } = await mdm.request('queryCluster', {})
  const add = mdms.filter(({ membership }) => membership !== 'member').map(({ id }) => id)
  if (add.length > 0) await untilDaemonIsThere(work, () => mdm.request('switchClusterMode', { mode, add }))
  progress(`made an MDM cluster of ${mode} members`)
}

async function addDomainAndPool({ mdm, state, progress }: Provisioning, report: SystemReport): Promise<void> {
  if (!report.protectionDomains.some(domain => domain.name === domainName))
    await mdm.request('addProtectionDomain', { name: domainName })
  for (let number = 1; number <= state.topology.faultSets; number++) {
    const name = `fs-${number}`
    if (!report.faultSets.some(faultSet => faultSet.name === name))
      await mdm.request('addFaultSet', { protectionDomain: domainName, name })
  }
  if (!report.pools.some(pool => pool.name === poolName)) {
    const { zeroPadding, slices: sliceCount } = state.topology
    await mdm.request('addStoragePool', { protectionDomain: domainName, name: poolName, zeroPadding, sliceCount })
    progress(`made protection domain ${domainName} and storage pool ${poolName}`)
  }
}

async function addServers(work: Provisioning, report: SystemReport): Promise<void> {
  const { dir, mdm, state, progress } = work
  const servers = state.processes.filter(process => process.role === 'sds')
  for (const [index, { name, address }] of servers.entries()) {
    if (report.sdss.some(sds => sds.name === name)) continue
    const faultSet = faultSetOfSds(state.topology, index + 1)
    await untilDaemonIsThere(work, () =>
      mdm.request('addSds', {
        protectionDomain: domainName,
        name,
        endpoint: address!,
        ...(faultSet === null ? {} : { faultSet }),
      }),
    )
  }
  progress(`added ${servers.length} SDSs`)
  for (const { name } of servers) {
    for (let number = 1; number <= state.topology.devicesPerSds; number++) {
      const path = devicePath(dir, name, number)
      const have = report.devices.some(device => device.path === path || device.originalPath === path)
      if (have) continue
      await untilDaemonIsThere(work, () =>
        mdm.request('addDevice', {
          sds: name,
          pool: poolName,
          protectionDomain: domainName,
          path,
          name: `${name}-device-${number}`,
          // A device of 16 GB holds 16 GB of chunks: its label comes on top.
          sizeBytes: state.topology.deviceBytes + labelBytes,
        }),
      )
    }
  }
  progress(`added ${servers.length * state.topology.devicesPerSds} devices`)
}

async function addVolumes(work: Provisioning, report: SystemReport): Promise<void> {
  const { mdm, volumes, progress } = work
  for (const { name, sizeBytes, type } of volumes) {
    const have = report.volumes.find(volume => volume.name === name)
    if (have && have.sizeBytes !== sizeBytes)
      throw new StorageError('ALREADY_EXISTS', {
        detail: `volume ${name} exists already, with another size`,
        haveBytes: have.sizeBytes,
        wantBytes: sizeBytes,
        remedy: 'leave --volume out, or grow it with scli --modify_volume_capacity',
      })
    if (!have) {
      await mdm.request('addVolume', { pool: poolName, protectionDomain: domainName, name, sizeBytes, type })
      progress(`made volume ${name}`)
    }
    if (!report.mappings.some(mapping => mapping.volumeId === have?.id))
      await untilDaemonIsThere(work, () => mdm.request('mapVolume', { volume: name, sdc: 'sdc-1' }))
  }
}

/** A daemon that has just started may not have found the MDM yet. */
async function untilDaemonIsThere<T>(work: Provisioning, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      const waits = error instanceof StorageError && (errorTable[error.code].retry || error.code === 'NOT_FOUND')
      if (!waits) throw error
      try {
        work.checkAlive()
      } catch (given) {
        throw given instanceof StorageError && given.code === 'TIMED_OUT' ? error : given
      }
      await sleep(100)
    }
  }
}
