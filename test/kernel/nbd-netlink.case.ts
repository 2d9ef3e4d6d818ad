import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { Socket } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { MiB } from '../../src/base/units.js'
import { becomeIoFlusher, lockMemory } from '../../src/io/host.js'
import { kernelNbd } from '../../src/io/kernel-nbd.js'
import type { KernelAttach, KernelDevice } from '../../src/ports/kernel-nbd.js'

const shell = async (command: string): Promise<string> =>
  (await promisify(execFile)('/bin/bash', ['-c', command])).stdout.trim()

const memory = Buffer.alloc(64 * MiB)
const hasFlags = 1
const sendFlush = 4
const canMultiConn = 256
const options: KernelAttach = {
  sizeBytes: 32 * MiB,
  blockBytes: 4096,
  transmissionFlags: hasFlags | sendFlush | canMultiConn,
  connections: 2,
  deadConnectionTimeoutMs: 7 * 86_400_000,
  index: null,
  identifier: 'volume 1',
}

/** The least that the kernel needs: reads, writes and flushes on `memory`, without checks. */
class TinyServer {
  readonly socket: Socket
  private received = Buffer.alloc(0)

  constructor(fd: number) {
    this.socket = new Socket({ fd, readable: true, writable: true })
    this.socket.on('data', bytes => this.take(bytes))
    this.socket.on('error', () => undefined)
  }

  private take(bytes: Buffer): void {
    this.received = Buffer.concat([this.received, bytes])
    while (this.received.length >= 28) {
      const request = this.received
      const type = request.readUInt16BE(6)
      const offsetBytes = Number(request.readBigUInt64BE(16))
      const lengthBytes = request.readUInt32BE(24)
      const requestBytes = 28 + (type === 1 ? lengthBytes : 0)
      if (request.length < requestBytes) return
      if (type === 1) request.copy(memory, offsetBytes, 28, requestBytes)
      this.received = request.subarray(requestBytes)
      if (type === 2) continue
      const reply = Buffer.alloc(16)
      reply.writeUInt32BE(0x67446698)
      request.copy(reply, 8, 8, 16)
      this.socket.write(reply)
      if (type === 0) this.socket.write(Buffer.from(memory.subarray(offsetBytes, offsetBytes + lengthBytes)))
    }
  }
}

const serve = (device: KernelDevice): TinyServer[] => device.socketFds.map(fd => new TinyServer(fd))
const endOf = (server: TinyServer): Promise<void> =>
  new Promise(resolve => {
    if (server.socket.closed) resolve()
    else server.socket.once('close', () => resolve()).destroy()
  })

t.test('netlink: a device is attached with its settings, written, read and detached', async t => {
  t.equal(kernelNbd.unavailable(), null)
  const device = await kernelNbd.attach(options)
  const servers = serve(device)
  t.equal(device.socketFds.length, 2)
  const queue = `/sys/block/nbd${device.index}/queue`
  t.equal(
    await shell(`cat ${queue}/io_timeout ${queue}/max_sectors_kb ${queue}/logical_block_size`),
    '2000\n1024\n4096',
  )
  t.same(await kernelNbd.attached(), [{ index: device.index, identifier: 'volume 1' }])
  await shell(
    `dd if=/dev/urandom of=$TMPDIR/have bs=1M count=4 && dd if=$TMPDIR/have of=${device.path} bs=1M oflag=direct`,
  )
  await shell(`dd if=${device.path} bs=1M count=4 iflag=direct | cmp - $TMPDIR/have`)
  await kernelNbd.detach(device.index)
  t.same(await kernelNbd.attached(), [])
  t.equal(await shell(`cat /sys/block/nbd${device.index}/size`), '0')
  await Promise.all(servers.map(endOf))
  await kernelNbd.detach(device.index)
})

t.test('netlink: a device that is attached keeps its index and its identifier from others', async t => {
  const device = await kernelNbd.attach(options)
  const servers = serve(device)
  const taken = { ...options, index: device.index, connections: 1 }
  await t.rejects(kernelNbd.attach(taken), { code: 'DEVICE_BUSY', context: { device: device.path } })
  await t.rejects(kernelNbd.reconfigure(device.index, { ...taken, identifier: 'other' }), { code: 'BAD_ARGUMENT' })
  await t.rejects(kernelNbd.reconfigure(device.index, taken), { code: 'DEVICE_BUSY' }, 'the old sockets still live')
  await shell(`dd if=${device.path} of=/dev/null bs=64k count=1 iflag=direct`)
  await kernelNbd.detach(device.index)
  await Promise.all(servers.map(endOf))
})

t.test('netlink: writes under way while the server goes are finished by the next one; the size follows', async t => {
  const device = await kernelNbd.attach(options)
  const before = serve(device)
  await kernelNbd.resize(device.index, 48 * MiB)
  t.equal(await shell(`blockdev --getsize64 ${device.path}`), String(48 * MiB))
  const writing = shell(`dd if=/dev/zero of=${device.path} bs=4k count=1000 oflag=direct`)
  await new Promise(resolve => before[0]!.socket.once('data', resolve))
  await Promise.all(before.map(endOf))
  const again = await kernelNbd.reconfigure(device.index, { ...options, index: device.index })
  t.equal(again.socketFds.length, 2)
  const after = serve(again)
  await writing
  await kernelNbd.detach(device.index)
  await Promise.all(after.map(endOf))
})

t.test('netlink: 20 times attached and detached, the device is free each time and no descriptor is left', async t => {
  const openCount = (): number => readdirSync('/proc/self/fd').length
  const startCount = openCount()
  for (let round = 0; round < 20; round++) {
    const device = await kernelNbd.attach({ ...options, index: 3, connections: 1 })
    const servers = serve(device)
    await shell(`dd if=${device.path} of=/dev/null bs=64k count=1 iflag=direct`)
    await kernelNbd.detach(device.index)
    await Promise.all(servers.map(endOf))
  }
  t.same(await kernelNbd.attached(), [])
  t.equal(openCount(), startCount)
})

t.test('netlink: a device that is still open is detached once it is closed', async t => {
  const device = await kernelNbd.attach({ ...options, connections: 1 })
  const servers = serve(device)
  // Not in this thread: opening reads the partition table, which this very thread serves.
  const holder = await open(device.path)
  const detached = kernelNbd.detach(device.index)
  await Promise.all(servers.map(server => new Promise(resolve => server.socket.once('end', resolve))))
  t.not((await kernelNbd.attached()).length, 0)
  await holder.close()
  await detached
  t.same(await kernelNbd.attached(), [])
  await Promise.all(servers.map(endOf))
})

t.test('netlink: the process that serves a device is an IO flusher with locked files', async t => {
  t.equal(becomeIoFlusher(), null)
  t.equal(lockMemory(), null)
})
