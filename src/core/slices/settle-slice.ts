import type { DeviceId } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import type { SliceRecord } from '../../model/index.js'

/**
 * How a copy stands towards the MDM:
 *  away       its SDS is not connected, or did not find the device: it may be alive, nobody knows. `convicted`: its
 *             partners cannot reach it either, so that leases decide what it may still do
 *  up         connected, its role stands
 *  restarted  a new process, after a clean stop: its role stands, what it had under way as joining copy does not
 *  unclean    a process after a stop that was not clean: its role is void (rule 6). `sameBoot`: nothing answered is lost
 */
export type Standing =
  | { kind: 'away'; convicted?: boolean }
  | { kind: 'up' }
  | { kind: 'restarted' }
  | { kind: 'unclean'; sameBoot: boolean; graceOver: boolean }

/** What becomes of a slice: stays; waits with these copies' roles void; or goes on with another record. */
export type Outcome = { kind: 'keep' } | { kind: 'wait'; unclean: DeviceId[] } | { kind: 'change'; record: SliceRecord }

const keep: Outcome = { kind: 'keep' }

/**
 * The cases, P primary, S secondary, J joining; "good" is up or restarted.
 *
 *     P        S        outcome
 *     good     -        keep; a J that restarted, clean or not, starts over in a new epoch
 *     away     -        keep (the same for J)
 *     unclean  -        P goes on as the only authority in a new epoch, J starts over
 *     good     good     keep
 *     any      good/away, P not unclean: keep
 *     good     unclean  P stays, S joins
 *     unclean  good     S is primary, P joins: the only promotion there is; P's own new process asked for it
 *     unclean  unclean  the one whose host has not restarted is the authority (else P), the other joins
 *     unclean  away     wait for S; after the grace period P is the authority and S has left
 *     away     unclean  wait for P: it may be alive. After the grace period, and only if P is convicted, S is the
 *                       authority and P has left
 *
 * Whoever was in sync until now and is not any more becomes `left`: the regions marked by either side suffice for it.
 * An authority whose host has restarted may have lost writes that were answered and not flushed: `lossEpoch`.
 * Every change takes an epoch above all that any device of the pool may have adopted (`epochFloor`), so that a device
 * whose last epochs were not synced can tell a record that was made after its return.
 */
export function settleSlice(
  record: SliceRecord,
  standingOf: (deviceId: DeviceId) => Standing,
  epochFloor: number,
): Outcome {
  const { primary, secondary, joining } = record
  const change = (fields: Partial<SliceRecord>, lost = false): Outcome => {
    const epoch = Math.max(record.epoch, epochFloor) + 1
    return {
      kind: 'change',
      record: { ...record, ...fields, epoch, lossEpoch: lost && !mutate('hide-a-loss') ? epoch : record.lossEpoch },
    }
  }
  const first = standingOf(primary)
  if (secondary === null) {
    if (first.kind === 'unclean' && joining !== null && mutate('promote-a-joining-copy'))
      return change({ primary: joining, joining: primary })
    if (first.kind === 'unclean') return change({}, !first.sameBoot)
    return joining !== null && startsOver(standingOf(joining)) ? change({}) : keep
  }

  const second = standingOf(secondary)
  if (second.kind === 'unclean' && isGood(first) && mutate('keep-a-power-cycled-secondary-in-sync')) return keep
  if (first.kind === 'unclean') {
    if (isGood(second)) return change({ primary: secondary, secondary: null, joining: primary, left: primary })
    if (second.kind === 'unclean') {
      const primaryIsBetter = first.sameBoot || !second.sameBoot
      const lost = !first.sameBoot && !second.sameBoot
      return primaryIsBetter
        ? change({ secondary: null, joining: secondary, left: secondary }, lost)
        : change({ primary: secondary, secondary: null, joining: primary, left: primary }, lost)
    }
    if (first.graceOver) return change({ secondary: null, left: secondary }, !first.sameBoot)
    return { kind: 'wait', unclean: [primary] }
  }
  if (second.kind === 'unclean') {
    if (isGood(first)) return change({ secondary: null, joining: secondary, left: secondary })
    // The joining copy was chosen to stand beside P; beside S it might share its fault unit.
    if (second.graceOver && first.kind === 'away' && first.convicted)
      return change({ primary: secondary, secondary: null, joining: null, left: primary }, !second.sameBoot)
    return { kind: 'wait', unclean: [secondary] }
  }
  return joining !== null && startsOver(standingOf(joining)) ? change({}) : keep
}

const isGood = (standing: Standing): boolean => standing.kind === 'up' || standing.kind === 'restarted'
const startsOver = (standing: Standing): boolean => standing.kind === 'restarted' || standing.kind === 'unclean'
