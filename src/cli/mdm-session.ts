import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../base/errors.js'
import { systemClock } from '../io/clock.js'
import { tcpLink } from '../io/tcp-link.js'
import type { MdmClient } from '../mdm-client/client.js'
import { openMdmClient } from '../mdm-client/index.js'
import type { Endpoint } from '../model/objects.js'
import { silentLog } from '../ports/log.js'

export interface MdmSessionOptions {
  addresses: Endpoint[]
  /** How long to look for an MDM that answers. */
  connectTimeoutMs?: number
  systemId?: string | null
  /** What to do if none answers. */
  remedy?: string
}

/** Connects to the MDM as a tool, does `work`, and lets go. UNREACHABLE if no MDM answers in time. */
export async function withMdm<T>(options: MdmSessionOptions, work: (mdm: MdmClient) => Promise<T>): Promise<T> {
  let refused: Error | null = null
  let connected = false
  const mdm = openMdmClient({
    addresses: options.addresses,
    role: 'tool',
    name: 'scli',
    systemId: options.systemId ?? null,
    clock: systemClock,
    link: tcpLink,
    log: silentLog,
    onConnected: async () => {
      connected = true
    },
    onRefused: error => {
      refused = error
    },
  })
  mdm.start()
  try {
    const connectTimeoutMs = options.connectTimeoutMs ?? 5_000
    const untilMs = systemClock.nowMs() + connectTimeoutMs
    while (!connected && !mdm.connected) {
      if (refused) throw refused
      if (systemClock.nowMs() > untilMs) throw unreachable(options, connectTimeoutMs)
      await sleep(10)
    }
    return await work(mdm)
  } finally {
    await mdm.close()
  }
}

function unreachable(options: MdmSessionOptions, connectTimeoutMs: number): StorageError {
  const list = options.addresses.map(({ host, port }) => `${host}:${port}`).join(', ')
  return new StorageError('UNREACHABLE', {
    detail: `no MDM answers at ${list} within ${connectTimeoutMs / 1000} s`,
    remedy: options.remedy ?? 'start it, or name another one with --mdm_ip or --dir',
  })
}
