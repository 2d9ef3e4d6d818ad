import { assert } from '../../base/assert.js'
import type { Member, MemberId } from './types.js'

export const votersOf = (members: readonly Member[]): Member[] => members.filter(member => !member.isLearner)

export const isVoter = (members: readonly Member[], id: MemberId): boolean =>
  members.some(member => member.id === id && !member.isLearner)

/** Voters that keep the log. */
export const fullVotersOf = (members: readonly Member[]): Member[] =>
  votersOf(members).filter(member => member.kind === 'manager')

export type MemberChange = { kind: 'join' | 'promote' | 'demote' | 'remove'; member: Member }

/**
 * The one difference between two lists, or the reason why there is not exactly one. With one voter more or less at a
 * time, any majority of the old list shares a voter with any majority of the new one (dissertation 4.1).
 */
export function memberChange(have: readonly Member[], want: readonly Member[]): MemberChange | { refused: string } {
  if (new Set(want.map(({ id }) => id)).size < want.length) return { refused: 'a member is in the list twice' }
  if (fullVotersOf(want).length === 0) return { refused: 'no manager would be left that votes' }
  const changes: MemberChange[] = []
  for (const member of want) {
    const old = have.find(({ id }) => id === member.id)
    if (old && old.kind !== member.kind) return { refused: `${member.id} cannot change its kind` }
    if (!old && !member.isLearner) return { refused: `${member.id} has to join as a learner first` }
    if (!old) changes.push({ kind: 'join', member })
    else if (old.isLearner !== member.isLearner) changes.push({ kind: member.isLearner ? 'demote' : 'promote', member })
  }
  for (const member of have) if (!want.some(({ id }) => id === member.id)) changes.push({ kind: 'remove', member })
  if (changes.length === 0) return { refused: 'the list is the same' }
  if (changes.length > 1) return { refused: 'members change one at a time' }
  assert(changes[0], 'one is left')
  return changes[0]
}
