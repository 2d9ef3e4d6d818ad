import type { Entry, Member, Position, RaftMessage, RaftStatus, RaftWrite } from '../../../../src/core/raft/index.js'

/** `index/term`. */
export const place = ({ index, term }: Position): string => `${index}/${term}`

/** Learners in parentheses. */
export const list = (members: readonly Member[]): string =>
  members.length === 0 ? 'nobody' : members.map(({ id, isLearner }) => (isLearner ? `(${id})` : id)).join(' ')

export function entryText(entry: Entry): string {
  if (entry.members) return `${place(entry)} members ${list(entry.members)}`
  return `${place(entry)} ${entry.payload === null ? 'no-op' : entry.payload}`
}

export const messageText = (message: RaftMessage): string =>
  `${message.from} -> ${message.to}  ${bodyText(message)}, term ${message.term}`

function bodyText(message: RaftMessage): string {
  switch (message.type) {
    case 'vote':
      return `${message.isPre ? 'pre-vote' : 'vote'}? last ${place(message.last)}${message.isTransfer ? ', by transfer' : ''}`
    case 'voteAnswer':
      return `${message.isPre ? 'pre-vote' : 'vote'} ${message.isGranted ? 'granted' : 'refused'}`
    case 'append': {
      const entries = message.entries.map(entryText).join(', ')
      return `append after ${place(message.prev)} [${entries}] commit ${message.commit}`
    }
    case 'appendAnswer':
      return `appended up to ${message.index}`
    case 'appendRefusal':
      return `refused after ${message.prevIndex}, try ${place(message.hint)}`
    case 'heartbeat':
      return `heartbeat ${message.round} commit ${message.commit}`
    case 'heartbeatAnswer':
      return `heard ${message.round}`
    case 'offer':
      return `offer ${message.index}`
    case 'offerAnswer':
      return `accepted up to ${message.index}`
    case 'newerTerm':
      return 'newer term'
    case 'timeoutNow':
      return 'campaign now'
    case 'readIndex':
      return 'read?'
    case 'readIndexAnswer':
      return `read at ${message.index}`
  }
}

export function writeText({ hardState, snapshot, entries, mark, members }: RaftWrite): string {
  const parts: string[] = []
  if (hardState) parts.push(`term ${hardState.term} vote ${hardState.vote ?? '-'} commit ${hardState.commit}`)
  if (snapshot) parts.push(`snapshot ${place(snapshot)} of ${list(snapshot.members)}`)
  if (entries.length > 0) parts.push(entries.map(entryText).join(', '))
  if (mark) parts.push(`mark ${place(mark)}`)
  if (members) parts.push(`members ${list(members)}`)
  return parts.join('; ')
}

export function statusText(id: string, status: RaftStatus): string[] {
  const { role, term, leader, commit, lastIndex, members, areMembersCommitted } = status
  const uncommitted = areMembersCommitted ? '' : ', not committed'
  return [
    `${id}  ${role} in term ${term}, leader ${leader ?? '-'}, commit ${commit} of ${lastIndex}, members ${list(members)}${uncommitted}`,
    ...Object.entries(status.progress).map(
      ([member, { state, match, isActive, isInStep }]) =>
        `    ${member}  ${state}, match ${match}${isActive ? '' : ', silent'}${isInStep ? ', in step' : ''}`,
    ),
  ]
}
