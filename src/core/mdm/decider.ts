import { StorageError } from '../../base/errors.js'
import type { MapChange, TableName, Tables } from '../../model/index.js'
import type { CommandAnswer, CommandKind, Commands } from './commands.js'
import type { MdmState } from './state.js'

/** What a command does and answers. */
export interface Decided<K extends CommandKind> {
  changes: MapChange[]
  answer: CommandAnswer<K>
}

/** Decides one kind of command; throws a StorageError where the rules refuse it. Changes nothing. */
export type Decider<K extends CommandKind> = (state: MdmState, command: Commands[K]) => Decided<K>
export type Deciders<K extends CommandKind> = { [N in K]: Decider<N> }

const kinds: { [T in TableName]: string } = {
  systems: 'system',
  protectionDomains: 'protection domain',
  faultSets: 'fault set',
  pools: 'storage pool',
  sdss: 'SDS',
  devices: 'device',
  volumes: 'volume',
  sdcs: 'SDC',
  mappings: 'mapping',
  mdms: 'MDM',
}
export const kindOf = (table: TableName): string => kinds[table]

/** The object of that id; throws NOT_FOUND. */
export function find<T extends TableName>(state: MdmState, table: T, id: string): Tables[T] {
  const object = state.map.tables[table].get(id) as Tables[T] | undefined
  if (!object)
    throw new StorageError('NOT_FOUND', {
      detail: `there is no ${kindOf(table)} of this id`,
      id,
      remedy: 'query lists all',
    })
  return object
}

export const put = <T extends TableName>(table: T, value: Tables[T]): MapChange =>
  ({ kind: 'put', table, value }) as MapChange
export const drop = (table: TableName, id: string): MapChange => ({ kind: 'drop', table, id })

export const rows = <T extends TableName>(state: MdmState, table: T): Tables[T][] => [
  ...(state.map.tables[table].values() as Iterable<Tables[T]>),
]

/** A decision that answers nothing. */
export const done = (...changes: MapChange[]): { changes: MapChange[]; answer: Record<string, never> } => ({
  changes,
  answer: {},
})

/** Throws LIMIT_REACHED if one more would exceed `max`. */
export function checkLimit(what: string, have: number, max: number, where?: string): void {
  if (have >= max)
    throw new StorageError('LIMIT_REACHED', {
      detail: `there may be at most ${max} ${what}`,
      where,
      have,
      remedy: 'remove some first',
    })
}

/** Throws IN_USE if there is any of `objects`. */
export function checkUnused(
  what: string,
  name: string,
  objects: readonly { name: string }[],
  holds: string,
  remedy: string,
): void {
  const first = objects[0]
  if (!first) return
  throw new StorageError('IN_USE', {
    detail: `the ${what} still has ${holds}`,
    name,
    have: objects.length,
    first: first.name,
    remedy,
  })
}
