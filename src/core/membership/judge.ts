import type { SdsId } from '../../base/ids.js'
import { isLively, isSilent, listenMs, type Membership, memberOf, silenceMs } from './member.js'

/** Without an answer for this long: one missed answer is nothing. */
const doubtMs = 500

/** Who is out. `parted`: two that live but do not reach each other; `loser` null: whichever is secondary. */
export interface Verdicts {
  convicted: Set<SdsId>
  parted: { one: SdsId; two: SdsId; loser: SdsId | null }[]
}

/**
 * Hears both sides. An SDS is convicted if the MDM does not hear it, and a partner that the MDM hears cannot reach it
 * (or it has no partner that the MDM hears). Silent alone is no reason: networks of management and data fail separately.
 * Two that live and cannot reach each other are parted: the one that fewer others reach gives up what they share.
 *
 * `partnersOf`: the SDSs with copies of the same slices.
 */
export function judge(
  membership: Membership,
  sdsIds: Iterable<SdsId>,
  partnersOf: (sdsId: SdsId) => Iterable<SdsId>,
  nowMs: number,
): Verdicts {
  const verdicts: Verdicts = { convicted: new Set(), parted: [] }
  if (nowMs - membership.startedAtMs < listenMs) return verdicts
  const accusers = accusersOf(membership, nowMs)
  for (const sdsId of sdsIds) {
    if (!isSilent(membership, sdsId, nowMs) || !mayBeConvicted(membership, sdsId)) continue
    const hasPartner = [...partnersOf(sdsId)].some(id => isLively(membership, id, nowMs))
    if (!hasPartner || (accusers.get(sdsId)?.length ?? 0) > 0) verdicts.convicted.add(sdsId)
  }
  const seen = new Set<string>()
  for (const [one, those] of accusers) {
    if (isSilent(membership, one, nowMs)) continue
    for (const { accuser: two, isLong } of those) {
      const key = one < two ? `${one} ${two}` : `${two} ${one}`
      if (!isLong || seen.has(key)) continue
      seen.add(key)
      verdicts.parted.push({ one, two, loser: loserOf(accusers, one, two) })
    }
  }
  return verdicts
}

/** True while one of the two says that it cannot reach the other: no use in joining them. */
export function arePartedNow(membership: Membership, one: SdsId, two: SdsId, nowMs: number): boolean {
  const accuses = (accuser: SdsId, accused: SdsId): boolean => {
    const said = memberOf(membership, accuser).unreachable.get(accused)
    return said !== undefined && isLively(membership, accuser, nowMs) && (said.refused || said.forMs >= doubtMs)
  }
  return accuses(one, two) || accuses(two, one)
}

interface Accusation {
  accuser: SdsId
  /** It gets no answer for long enough; else it was refused: nobody listens there. */
  isLong: boolean
}

/** Per accused, the accusations that count: of those that the MDM hears, fresh, and not their own stall. */
function accusersOf(membership: Membership, nowMs: number): Map<SdsId, Accusation[]> {
  const accusers = new Map<SdsId, Accusation[]>()
  for (const [accuser, member] of membership.members) {
    if (!isLively(membership, accuser, nowMs) || nowMs - member.aliveAtMs >= silenceMs) continue
    for (const [accused, { forMs, refused }] of member.unreachable) {
      const isLong = Math.min(forMs, member.aliveAtMs - member.steadySinceMs) >= silenceMs
      if (!isLong && !refused) continue
      const those = accusers.get(accused)
      if (those) those.push({ accuser, isLong })
      else accusers.set(accused, [{ accuser, isLong }])
    }
  }
  return accusers
}

/** One that never said that it lives cannot be silent; one that the MDM never met can. */
function mayBeConvicted(membership: Membership, sdsId: SdsId): boolean {
  const member = memberOf(membership, sdsId)
  return member.speaks || !member.everConnected
}

function loserOf(accusers: ReadonlyMap<SdsId, Accusation[]>, one: SdsId, two: SdsId): SdsId | null {
  const count = (accused: SdsId, beside: SdsId): number =>
    (accusers.get(accused) ?? []).filter(({ accuser, isLong }) => isLong && accuser !== beside).length
  const difference = count(one, two) - count(two, one)
  return difference > 0 ? one : difference < 0 ? two : null
}
