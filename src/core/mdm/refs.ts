import { StorageError } from '../../base/errors.js'
import { isId, type ProtectionDomainId } from '../../base/ids.js'
import { type ClusterMap, type TableName, type Tables, volumeIndexOf } from '../../model/index.js'
import { kindOf } from './decider.js'

type Named = Exclude<TableName, 'mappings'>

/**
 * The object that people mean by `ref`: its id (16 hexadecimal digits) or its name. Names of pools and fault sets are
 * unique within a protection domain only: `domain` chooses where several have the name.
 */
export function resolve<T extends Named>(
  map: ClusterMap,
  table: T,
  ref: string,
  domain?: ProtectionDomainId,
): Tables[T] {
  const what = kindOf(table)
  const inDomain = (object: Tables[T]): boolean =>
    domain === undefined || !('protectionDomainId' in object) || object.protectionDomainId === domain
  const found = candidates(map, table, ref).filter(inDomain)
  if (found.length === 1) return found[0]!
  if (found.length === 0)
    throw new StorageError('NOT_FOUND', {
      detail: `there is no ${what} "${ref}"`,
      protectionDomain: domain && map.tables.protectionDomains.get(domain)?.name,
      remedy: `query lists every ${what}`,
    })
  throw new StorageError('BAD_ARGUMENT', {
    detail: `several protection domains have a ${what} "${ref}"`,
    have: found.length,
    remedy: 'name the protection domain, or give the id',
  })
}

/** Objects of that id or name; of volumes, which are many and have names of their own, without looking at all. */
function candidates<T extends Named>(map: ClusterMap, table: T, ref: string): Tables[T][] {
  const objects = map.tables[table] as ReadonlyMap<string, Tables[T]>
  const id = isId(ref) ? ref : table === 'volumes' ? volumeIndexOf(map.tables.volumes).byName.get(ref) : undefined
  if (id !== undefined || table === 'volumes') return [objects.get(id ?? '')].filter(object => object !== undefined)
  return [...objects.values()].filter(({ name }) => name === ref)
}
