import { type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { DeviceRequest } from './device-request.js'
import type { OwnDevice } from './own-device.js'
import type { CopyOwner, CopySend } from './replicas.js'

/** Writes what the secondary has over a range that the own device could not read. Tries once; a failed device is left. */
export function repair(context: SdsContext, device: OwnDevice, read: DataFrame): void {
  if (device.store.failed === null) new Repair(context, device, read).start()
}

class Repair extends DeviceRequest implements CopyOwner {
  #send: CopySend | null = null

  constructor(
    readonly context: SdsContext,
    device: OwnDevice,
    readonly read: DataFrame,
  ) {
    super(device, read.volume, read.chunk)
  }

  start(): void {
    this.beginExclusive(this.read.offset, this.read.length)
  }

  override lockGranted(): void {
    const { pool, slice, epoch, volume, chunk, offset, length } = this.read
    const record = this.context.view.record(pool, slice)
    const secondary = record?.epoch === epoch && record.primary === this.device.id ? record.secondary : null
    if (secondary === null || !this.device.store.has(volume, chunk)) {
      this.end()
      return
    }
    const request = makeFrame({ opcode: opcodes.copyRead, pool, slice, epoch, volume, chunk, offset, length })
    this.#send = this.context.peers.send(this, secondary, request, true)
  }

  override mapChanged(): void {
    if (this.#send === null) return
    const { pool, slice, epoch } = this.read
    if (this.context.view.record(pool, slice)?.epoch === epoch) return
    this.#send.abandon()
    this.#send = null
    this.end()
  }

  copyAnswered(_send: CopySend, status: number, reply: DataFrame | null): void {
    this.#send = null
    const { volume, chunk, offset, length } = this.read
    if (status !== 0 || reply?.bodyBytes !== length) {
      this.end()
      return
    }
    this.device.store.write(volume, chunk, offset, reply.body, error => {
      const outcome = error === null ? 'repaired' : 'failed'
      this.context.log.warn('sds.read-repair', { deviceId: this.device.id, volume, chunk, offset, length, outcome })
      this.end()
    })
  }
}
