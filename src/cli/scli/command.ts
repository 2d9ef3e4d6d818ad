import type { ClusterAnswer, MdmClient } from '../../mdm-client/index.js'
import type { SystemReport } from '../../wire/control.js'

/** An option that takes a value. `parse` throws an Error whose message says what is acceptable. */
export interface ValueOption<T> {
  placeholder: string
  parse: (text: string) => T
  help: string
}
/** An option that stands alone. */
export interface FlagOption {
  placeholder: null
  help: string
}
export type OptionTable = Record<string, ValueOption<unknown> | FlagOption>
export type ValuesOf<O extends OptionTable> = {
  [K in keyof O]?: O[K] extends ValueOption<infer T> ? T : true
}

/** Of these options at most one may be given, or exactly one where `required`. */
export interface Choice {
  of: readonly string[]
  required: boolean
}

/** What a command answers: sentences or tables for people, data for programs. */
export interface Answer {
  text: string
  data: unknown
  /** Said on stderr, before the answer. */
  warnings?: string[]
}

export interface CommandContext {
  mdm: Pick<MdmClient, 'request'>
  report(): Promise<SystemReport>
  /** The MDM cluster as its master tells it, or else any member. */
  cluster(): Promise<ClusterAnswer>
}

/**
 * One command, in both spellings: `scli --VERB --option value` and `scli NOUN ACTION --option value`. In the second one
 * `shorts` may stand for the long names (`--name` for `--volume_name`). Invariant: verbs, aliases and noun-action pairs
 * are unique over the whole table (checked where the table is built).
 */
export interface Command<O extends OptionTable = OptionTable> {
  noun: string
  action: string
  verb: string
  aliases?: readonly string[]
  summary: string
  options: O
  choices?: readonly Choice[]
  shorts?: Record<string, keyof O & string>
  /** Destructive: asked on a terminal, `--i_am_sure` elsewhere. */
  confirm?: string
  /** It asks `cluster` only, which answers without a master, too. */
  needsNoMaster?: boolean
  run(values: ValuesOf<O>, context: CommandContext): Promise<Answer>
}

/** Keeps the types of the options for `run`, and forgets them for the table. */
export const defineCommand = <const O extends OptionTable>(command: Command<O>): Command =>
  command as unknown as Command

export const required = (...of: string[]): Choice => ({ of, required: true })
export const optional = (...of: string[]): Choice => ({ of, required: false })
