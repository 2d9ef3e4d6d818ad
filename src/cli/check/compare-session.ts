import { type ErrorCode, errorCodeOfWire } from '../../base/errors.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import type { MapDelta } from '../../model/cluster-map.js'
import type { Endpoint } from '../../model/objects.js'
import type { Connection, Link } from '../../ports/link.js'
import { decode, encode } from '../../wire/codec.js'
import { type CompareReport, type DataFrame, type DataHello, makeFrame, opcodes } from '../../wire/data.js'

/** What came of comparing one slice once. */
export type CompareOutcome =
  | { kind: 'compared'; report: CompareReport }
  | { kind: 'stale'; deltas: MapDelta[] }
  | { kind: 'refused'; code: ErrorCode; sentence: string }
  | { kind: 'lost'; reason: string }

export interface CompareRequest {
  pool: number
  slice: number
  epoch: number
  mapVersion: number
}

/** One connection to the data endpoint of a device, over which slices are compared. */
export class CompareSession {
  readonly #connection: Connection<DataFrame>
  readonly #waiting = new Map<number, (outcome: CompareOutcome) => void>()
  #nextId = 1
  /** Not null: why this session is of no more use. */
  lostReason: string | null = null

  constructor(link: Link, to: Endpoint, systemId: SystemId, deviceId: DeviceId, mapVersion: number) {
    this.#connection = link.connectData(to, {
      onMessage: frame => this.#take(frame),
      onClose: reason => this.#lose(reason),
    })
    // The checker changes nothing, so that it needs no place in the order of sessions; the counter only has to be new.
    const hello: DataHello = {
      systemId,
      kind: 'check',
      client: 0,
      incarnation: 0,
      counter: Date.now(),
      deviceId,
      mapVersion,
    }
    this.#connection.send(makeFrame({ opcode: opcodes.hello, requestId: 0, mapVersion, body: [encode(hello)] }))
  }

  compare(request: CompareRequest): Promise<CompareOutcome> {
    if (this.lostReason !== null) return Promise.resolve({ kind: 'lost', reason: this.lostReason })
    const requestId = this.#nextId++
    return new Promise(resolve => {
      this.#waiting.set(requestId, resolve)
      this.#connection.send(makeFrame({ opcode: opcodes.compare, requestId, ...request }))
    })
  }

  close(): void {
    this.#connection.close()
    this.#lose('closed')
  }

  #take(frame: DataFrame): void {
    const body = Buffer.concat(frame.body)
    if (frame.opcode === opcodes.hello) {
      if (frame.status !== 0) {
        this.#connection.close()
        this.#lose(`${errorCodeOfWire(frame.status)}: ${body.toString()}`)
      }
      return
    }
    const settle = this.#waiting.get(frame.requestId)
    if (!settle) return
    this.#waiting.delete(frame.requestId)
    settle(outcomeOf(frame.status, body))
  }

  #lose(reason: string): void {
    this.lostReason ??= reason
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const settle of waiting) settle({ kind: 'lost', reason })
  }
}

function outcomeOf(status: number, body: Buffer): CompareOutcome {
  if (status === 0) return { kind: 'compared', report: decode(body) as CompareReport }
  const code = errorCodeOfWire(status)
  if (code === 'STALE_EPOCH') return { kind: 'stale', deltas: body.length > 0 ? (decode(body) as MapDelta[]) : [] }
  return { kind: 'refused', code, sentence: body.toString() }
}
