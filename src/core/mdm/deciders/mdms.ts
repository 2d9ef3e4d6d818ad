import { StorageError } from '../../../base/errors.js'
import { numberOfId } from '../../../base/ids.js'
import type { ClusterMode, Endpoint, MapChange, Mdm } from '../../../model/index.js'
import { checkLimit, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { acceptableName, checkName, checkUnique } from '../names.js'
import { type MdmState, nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** Managers and tie breakers of each mode. */
export const kindsOfMode: Record<ClusterMode, { managers: number; tieBreakers: number }> = {
  1: { managers: 1, tieBreakers: 0 },
  3: { managers: 2, tieBreakers: 1 },
  5: { managers: 3, tieBreakers: 2 },
}

/** What the cluster is, or is becoming; null: there is no cluster yet. */
export function modeOf(mdms: Iterable<Mdm>): ClusterMode | null {
  const count = [...mdms].filter(isWanted).length
  return count in kindsOfMode ? (count as ClusterMode) : null
}

/** The MDMs themselves: who there is, and who is to be a member. */
export const mdmDeciders: Deciders<
  'firstMdm' | 'addMdm' | 'mdmAttached' | 'removeMdm' | 'renameMdm' | 'moveMdm' | 'changeCluster'
> = {
  firstMdm(state, { id, name, endpoint }) {
    const [existing] = rows(state, 'mdms')
    if (existing) throw new StorageError('ALREADY_EXISTS', { detail: 'the cluster exists already', id: existing.id })
    if (numberOfId(id) < state.nextNumber)
      throw new StorageError('BAD_ARGUMENT', { detail: 'the id has been used before', id })
    return done(
      put('mdms', { id, name: acceptableName(name, 'MDM', []), kind: 'manager', endpoint, membership: 'member' }),
    )
  },

  addMdm(state, { name, mdmKind, endpoint, inPlaceOf }) {
    const mdms = rows(state, 'mdms')
    checkName('MDM', name)
    checkUnique('MDM', name, mdms)
    checkAddress(
      endpoint,
      mdms.filter(({ id }) => id !== inPlaceOf),
    )
    checkLimit('MDMs', mdms.length, systemLimits.mdms)
    const id = nextId<'mdm'>(state)
    return { changes: [put('mdms', { id, name, kind: mdmKind, endpoint, membership: 'attaching' })], answer: { id } }
  },

  mdmAttached(state, { id }) {
    const mdm = find(state, 'mdms', id)
    return mdm.membership === 'attaching' ? done(put('mdms', { ...mdm, membership: 'standby' })) : done()
  },

  removeMdm(state, { id }) {
    const { name, membership } = find(state, 'mdms', id)
    if (membership !== 'standby' && membership !== 'attaching')
      throw new StorageError('IN_USE', {
        detail: 'the MDM is a member of the cluster',
        name,
        remedy: 'replace it, or switch to a smaller mode, first',
      })
    return done(drop('mdms', id))
  },

  renameMdm(state, { id, name }) {
    const mdm = find(state, 'mdms', id)
    checkName('MDM', name)
    checkUnique('MDM', name, rows(state, 'mdms'), id)
    return done(put('mdms', { ...mdm, name }))
  },

  moveMdm(state, { id, endpoint }) {
    const mdm = find(state, 'mdms', id)
    return done(put('mdms', { ...mdm, endpoint }))
  },

  changeCluster(state, { mode, add, remove }) {
    const added = add.map(id => find(state, 'mdms', id))
    const removed = remove.map(id => find(state, 'mdms', id))
    const before = rows(state, 'mdms').filter(isWanted)
    // Asked once more, while it goes on by itself or after it has ended.
    const isAskedAgain = added.every(isWanted) && !removed.some(isWanted) && (mode ?? before.length) === before.length
    if (isAskedAgain && added.length + removed.length > 0) return done()
    if (mode === null) checkReplacement(added, removed)
    else checkSwitch(mode, before.length, add.length, remove.length)
    for (const mdm of added) checkMayJoin(mdm)
    for (const mdm of removed) checkMayLeave(mdm)
    const after = [...before.filter(({ id }) => !remove.includes(id)), ...added]
    checkKinds(after, mode)
    return done(
      ...added.map(mdm => put('mdms', { ...mdm, membership: mdm.membership === 'leaving' ? 'member' : 'joining' })),
      ...removed.map(mdm => put('mdms', { ...mdm, membership: mdm.membership === 'joining' ? 'standby' : 'leaving' })),
    )
  },
}

const isWanted = ({ membership }: Mdm): boolean => membership === 'joining' || membership === 'member'

/** What a membership entry of the log does to the MDMs. */
export function membershipChanges(state: MdmState, voters: ReadonlySet<string>): MapChange[] {
  const changes: MapChange[] = []
  for (const mdm of rows(state, 'mdms')) {
    const membership = membershipOf(mdm, voters.has(mdm.id))
    if (membership !== mdm.membership) changes.push(put('mdms', { ...mdm, membership }))
  }
  return changes
}

function membershipOf({ membership }: Mdm, votes: boolean): Mdm['membership'] {
  if (votes) return membership === 'joining' ? 'member' : membership === 'standby' ? 'leaving' : membership
  return membership === 'member' || membership === 'leaving' ? 'standby' : membership
}

function checkAddress({ host, port }: Endpoint, others: readonly Mdm[]): void {
  const other = others.find(({ endpoint }) => endpoint.host === host && endpoint.port === port)
  if (other)
    throw new StorageError('ALREADY_EXISTS', {
      detail: 'an MDM of this address is attached already',
      name: other.name,
      address: `${host}:${port}`,
    })
}

function checkSwitch(mode: ClusterMode, before: number, added: number, removed: number): void {
  const refuse = (detail: string, remedy: string) => {
    throw new StorageError('BAD_ARGUMENT', { detail, mode, members: before, remedy })
  }
  if (mode === before) refuse('the cluster has this mode already', 'replace members one by one')
  if (mode > before && removed > 0) refuse('a cluster that grows loses no members', 'name only members to add')
  if (mode < before && added > 0) refuse('a cluster that shrinks gains no members', 'name only members to remove')
}

function checkReplacement(added: readonly Mdm[], removed: readonly Mdm[]): void {
  if (added.length !== 1 || removed.length !== 1)
    throw new StorageError('BAD_ARGUMENT', { detail: 'one MDM replaces one other', remedy: 'name one of each' })
  if (added[0]!.kind !== removed[0]!.kind)
    throw new StorageError('BAD_ARGUMENT', {
      detail: 'an MDM is replaced by one of its own kind',
      add: added[0]!.kind,
      remove: removed[0]!.kind,
      remedy: 'name a standby of the other kind',
    })
}

function checkMayJoin({ name, membership }: Mdm): void {
  if (membership === 'standby' || membership === 'leaving') return
  throw new StorageError(membership === 'attaching' ? 'UNREACHABLE' : 'IN_USE', {
    detail: membership === 'attaching' ? 'the MDM is not attached yet' : 'the MDM is a member already',
    name,
    remedy: membership === 'attaching' ? 'start it, and see query_cluster' : 'name a standby',
  })
}

function checkMayLeave(mdm: Mdm): void {
  if (isWanted(mdm)) return
  throw new StorageError('BAD_ARGUMENT', { detail: 'the MDM is no member', name: mdm.name, remedy: 'name a member' })
}

function checkKinds(after: readonly Mdm[], mode: ClusterMode | null): void {
  const managers = after.filter(({ kind }) => kind === 'manager').length
  const tieBreakers = after.length - managers
  const want = kindsOfMode[(mode ?? after.length) as ClusterMode]
  if (want?.managers === managers && want.tieBreakers === tieBreakers) return
  throw new StorageError('BAD_ARGUMENT', {
    detail: 'these would not be the right numbers of managers and tie breakers',
    managers,
    tieBreakers,
    remedy: 'mode 1 has 1 manager; mode 3 has 2 and a tie breaker; mode 5 has 3 and 2 tie breakers',
  })
}
