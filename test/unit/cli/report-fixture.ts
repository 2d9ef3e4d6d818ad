import { GiB } from '../../../src/base/units.js'
import type { ClusterMdm, ClusterReport, SystemReport } from '../../../src/wire/control.js'

const id = (number: number): string => `0badc0de${number.toString(16).padStart(8, '0')}`

/** A healthy system: three SDSs in three fault sets, one SDC, a mapped volume and an unmapped one. */
export function makeReport(): SystemReport {
  const sdss = [1, 2, 3].map(number => ({
    id: id(10 + number),
    name: `sds-${number}`,
    protectionDomainId: id(1),
    faultSetId: id(2 + number),
    endpoint: { host: '127.0.0.1', port: 7000 + number },
    guid: `guid-${number}`,
    incarnation: 1,
    processId: `process-${number}`,
    connected: true,
    devices: 1,
  }))
  const report = {
    system: { id: id(0), name: 'local' },
    mapVersion: 42,
    protectionDomains: [{ id: id(1), name: 'pd1' }],
    faultSets: [1, 2, 3].map(number => ({ id: id(2 + number), name: `fs-${number}`, protectionDomainId: id(1) })),
    pools: [
      {
        id: id(2),
        name: 'pool1',
        protectionDomainId: id(1),
        zeroPadding: true,
        sparePercent: null,
        sliceCount: 1024,
        limitPolicy: null,
        capacity: {
          rawBytes: 48 * GiB,
          inUseBytes: 0,
          spareBytes: 16 * GiB,
          usableBytes: 16 * GiB,
          thickReservedBytes: 0,
          thinAllocatedBytes: 0,
          thinProvisionedBytes: 16 * GiB,
          freeForVolumesBytes: 16 * GiB,
        },
        slices: { total: 1024, healthy: 1024, joining: 0, degraded: 0, failed: 0 },
      },
    ],
    sdss,
    devices: sdss.map((sds, index) => ({
      id: id(20 + index),
      name: `sds-${index + 1}-device-1`,
      sdsId: sds.id,
      poolId: id(2),
      path: `/d/sds-${index + 1}/device-1`,
      originalPath: `/d/sds-${index + 1}/device-1`,
      capacityBytes: 16 * GiB,
      state: 'ready',
      connected: true,
      usage: null,
    })),
    volumes: [
      { id: id(30), name: 'vol1', poolId: id(2), sizeBytes: 8 * GiB, type: 'thin', sliceOffset: 0, mappedTo: 1 },
      { id: id(31), name: 'vol2', poolId: id(2), sizeBytes: 8 * GiB, type: 'thick', sliceOffset: 1, mappedTo: 0 },
    ],
    sdcs: [
      {
        id: id(40),
        name: 'sdc-1',
        guid: 'abcdef',
        incarnation: 1,
        processId: 'process-sdc',
        connected: true,
        address: { host: '127.0.0.1', port: 50_000 },
        exports: [{ volumeId: id(30), uri: 'nbd+unix:///vol1?socket=/d/sdc-1/nbd.sock', device: null, error: null }],
      },
    ],
    mappings: [
      {
        id: id(50),
        volumeId: id(30),
        sdcId: id(40),
        accessMode: 'ReadWrite',
        iopsLimit: null,
        bandwidthLimitKbPerSec: null,
        effectiveIops: 0,
        effectiveBandwidthKbPerSec: 0,
      },
    ],
  }
  return report as unknown as SystemReport
}

export const idOf = id

/** Three members that are well, mdm-1 the master and mdm-3 the tie breaker, and mdm-4 that stands by. */
export function makeClusterReport(): ClusterReport {
  const mdm = (number: number, role: ClusterMdm['role']): ClusterMdm => ({
    id: id(50 + number) as ClusterMdm['id'],
    name: `mdm-${number}`,
    kind: role === 'Tie Breaker' ? 'tieBreaker' : 'manager',
    endpoint: { host: '127.0.0.1', port: 9010 + number },
    membership: role === 'Standby' ? 'standby' : 'member',
    role,
    status: 'Normal',
    detail: null,
    release: '1.0.0',
    index: 7,
  })
  const mdms = [mdm(1, 'Master'), mdm(2, 'Slave'), mdm(3, 'Tie Breaker'), mdm(4, 'Standby')]
  return {
    systemId: id(0) as ClusterReport['systemId'],
    systemName: 'local',
    mode: 3,
    state: 'Normal',
    detail: null,
    changing: false,
    active: { now: 3, max: 3 },
    replicas: { now: 2, max: 2 },
    self: { id: mdms[0]!.id, name: 'mdm-1', kind: 'manager', role: 'Master', release: '1.0.0' },
    masterId: mdms[0]!.id,
    term: 2,
    index: 7,
    mdms,
  }
}
