import type { ErrorCode } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { firstChunkIn, type VolumeView } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import { encode } from '../wire/codec.js'
import { type CompareReport, type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import { checkEpoch, type Verdict } from './admission.js'
import { allocationChunksMax } from './allocation.js'
import type { SdsContext } from './context.js'
import { DeviceRequest } from './device-request.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { Session } from './session.js'

const differencesMax = 256
const peerWaitMs = 5_000
const peerPollMs = 50

/** Epoch 0 compares in whatever epoch the slice is. */
export function checkCompare(session: Session, frame: DataFrame): Verdict {
  const { context, device } = session
  const record = context.view.record(frame.pool, frame.slice)
  const verdict = checkEpoch(
    context,
    device,
    frame.pool,
    record,
    frame.epoch === 0 ? (record?.epoch ?? 1) : frame.epoch,
  )
  if (verdict !== 'admit') return verdict
  return record!.primary === device.id ? 'admit' : 'BAD_REQUEST'
}

/**
 * Compares the copies of a slice that are in sync, chunk by chunk, byte by byte, under the range lock: so it may be asked
 * of a slice in use. A chunk that one copy alone has allocated is equal where it is all zeroes.
 */
export function compare(session: Session, frame: DataFrame): void {
  new SliceComparison(session, frame).run().then(
    report => session.answer(frame, [encode(report)]),
    error => session.refuse(frame, error instanceof Interrupted ? error.code : 'INTERNAL'),
  )
}

class Interrupted extends Error {
  constructor(readonly code: ErrorCode) {
    super(code)
  }
}

class SliceComparison {
  readonly #context: SdsContext
  readonly #record: SliceRecord
  readonly #report: CompareReport

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {
    this.#context = session.context
    this.#record = this.#context.view.record(frame.pool, frame.slice)!
    this.#report = { slice: frame.slice, chunksCompared: 0, bytesCompared: 0, differences: [] }
  }

  async run(): Promise<CompareReport> {
    const other = this.#record.secondary
    if (other === null) return this.#report
    await this.#reach(other)
    for (const volume of this.#context.view.volumesOf(this.#context.view.pools.get(this.frame.pool)!))
      for (const chunk of await this.#chunksOf(volume, other)) await this.#compareChunk(volume, chunk, other)
    return this.#report
  }

  async #reach(other: DeviceId): Promise<void> {
    const { peers, clock } = this.#context
    for (let waitedMs = 0; !peers.isUp(other); waitedMs += peerPollMs) {
      if (waitedMs >= peerWaitMs) throw new Interrupted('NOT_READY')
      peers.of(other).connect()
      await new Promise<void>(resolve => clock.setTimer(peerPollMs, resolve))
    }
  }

  /** Chunks of the slice that either copy has. */
  async #chunksOf(volume: VolumeView, other: DeviceId): Promise<number[]> {
    const step = volume.pool.sliceCount
    const first = firstChunkIn(volume, this.frame.slice)
    const own = this.session.device.store.chunksOf(volume.number, first, volume.chunkCount, step)
    const chunks = new Set(own)
    for (let from = first; from < volume.chunkCount; ) {
      const length = Math.min(allocationChunksMax, volume.chunkCount - from)
      const reply = await this.ask(other, { opcode: opcodes.allocation, volume: volume.number, chunk: from, length })
      const bitmaps = Buffer.concat(reply.body)
      const allocatedAt = Math.ceil(length / 8)
      if (bitmaps.length !== 2 * allocatedAt) throw new Interrupted('PROTOCOL')
      let i = 0
      for (; i < length; i += step) if (bitmaps[allocatedAt + (i >> 3)]! & (1 << (i & 7))) chunks.add(from + i)
      from += i
    }
    return [...chunks].sort((a, b) => a - b)
  }

  async #compareChunk(volume: VolumeView, chunk: number, other: DeviceId): Promise<void> {
    const lock = new ComparedChunk(this.session, volume.number, chunk)
    await lock.granted
    try {
      if (this.#context.view.record(this.frame.pool, this.frame.slice) !== this.#record)
        throw new Interrupted('STALE_EPOCH')
      const place = { volume: volume.number, chunk, offset: 0, length: chunkBytes }
      const [own, reply] = await Promise.all([lock.read(), this.ask(other, { opcode: opcodes.copyRead, ...place })])
      this.#note(volume.number, chunk, other, own, Buffer.concat(reply.body))
    } finally {
      lock.letGo()
    }
  }

  #note(volume: number, chunk: number, deviceId: DeviceId, own: Buffer, their: Buffer): void {
    this.#report.chunksCompared++
    this.#report.bytesCompared += chunkBytes
    if (own.equals(their) || this.#report.differences.length >= differencesMax) return
    let offsetBytes = 0
    while (own[offsetBytes] === their[offsetBytes]) offsetBytes++
    const isHere = this.session.device.store.has(volume, chunk)
    const what = isHere ? 'the bytes differ' : 'only the other copy has the chunk, and it is not all zeroes'
    this.#report.differences.push({ volume, chunk, deviceId, offsetBytes, what })
  }

  ask(deviceId: DeviceId, fields: Parameters<typeof makeFrame>[0]): Promise<DataFrame> {
    const { pool, slice } = this.frame
    return new Promise((resolve, reject) => {
      const owner: CopyOwner = {
        copyAnswered: (_send: CopySend, status: number, reply: DataFrame | null) => {
          if (status === 0 && reply !== null) resolve(reply)
          else reject(new Interrupted('NOT_READY'))
        },
      }
      this.#context.peers.send(owner, deviceId, makeFrame({ ...fields, pool, slice, epoch: this.#record.epoch }), false)
    })
  }
}

class ComparedChunk extends DeviceRequest {
  readonly granted: Promise<void>
  #grant: () => void = () => {}

  constructor(session: Session, volume: number, chunk: number) {
    super(session.device, volume, chunk)
    this.granted = new Promise(resolve => {
      this.#grant = resolve
    })
    this.beginShared(0, chunkBytes)
  }

  override lockGranted(): void {
    this.#grant()
  }

  read(): Promise<Buffer> {
    const target = Buffer.allocUnsafe(chunkBytes)
    return new Promise((resolve, reject) =>
      this.device.store.read(this.volume, this.chunk, 0, target, error =>
        error === null ? resolve(target) : reject(new Interrupted('MEDIA_ERROR')),
      ),
    )
  }

  letGo(): void {
    this.end()
  }
}
