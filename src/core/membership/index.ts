export { type Damping, mayTakePart, noteOut, noteReturned, openDamping, oscillations } from './damping.js'
export { arePartedNow, judge, type Verdicts } from './judge.js'
export {
  isLively,
  isSilent,
  listenMs,
  type MemberEvent,
  type Membership,
  memberOf,
  noteEvent,
  openMembership,
  silenceMs,
} from './member.js'
export { leadsBetter, outOfReach, reachMsMax, type SdcReach, type SdcReaches } from './reach.js'
