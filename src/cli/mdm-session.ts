import { StorageError } from '../base/errors.js'
import { systemClock } from '../io/clock.js'
import { systemRandom } from '../io/random.js'
import { tcpLink } from '../io/tcp-link.js'
import { askCluster, type ClusterAnswer, type MdmClient, openMdmClient } from '../mdm-client/index.js'
import type { Endpoint } from '../model/objects.js'
import { silentLog } from '../ports/log.js'

export interface MdmSessionOptions {
  /** Of the system's MDMs: the master is found among them. */
  addresses: Endpoint[]
  /** How long to look for the master. */
  connectTimeoutMs?: number
  systemId?: string | null
  /** What to do if none answers. */
  remedy?: string
}

/** A change of the master takes a second or two; on a busy host longer. */
const connectTimeoutMsDefault = 10_000
const clusterTimeoutMs = 3_000

/** Connects to the master MDM as a tool, does `work`, and lets go. UNREACHABLE if there is no master in time. */
export async function withMdm<T>(options: MdmSessionOptions, work: (mdm: MdmClient) => Promise<T>): Promise<T> {
  const mdm = openMdmClient({
    addresses: options.addresses,
    role: 'tool',
    name: 'scli',
    client: systemRandom.hex(16),
    systemId: options.systemId ?? null,
    clock: systemClock,
    link: tcpLink,
    log: silentLog,
  })
  mdm.start()
  try {
    await mdm.ready(options.connectTimeoutMs ?? connectTimeoutMsDefault).catch(error => {
      throw withRemedy(error, options.remedy)
    })
    return await work(mdm)
  } finally {
    await mdm.close()
  }
}

/** What the MDM cluster says of itself, also without a master. UNREACHABLE if no MDM answers. */
export async function askMdmCluster({ addresses, systemId, remedy }: MdmSessionOptions): Promise<ClusterAnswer> {
  try {
    return await askCluster({
      addresses,
      systemId: systemId ?? null,
      timeoutMs: clusterTimeoutMs,
      clock: systemClock,
      link: tcpLink,
    })
  } catch (error) {
    throw withRemedy(error, remedy)
  }
}

function withRemedy(error: unknown, remedy: string | undefined): unknown {
  if (!(error instanceof StorageError) || error.code !== 'UNREACHABLE' || error.context.remedy) return error
  return new StorageError('UNREACHABLE', {
    ...error.context,
    remedy: remedy ?? 'start the MDMs, or name others with --mdm_ip or --dir',
  })
}
