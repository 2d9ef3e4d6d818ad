import { StorageError } from '../../base/errors.js'
import { mutate } from '../../base/mutation.js'
import type { MapChange, MapDelta } from '../../model/index.js'
import type { WireError } from '../../wire/control.js'
import type { Command, CommandKind, LogEntry } from './commands.js'
import type { Decided, Deciders } from './decider.js'
import { clientDeciders } from './deciders/clients.js'
import { checkNotRecovering, configurationDeciders } from './deciders/configuration.js'
import { deviceDeciders } from './deciders/devices.js'
import { mdmDeciders, membershipChanges } from './deciders/mdms.js'
import { poolDeciders } from './deciders/pools.js'
import { sdsDeciders } from './deciders/sdss.js'
import { sliceDeciders } from './deciders/slices.js'
import { topologyDeciders } from './deciders/topology.js'
import { volumeDeciders } from './deciders/volumes.js'
import { applyChanges, keepAnswer, type MdmState, type Outcome } from './state.js'

const deciders: Deciders<CommandKind> = {
  ...configurationDeciders,
  ...topologyDeciders,
  ...mdmDeciders,
  ...poolDeciders,
  ...sdsDeciders,
  ...sliceDeciders,
  ...deviceDeciders,
  ...volumeDeciders,
  ...clientDeciders,
}

export type Decision = { changes: MapChange[]; answer: unknown } | { error: WireError }

/** What a command does to the state: a list of changes and an answer, or an error and nothing. Pure and total. */
export function decide(state: MdmState, command: Command): Decision {
  try {
    checkNotRecovering(state, command.kind)
    const decider = deciders[command.kind] as (state: MdmState, command: Command) => Decided<CommandKind>
    return decider(state, command)
  } catch (error) {
    if (!(error instanceof StorageError)) throw error
    return { error: { code: error.code, context: error.context } }
  }
}

/**
 * The outcome of a command that this client has sent before; null: it is new. Only the last one is known: an older number
 * is a stray repetition of something long answered.
 */
export function answeredBefore(state: MdmState, client: string | null, number: number): Outcome | null {
  const last = client === null ? undefined : state.answers.get(client)
  if (!last || number > last.number) return null
  if (number === last.number) return last.outcome
  const context = { detail: 'this command was followed by newer ones of the same client', number, last: last.number }
  return { error: { code: 'BAD_ARGUMENT', context } }
}

/** Applies log entry `index`: the only way in which the state changes. The delta is what daemons receive. */
export function apply(state: MdmState, index: number, entry: LogEntry): { delta: MapDelta; outcome: Outcome } {
  const before = mutate('mdm-apply-a-repetition-again') ? null : answeredBefore(state, entry.client, entry.number)
  const decision: Decision = before
    ? 'error' in before
      ? before
      : { changes: [], answer: before.answer }
    : decide(state, entry.command)
  const delta: MapDelta = { version: index, changes: 'error' in decision ? [] : decision.changes }
  applyChanges(state, delta)
  const outcome: Outcome = 'error' in decision ? { error: decision.error } : { answer: decision.answer }
  if (entry.client !== null && !before) keepAnswer(state, entry.client, entry.number, outcome)
  return { delta, outcome }
}

/** Applies a log entry that is no command: with `voters` the one that names the members from now on. */
export function applyOther(state: MdmState, index: number, voters: ReadonlySet<string> | null): MapDelta {
  const delta: MapDelta = { version: index, changes: voters === null ? [] : membershipChanges(state, voters) }
  applyChanges(state, delta)
  return delta
}
