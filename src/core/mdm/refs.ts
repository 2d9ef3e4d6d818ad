import { StorageError } from '../../base/errors.js'
import { isId, type ProtectionDomainId } from '../../base/ids.js'
import type { ClusterMap, TableName, Tables } from '../../model/index.js'
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
  const objects = [...(map.tables[table].values() as Iterable<Tables[T]>)]
  const found = objects.filter(object => (isId(ref) ? object.id === ref : object.name === ref) && inDomain(object))
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
