import type { Ports } from '../ports/daemon.js'
import { poisonReleased } from '../wire/payload-memory.js'
import { systemClock } from './clock.js'
import { fileDisks } from './disk-port.js'
import { readBootId } from './host.js'
import { kernelNbd } from './kernel-nbd.js'
import { type LogLevel, openLog } from './log.js'
import { lmdbStores } from './meta-store.js'
import { systemRandom } from './random.js'
import { readPasses } from './read-passes.js'
import { relay } from './relay.js'
import { tcpLink } from './tcp-link.js'
import { writePasses } from './write-passes.js'

/** What a daemon stands on in a process of its own. Throws where the boot id cannot be read: lmdb needs it too. */
export function realPorts({ logLevel, name }: { logLevel: LogLevel; name: string }): Ports {
  if (process.env.BLOCKMESH_POISON === '1') poisonReleased(true)
  return {
    clock: systemClock,
    random: systemRandom,
    link: tcpLink,
    disks: fileDisks,
    metaStores: lmdbStores,
    kernelNbd,
    readPasses,
    writePasses,
    relay,
    log: openLog({ name, level: logLevel }),
    bootId: readBootId(),
  }
}
