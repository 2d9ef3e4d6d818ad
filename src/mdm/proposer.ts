import { StorageError } from '../base/errors.js'
import { mutate } from '../base/mutation.js'
import {
  answeredBefore,
  type Command,
  type CommandAnswer,
  type CommandKind,
  type Commands,
  decide,
  type LogEntry,
  type MdmState,
  type Outcome,
} from '../core/mdm/index.js'
import type { Log } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import type { Node } from './node.js'

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

/** Commands that may wait for their turn. */
const waitingMax = 10_000

/**
 * One command after another: built from the state, decided, committed, applied, answered. What is refused is answered
 * at once and never reaches the log. Nothing leaves before a majority of the MDMs has its entry durably.
 */
export class Proposer {
  readonly #waiting: Waiting[] = []
  #running: Promise<void> | null = null
  #closed: StorageError | null = null
  commandsApplied = 0
  commandsRefused = 0

  constructor(
    readonly node: Pick<Node, 'propose' | 'barrier'>,
    readonly state: MdmState,
    readonly log: Log,
  ) {}

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
      if (this.#closed) return reject(this.#closed)
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
    const isRepetition = origin && !mutate('mdm-apply-a-repetition-again')
    const before = isRepetition ? answeredBefore(state, origin.client, origin.number) : null
    if (before) return before
    const command = build(state)
    if (command === null) return { answer: {} }
    const decision = decide(state, command)
    if ('error' in decision || decision.changes.length === 0) {
      // Somebody else may be master meanwhile, and know better.
      await this.node.barrier()
      if (!('error' in decision)) return { answer: decision.answer }
      this.commandsRefused++
      return decision
    }
    const entry: LogEntry = { client: origin?.client ?? null, number: origin?.number ?? 0, command }
    const proposed = this.node.propose(encode(entry))
    if (mutate('mdm-answer-before-the-commit')) {
      proposed.catch(() => {})
      return { answer: decision.answer }
    }
    const outcome = await proposed
    this.commandsApplied++
    this.log.debug('mdm.committed', { command: command.kind })
    return outcome
  }

  /** Refuses new commands and those that wait; resolves when the one under way is through. */
  async close(reason: StorageError): Promise<void> {
    this.#closed = reason
    for (const { reject } of this.#waiting.splice(0)) reject(reason)
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
