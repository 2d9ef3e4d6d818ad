import { StorageError } from '../base/errors.js'
import { systemIdOf } from '../model/index.js'
import type { ClusterReport, MdmRequestName } from '../wire/control.js'
import type { Mdm } from './context.js'
import { type Handler, type Handlers, tools } from './handlers.js'

type ClusterRequest =
  | 'addStandbyMdm'
  | 'removeStandbyMdm'
  | 'switchClusterMode'
  | 'replaceClusterMdm'
  | 'switchMdmOwnership'
  | 'renameMdm'

const single = <N extends MdmRequestName>(): Handler<N> => ({
  roles: tools,
  handle: () => {
    throw new StorageError('BAD_REQUEST', { detail: 'this MDM has no cluster', remedy: 'use a newer release' })
  },
})

/** The MDM cluster. */
export const clusterHandlers: Handlers<ClusterRequest | 'queryCluster'> = {
  addStandbyMdm: single(),
  removeStandbyMdm: single(),
  switchClusterMode: single(),
  replaceClusterMdm: single(),
  switchMdmOwnership: single(),
  renameMdm: single(),
  queryCluster: { roles: ['sds', 'sdc', 'tool'], handle: ({ mdm }) => clusterReport(mdm) },
}

function clusterReport({ map, config }: Mdm): ClusterReport {
  const system = map.tables.systems.values().next().value ?? null
  return {
    systemId: system?.id ?? null,
    systemName: system?.name ?? null,
    mode: 1,
    state: 'Normal',
    detail: null,
    changing: false,
    active: { now: 1, max: 1 },
    replicas: { now: 1, max: 1 },
    self: { id: null, name: config.name, kind: config.kind, role: 'Master', release: '' },
    masterId: null,
    term: 1,
    index: map.version,
    mdms: [],
  }
}
