import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import type { RaftLog } from './log.js'
import type { HardState, MemberId, RaftEffects, RaftMessage, RaftWrite } from './types.js'

interface WriteInFlight {
  token: number
  /** The part of the log that it replaces, `from` up to its end at that time; null: it leaves the log alone. */
  log: { from: number; upTo: number } | null
  held: RaftMessage[]
}

type Unwritten = Omit<RaftWrite, 'token' | 'entries' | 'hardState'>
const nothing: Unwritten = { snapshot: null, mark: null, members: null }

/**
 * What leaves the core: effects, the writes in flight, and the messages that wait for them. A promise (a vote, an
 * acknowledgement) leaves only once every write begun before it was made is durable.
 */
export class Outbox {
  readonly #self: MemberId
  #token = 0
  #inFlight: WriteInFlight[] = []
  #hardStateChanged = false
  #entriesFrom: number | null = null
  #unwritten: Unwritten = nothing
  #held: RaftMessage[] = []
  readonly #out: Omit<RaftEffects, 'write' | 'committed' | 'role'> = {
    send: [],
    reads: [],
    readsFailed: [],
    sendSnapshotTo: [],
  }

  constructor(self: MemberId) {
    this.#self = self
  }

  send(message: RaftMessage): void {
    assert(message.to !== this.#self, 'nobody writes to himself')
    this.#out.send.push(message)
  }

  /** `message` may be to this member itself; `persisted` returns it then. */
  sendWhenDurable(message: RaftMessage): void {
    if (mutate('raft-skip-the-sync') && message.to !== this.#self) this.send(message)
    else if (this.#isDirty) this.#held.push(message)
    else if (this.#inFlight.length > 0) this.#inFlight.at(-1)!.held.push(message)
    else this.send(message)
  }

  /** What the roles add to directly. */
  get out(): Omit<RaftEffects, 'write' | 'committed' | 'role'> {
    return this.#out
  }

  hardStateChanged(): void {
    this.#hardStateChanged = true
  }

  entriesChanged(from: number): void {
    this.#entriesFrom = Math.min(this.#entriesFrom ?? from, from)
  }

  write(part: Partial<Unwritten>): void {
    if (part.snapshot) this.#entriesFrom = null
    this.#unwritten = { ...this.#unwritten, ...part }
  }

  takeWrite(hardState: HardState, log: RaftLog | null): RaftWrite | null {
    if (!this.#isDirty) return null
    const token = ++this.#token
    const from = this.#entriesFrom
    const entries = from === null ? [] : log!.from(from)
    const { snapshot } = this.#unwritten
    const touchesLog = snapshot !== null || from !== null
    this.#inFlight.push({
      token,
      log: touchesLog ? { from: snapshot ? 1 : from!, upTo: log!.lastIndex } : null,
      held: this.#held,
    })
    const promised = mutate('raft-forget-the-vote') ? { ...hardState, vote: null } : hardState
    const writesHardState = this.#hardStateChanged || touchesLog
    const write = { token, hardState: writesHardState ? promised : null, entries, ...this.#unwritten }
    this.#hardStateChanged = false
    this.#entriesFrom = null
    this.#unwritten = nothing
    this.#held = []
    return write
  }

  /** Returns what this member has promised itself. */
  persisted(token: number, log: RaftLog | null): RaftMessage[] {
    const own: RaftMessage[] = []
    while (this.#inFlight.length > 0 && this.#inFlight[0]!.token <= token) {
      const write = this.#inFlight.shift()!
      if (write.log) log!.setStable(Math.min(write.log.upTo, this.#rewrittenFrom() - 1))
      for (const message of write.held)
        if (message.to === this.#self) own.push(message)
        else this.send(message)
    }
    return own
  }

  takeOut(): Omit<RaftEffects, 'write' | 'committed' | 'role'> {
    const { send, reads, readsFailed, sendSnapshotTo } = this.#out
    Object.assign(this.#out, { send: [], reads: [], readsFailed: [], sendSnapshotTo: [] })
    return { send, reads, readsFailed, sendSnapshotTo }
  }

  get #isDirty(): boolean {
    return this.#hardStateChanged || this.#entriesFrom !== null || this.#unwritten !== nothing
  }

  /**
   * From where on the log will be replaced by writes that are not durable yet. What an older write has put there is not
   * what stands in the log now, even if an entry of the same index and term does.
   */
  #rewrittenFrom(): number {
    let from = this.#unwritten.snapshot ? 1 : (this.#entriesFrom ?? Number.POSITIVE_INFINITY)
    for (const { log } of this.#inFlight) if (log) from = Math.min(from, log.from)
    return from
  }
}
