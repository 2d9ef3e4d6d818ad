import { StorageError } from '../../../base/errors.js'
import { isId } from '../../../base/ids.js'
import { checkLimit, checkUnused, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkName, checkUnique } from '../names.js'
import { nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** The system, its protection domains and fault sets. */
export const topologyDeciders: Deciders<
  | 'createSystem'
  | 'addProtectionDomain'
  | 'renameProtectionDomain'
  | 'removeProtectionDomain'
  | 'addFaultSet'
  | 'renameFaultSet'
  | 'removeFaultSet'
> = {
  createSystem(state, { systemId, name }) {
    const [existing] = rows(state, 'systems')
    if (existing) throw new StorageError('ALREADY_EXISTS', { detail: 'the system exists already', id: existing.id })
    if (!isId(systemId)) throw new StorageError('BAD_ARGUMENT', { detail: 'a system id is 16 hexadecimal digits' })
    checkName('system', name)
    return done(put('systems', { id: systemId, name }))
  },

  addProtectionDomain(state, { name }) {
    const domains = rows(state, 'protectionDomains')
    checkName('protection domain', name)
    checkUnique('protection domain', name, domains)
    checkLimit('protection domains', domains.length, systemLimits.protectionDomains)
    const id = nextId<'protectionDomain'>(state)
    return { changes: [put('protectionDomains', { id, name })], answer: { id } }
  },

  renameProtectionDomain(state, { id, name }) {
    const domain = find(state, 'protectionDomains', id)
    checkName('protection domain', name)
    checkUnique('protection domain', name, rows(state, 'protectionDomains'), id)
    return done(put('protectionDomains', { ...domain, name }))
  },

  removeProtectionDomain(state, { id }) {
    const { name } = find(state, 'protectionDomains', id)
    const inside = <Row extends { protectionDomainId: string }>(all: Row[]): Row[] =>
      all.filter(row => row.protectionDomainId === id)
    checkUnused('protection domain', name, inside(rows(state, 'sdss')), 'SDSs', 'remove its SDSs first')
    checkUnused('protection domain', name, inside(rows(state, 'pools')), 'storage pools', 'remove its pools first')
    checkUnused(
      'protection domain',
      name,
      inside(rows(state, 'faultSets')),
      'fault sets',
      'remove its fault sets first',
    )
    return done(drop('protectionDomains', id))
  },

  addFaultSet(state, { protectionDomainId, name }) {
    const domain = find(state, 'protectionDomains', protectionDomainId)
    const others = rows(state, 'faultSets').filter(other => other.protectionDomainId === protectionDomainId)
    checkName('fault set', name)
    checkUnique('fault set', name, others)
    checkLimit('fault sets in a protection domain', others.length, systemLimits.faultSetsPerDomain, domain.name)
    const id = nextId<'faultSet'>(state)
    return { changes: [put('faultSets', { id, name, protectionDomainId })], answer: { id } }
  },

  renameFaultSet(state, { id, name }) {
    const faultSet = find(state, 'faultSets', id)
    const others = rows(state, 'faultSets').filter(other => other.protectionDomainId === faultSet.protectionDomainId)
    checkName('fault set', name)
    checkUnique('fault set', name, others, id)
    return done(put('faultSets', { ...faultSet, name }))
  },

  removeFaultSet(state, { id }) {
    const { name } = find(state, 'faultSets', id)
    const sdss = rows(state, 'sdss').filter(sds => sds.faultSetId === id)
    checkUnused('fault set', name, sdss, 'SDSs', 'remove its SDSs first')
    return done(drop('faultSets', id))
  },
}
