/**
 * Planted bugs, for the proof that the simulator finds them. Each name breaks one rule at the line that enforces it.
 * Outside the simulator nothing is ever planted.
 */
export const mutations = [
  'acknowledge-before-the-secondary',
  'ignore-the-epoch',
  'serve-an-old-session',
  'trust-freed-slots-after-a-crash',
  'reuse-a-slot-before-its-removal-is-durable',
  'promote-a-joining-copy',
  'resume-after-SIGKILL-in-the-same-epoch',
  'forget-a-void-role-while-its-copy-is-away',
  'keep-a-power-cycled-secondary-in-sync',
  'hide-a-loss',
  'join-before-the-sync',
  'lose-the-flush-set-with-the-SDC',
  'fix-the-copies-of-a-write-when-it-begins',
  'flush-the-primary-only',
  'keep-what-the-primary-has-not',
  'stop-cleanly-with-unfinished-requests',
  'lock-ranges-at-the-primary-only',
  'copy-without-the-lock',
  'read-past-unfinished-writes',
  'keep-passes-over-changes',
  'forget-what-lanes-wrote',
  'give-passes-without-a-lease',
  'answer-before-the-index-has-the-chunk',
  'answer-FLUSH-after-a-loss',
  'drop-the-write-intent-mark',
  'await-a-visible-mark',
  'remove-without-a-mark',
  'clear-a-mark-that-was-touched',
  'clear-marks-without-a-sync',
  'ignore-own-marks',
  'ignore-the-marks-of-who-returns',
  'fill-every-copy-by-marks',
  'fill-before-the-lease-wait-is-over',
  'skip-the-lease-wait',
  'answer-reads-without-a-lease',
  'grant-leases-regardless-of-slices',
  'forget-grants-on-restart',
  'swap-with-unfinished-writes',
  'accept-an-old-answer',
  'raft-commit-an-older-term',
  'mdm-apply-a-repetition-again',
  'mdm-answer-before-the-commit',
  'mdm-skip-the-sync-of-the-log',
  'raft-forget-the-vote',
  'raft-vote-twice',
  'raft-skip-the-sync',
  'raft-vote-without-looking-at-the-log',
  'raft-witness-votes-blindly',
  'raft-offer-the-witness-first',
  'raft-offer-without-a-round',
  'raft-mark-goes-back',
  'raft-forget-the-mark',
  'raft-wiped-member-keeps-its-identity',
  'raft-change-members-before-the-own-term',
  'raft-change-members-twice-at-once',
  'raft-count-learners',
  'raft-count-the-own-unsynced-write',
  'raft-append-without-looking',
  'raft-replace-what-is-the-same',
  'raft-commit-what-may-differ',
  'raft-read-without-a-round',
  'raft-read-before-the-own-term',
  'raft-take-an-old-answer-for-a-read',
] as const
export type Mutation = (typeof mutations)[number]

let planted: Mutation | null = null

/** True only in a simulation that has planted this bug. */
export const mutate = (name: Mutation): boolean => planted === name

/** For the simulator alone. */
export function plantMutation(name: Mutation | null): void {
  planted = name
}
