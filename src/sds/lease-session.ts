import { errorTable } from '../base/errors.js'
import type { Connection } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import { type DataFrame, type DataHello, makeReply, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { parseDeltas } from './map-changes.js'

/** The granter's end of a lease connection: another SDS asks, this one answers at once. */
export class LeaseSession {
  #isEnded = false

  constructor(
    readonly context: SdsContext,
    readonly connection: Connection<DataFrame>,
    readonly hello: DataHello,
  ) {}

  received(frame: DataFrame): void {
    if (this.#isEnded) return
    switch (frame.opcode) {
      case opcodes.lease: {
        const answer = this.context.leases.answer(this.hello, frame)
        if (answer === null) this.connection.send(makeReply(frame, errorTable.BAD_REQUEST.wire))
        else this.connection.send(makeReply(frame, 0, [encode(answer)]))
        return
      }
      case opcodes.mapChanges: {
        const deltas = parseDeltas(frame.body)
        if (deltas !== null) this.context.takeChanges(deltas)
        return
      }
      case opcodes.ping:
        this.connection.send(makeReply(frame, 0))
        return
      default:
        this.connection.send(makeReply(frame, errorTable.BAD_REQUEST.wire))
    }
  }

  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.connection.close()
  }
}
