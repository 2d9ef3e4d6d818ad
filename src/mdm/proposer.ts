import { StorageError } from '../base/errors.js'
import {
  answeredBefore,
  apply,
  type Command,
  type CommandAnswer,
  type CommandKind,
  type Commands,
  decide,
  type LogEntry,
  type MdmState,
  type Outcome,
} from '../core/mdm/index.js'
import type { MapDelta } from '../model/index.js'
import type { Log } from '../ports/index.js'
import type { LogStore } from './log-store.js'
import { weightOf } from './weight.js'

/** Who asked, so that a repetition is answered and not done again. */
export interface Origin {
  client: string
  number: number
}

/** Makes a command from the state just before it is decided; null: there is nothing to do after all. */
export type Build = (state: MdmState) => Command | null

interface Waiting {
  build: Build
  origin: Origin | null
  resolve(answer: unknown): void
  reject(error: unknown): void
}

/** Weight of entries after which the log is replaced by a snapshot: a thousand small ones, or a dozen slice tables. */
export const snapshotWeight = 1000
/** Commands that may wait for their turn. */
const waitingMax = 10_000

/**
 * One command after another: built from the state, decided, made durable in the log, applied, told. What is refused is
 * answered at once and never reaches the log. Nothing leaves before its entry is durable.
 */
export class Proposer {
  readonly #waiting: Waiting[] = []
  #running: Promise<void> | null = null
  #closed = false
  #weight: number
  commandsApplied = 0
  commandsRefused = 0

  constructor(
    readonly state: MdmState,
    readonly store: LogStore,
    readonly log: Log,
    readonly onApplied: (delta: MapDelta) => void,
  ) {
    this.#weight = store.entriesSinceSnapshot
  }

  /** Proposes `build`'s command, of kind `kind`; the answer comes when it is committed. */
  async propose<K extends CommandKind>(
    kind: K,
    build: (state: MdmState) => Commands[K] | null,
    origin: Origin | null = null,
  ): Promise<CommandAnswer<K>> {
    const made = (state: MdmState): Command | null => {
      const fields = build(state)
      return fields && ({ ...fields, kind } as unknown as Command)
    }
    return (await this.#add(made, origin)) as CommandAnswer<K>
  }

  #add(build: Build, origin: Origin | null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new StorageError('UNREACHABLE', { detail: 'the MDM is stopping' }))
      if (this.#waiting.length >= waitingMax)
        return reject(new StorageError('TIMED_OUT', { detail: 'too many commands wait', remedy: 'try again later' }))
      this.#waiting.push({ build, origin, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  async #run(): Promise<void> {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      try {
        settle(next, await this.#carryOut(next))
      } catch (error) {
        next.reject(error)
        // A broken promise of our own: what the state is now, nobody knows. A new start reads the log.
        if (!(error instanceof StorageError)) queueMicrotask(() => raise(error))
      }
    }
    this.#running = null
  }

  async #carryOut({ build, origin }: Waiting): Promise<Outcome> {
    const { state } = this
    const before = origin && answeredBefore(state, origin.client, origin.number)
    if (before) return before
    const command = build(state)
    if (command === null) return { answer: {} }
    const decision = decide(state, command)
    if ('error' in decision) {
      this.commandsRefused++
      return decision
    }
    if (decision.changes.length === 0) return { answer: decision.answer }
    const index = state.map.version + 1
    const entry: LogEntry = { client: origin?.client ?? null, number: origin?.number ?? 0, command }
    await this.store.append(index, entry)
    const { delta, outcome } = apply(state, index, entry)
    this.commandsApplied++
    this.log.debug('mdm.applied', { index, command: command.kind })
    this.onApplied(delta)
    this.#weight += weightOf(delta)
    this.#snapshotIfDue()
    return outcome
  }

  #snapshotIfDue(): void {
    if (this.#weight < snapshotWeight) return
    this.#weight = 0
    this.store.saveSnapshot(this.state, error => {
      if (error !== null) this.log.error('mdm.snapshotFailed', { error })
    })
  }

  /** Refuses new commands; resolves when those under way are through. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }
}

function settle(waiting: Waiting, outcome: Outcome): void {
  if ('error' in outcome) waiting.reject(new StorageError(outcome.error.code, outcome.error.context))
  else waiting.resolve(outcome.answer)
}

function raise(error: unknown): never {
  throw error
}
