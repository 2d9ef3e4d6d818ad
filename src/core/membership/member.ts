import type { SdsId } from '../../base/ids.js'

/** An SDS that says nothing for this long is silent; a partner that gets no answer for this long accuses. */
export const silenceMs = 1_000
/** After its own start the MDM listens for this long before it convicts anybody. */
export const listenMs = 3_000
/** A gap between two words of an SDS, or two looks of ours, that means: this process did not run. */
export const stallMs = 750

/** What one SDS last said, and when. */
export interface Member {
  connected: boolean
  /** Since the MDM started. */
  everConnected: boolean
  heardAtMs: number
  /**
   * It says four times a second that it lives. Of one that does not, silence means nothing: it is not convicted, and no
   * copy of it is promoted.
   */
  speaks: boolean
  aliveAtMs: number
  /** It has spoken without a gap since: what it says of others before that is its own stall. */
  steadySinceMs: number
  /** As of `aliveAtMs`. */
  unreachable: ReadonlyMap<SdsId, { forMs: number; refused: boolean }>
}

/** The MDM's view of who lives and who reaches whom. Lost with the process: nothing durable depends on it. */
export interface Membership {
  startedAtMs: number
  lookedAtMs: number
  members: Map<SdsId, Member>
}

export type MemberEvent =
  | { kind: 'connected' | 'closed' | 'heard'; sdsId: SdsId; nowMs: number }
  | {
      kind: 'alive'
      sdsId: SdsId
      nowMs: number
      unreachable: readonly { sdsId: SdsId; forMs: number; refused: boolean }[]
    }
  | { kind: 'looked'; nowMs: number }

export const openMembership = (nowMs: number): Membership => ({
  startedAtMs: nowMs,
  lookedAtMs: nowMs,
  members: new Map(),
})

/** Takes note of one event. `looked` comes before every judgement, several times a second. */
export function noteEvent(membership: Membership, event: MemberEvent): void {
  const { nowMs } = event
  if (event.kind === 'looked') {
    noteLook(membership, nowMs)
    return
  }
  const member = memberOf(membership, event.sdsId)
  switch (event.kind) {
    case 'connected':
      member.connected = true
      member.everConnected = true
      member.heardAtMs = nowMs
      return
    case 'closed':
      member.connected = false
      member.unreachable = new Map()
      return
    case 'heard':
      member.heardAtMs = nowMs
      return
    case 'alive':
      if (!member.speaks || nowMs - member.aliveAtMs > stallMs) member.steadySinceMs = nowMs
      member.speaks = true
      member.heardAtMs = nowMs
      member.aliveAtMs = nowMs
      member.unreachable = new Map(event.unreachable.map(({ sdsId, ...rest }) => [sdsId, rest]))
  }
}

/** Whoever stalls hears nothing: after a stall of our own everybody gets the time to be heard again. */
function noteLook(membership: Membership, nowMs: number): void {
  if (nowMs - membership.lookedAtMs > stallMs)
    for (const member of membership.members.values()) if (member.connected) member.heardAtMs = nowMs
  membership.lookedAtMs = nowMs
}

export function memberOf(membership: Membership, sdsId: SdsId): Member {
  const known = membership.members.get(sdsId)
  if (known) return known
  const member: Member = {
    connected: false,
    everConnected: false,
    heardAtMs: membership.startedAtMs,
    speaks: false,
    aliveAtMs: membership.startedAtMs,
    steadySinceMs: membership.startedAtMs,
    unreachable: new Map(),
  }
  membership.members.set(sdsId, member)
  return member
}

/** The MDM does not hear it. */
export function isSilent(membership: Membership, sdsId: SdsId, nowMs: number): boolean {
  const member = memberOf(membership, sdsId)
  return !member.connected || (member.speaks && nowMs - member.heardAtMs >= silenceMs)
}

/** It lives, says so, and may stand alone for a slice. */
export const isLively = (membership: Membership, sdsId: SdsId, nowMs: number): boolean =>
  memberOf(membership, sdsId).speaks && !isSilent(membership, sdsId, nowMs)
