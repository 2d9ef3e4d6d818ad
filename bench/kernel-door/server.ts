/**
 * A file, or memory, behind our NBD engine as /dev/nbdX, attached as the SDC does it: a process of its own. Prints the
 * device's path; SIGTERM detaches. `node server.js PATH|memory SIZE_BYTES CONNECTIONS`
 */
import { blockBytes, chunkBytes } from '../../src/base/units.js'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { kernelNbd } from '../../src/io/kernel-nbd.js'
import { silentLog } from '../../src/ports/log.js'
import { type BlockBackend, serveTransmission, streamOfSocketFd, transmissionFlagsOf } from '../../src/sdc/nbd/index.js'
import { MemoryBackend } from '../../test/support/memory-backend.js'
import { FileBackend } from './file-backend.js'

const [path = 'memory', size = '0', count = '1'] = process.argv.slice(2)
const sizeBytes = Number(size)
const connections = Number(count)

async function openBackend(): Promise<BlockBackend> {
  if (path === 'memory') {
    const memory = new MemoryBackend({ name: 'memory', sizeBytes, chunkBytes })
    // Allocated before it is measured.
    memory.zero(0, sizeBytes, false, false, () => {})
    return memory
  }
  return new FileBackend('file', await fileDisks.open(path, { direct: true }))
}

const backend = await openBackend()
const device = await kernelNbd.attach({
  sizeBytes,
  blockBytes,
  transmissionFlags: transmissionFlagsOf(backend, connections),
  connections,
  deadConnectionTimeoutMs: 60_000,
  index: null,
  identifier: `bench-${process.pid}`,
})
for (const fd of device.socketFds)
  serveTransmission(streamOfSocketFd(fd), backend, { clock: systemClock, log: silentLog })
console.log(device.path)
process.once('SIGTERM', () => void kernelNbd.detach(device.index).finally(() => process.exit(0)))
