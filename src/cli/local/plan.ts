import { join } from 'node:path'
import { stringify } from 'yaml'
import { StorageError } from '../../base/errors.js'
import type { MdmKind } from '../../model/objects.js'
import type { Topology } from './options.js'
import { type LocalProcess, type LocalState, mdmAddresses, processDir, type Role, spell } from './state.js'

/** What the kernel takes as the path of a unix socket. */
const socketPathBytesMax = 107

/** How many ports a cluster of this shape listens on. */
export const portCountOf = ({ mdms, sdss, sdcs }: Topology): number => 2 * mdms + 2 * sdss + sdcs

/** The processes of a new cluster, in the order in which they start. */
export function planCluster(dir: string, topology: Topology, ports: readonly number[]): LocalState {
  const free = [...ports]
  const loopback = () => ({ host: '127.0.0.1', port: free.shift()! })
  const make = (role: Role, count: number): LocalProcess[] =>
    Array.from({ length: count }, (_, index) => {
      const name = `${role}-${index + 1}`
      return {
        name,
        role,
        address: role === 'sdc' ? null : loopback(),
        metrics: loopback(),
        nbdSocket: role === 'sdc' ? join(processDir(dir, name), 'nbd.sock') : null,
        identity: null,
      }
    })
  const processes = [...make('mdm', topology.mdms), ...make('sds', topology.sdss), ...make('sdc', topology.sdcs)]
  for (const { nbdSocket } of processes)
    if (nbdSocket !== null && Buffer.byteLength(nbdSocket) > socketPathBytesMax)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `the NBD socket would be ${nbdSocket}, which is longer than a socket's path may be`,
        max: socketPathBytesMax,
        remedy: 'choose a --dir with a shorter path',
      })
  return { version: 1, topology, systemId: null, provisioned: false, processes }
}

/** The fault set of the SDS with this number (from 1), or null. SDSs are dealt out in turn. */
export const faultSetOfSds = (topology: Topology, sds: number): string | null =>
  topology.faultSets === 0 ? null : `fs-${((sds - 1) % topology.faultSets) + 1}`

/** The first MDMs are managers, mdm-1 the one that creates the system; the tie breakers come last. */
export const mdmKindOf = (topology: Topology, mdm: number): MdmKind =>
  mdm <= (topology.mdms + 1) / 2 ? 'manager' : 'tieBreaker'

/**
 * SDSs that share a machine get one of its `cpus` each, in turn, if there are several: each has a server of its own elsewhere,
 * and the kernel, which sees one wake the next, would gather them on one CPU.
 */
const cpuOfSds = (sds: number, cpus: readonly number[]): { cpus?: number } =>
  cpus.length < 2 ? {} : { cpus: cpus[(sds - 1) % cpus.length]! }

/** The text of a daemon's configuration file on a machine with these CPUs. */
export function configTextOf(
  dir: string,
  state: LocalState,
  { name, role, ...process }: LocalProcess,
  cpus: readonly number[] = [],
): string {
  const directory = join(processDir(dir, name), 'state')
  const number = Number(name.replace(`${role}-`, ''))
  const mdm = mdmAddresses(state).map(spell)
  const common = { name, directory, metrics: { listen: spell(process.metrics) }, log: { level: 'info' } }
  const own = {
    mdm: () => {
      const kind = mdmKindOf(state.topology, number)
      // An MDM that has lost its disk waits to be attached; it never makes a second system.
      const creates = state.topology.mdms === 1 || (name === 'mdm-1' && !state.provisioned)
      return { listen: spell(process.address!), kind, system: creates ? { name: 'local' } : { create: false } }
    },
    sds: () => ({
      ...cpuOfSds(number, cpus),
      listen: spell(process.address!),
      mdm,
      devices: { search: [processDir(dir, name)] },
      io: { mode: state.topology.ioMode },
      rmcache: { size: state.topology.rmcacheBytes > 0 ? `${state.topology.rmcacheBytes} B` : 'off' },
    }),
    sdc: () => ({ mdm, nbd: { socket: process.nbdSocket }, kernel: 'auto' }),
  }[role]()
  return `# Written by \`blockmesh local up\`; read when ${name} starts.\n${stringify({ ...common, ...own })}`
}
