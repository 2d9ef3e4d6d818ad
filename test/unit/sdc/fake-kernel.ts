import { Duplex } from 'node:stream'
import type { KernelAttach, KernelDevice, KernelNbd } from '../../../src/ports/index.js'

/** One end of a socket pair. What is written to one end comes out of the other. */
class PairEnd extends Duplex {
  peer: PairEnd | null = null
  override _read(): void {}
  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.peer?.push(bytes)
    setImmediate(done)
  }
  override _final(done: () => void): void {
    this.peer?.push(null)
    done()
  }
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (this.peer !== null && !this.peer.destroyed) setImmediate(() => this.peer?.destroy())
    done(error)
  }
}

interface Attached {
  identifier: string
  sizeBytes: number
  /** The kernel's ends. */
  sockets: PairEnd[]
}

/** The kernel's NBD driver: devices outlive the processes that serve them. */
export class FakeKernel implements KernelNbd {
  readonly devices = new Map<number, Attached>()
  readonly calls: string[] = []
  /** Our ends, by descriptor. */
  readonly ends = new Map<number, PairEnd>()
  refusal: string | null = null
  #nextFd = 100
  #nextIndex = 0

  unavailable(): string | null {
    return this.refusal
  }

  async attach(options: KernelAttach): Promise<KernelDevice> {
    this.calls.push(`attach ${options.identifier}`)
    const index = this.#nextIndex++
    this.devices.set(index, { identifier: options.identifier, sizeBytes: options.sizeBytes, sockets: [] })
    return this.#connect(index, options)
  }

  async reconfigure(index: number, options: KernelAttach): Promise<KernelDevice> {
    this.calls.push(`reconfigure nbd${index}`)
    const alive = this.devices.get(index)!.sockets.filter(socket => !socket.destroyed && !socket.readableEnded)
    if (alive.length > 0) throw new Error('the device keeps its old connections')
    return this.#connect(index, options)
  }

  async resize(index: number, sizeBytes: number): Promise<void> {
    this.calls.push(`resize nbd${index} ${sizeBytes}`)
    this.devices.get(index)!.sizeBytes = sizeBytes
  }

  async detach(index: number): Promise<void> {
    this.calls.push(`detach nbd${index}`)
    for (const socket of this.devices.get(index)!.sockets) socket.destroy()
    this.devices.delete(index)
  }

  async attached(): Promise<{ index: number; identifier: string | null }[]> {
    return [...this.devices].map(([index, { identifier }]) => ({ index, identifier }))
  }

  #connect(index: number, options: KernelAttach): KernelDevice {
    const device = this.devices.get(index)!
    const socketFds: number[] = []
    device.sockets = []
    for (let i = 0; i < options.connections; i++) {
      const [ours, kernels] = [new PairEnd(), new PairEnd()]
      ours.peer = kernels
      kernels.peer = ours
      const fd = this.#nextFd++
      this.ends.set(fd, ours)
      socketFds.push(fd)
      device.sockets.push(kernels)
      kernels.resume()
      // The driver hangs up when the other side does.
      kernels.on('end', () => kernels.destroy())
    }
    return { index, path: `/dev/nbd${index}`, socketFds }
  }
}
