/** How often an SDS was out, in sliding windows, and how long it waits before it takes part again. */
export interface Damping {
  isOut: boolean
  outAtMs: number[]
  returnedAtMs: number | null
  pauseMs: number
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
export const oscillationWindowsMs = { short: minuteMs, medium: hourMs, long: 24 * hourMs } as const
/** Out again this soon after a return is an oscillation. */
const soonMs = minuteMs
const pauseMsMin = 1_000
const pauseMsMax = 30_000
const timesMax = 1_000

export const openDamping = (): Damping => ({ isOut: false, outAtMs: [], returnedAtMs: null, pauseMs: 0 })

/** It was thrown out. Called again while it is out: counts once. */
export function noteOut(damping: Damping, nowMs: number): void {
  if (damping.isOut) return
  const isSoon = damping.returnedAtMs !== null && nowMs - damping.returnedAtMs < soonMs + damping.pauseMs
  damping.isOut = true
  damping.pauseMs = isSoon ? Math.min(pauseMsMax, Math.max(pauseMsMin, damping.pauseMs * 2)) : 0
  damping.outAtMs.push(nowMs)
  if (damping.outAtMs.length > timesMax) damping.outAtMs.shift()
}

/** It is heard again. */
export function noteReturned(damping: Damping, nowMs: number): void {
  if (!damping.isOut) return
  damping.isOut = false
  damping.returnedAtMs = nowMs
}

/** The pause after its return is over. */
export const mayTakePart = (damping: Damping, nowMs: number): boolean =>
  !damping.isOut && (damping.returnedAtMs === null || nowMs >= damping.returnedAtMs + damping.pauseMs)

export function oscillations(damping: Damping, nowMs: number): { short: number; medium: number; long: number } {
  const within = (windowMs: number): number => damping.outAtMs.filter(atMs => nowMs - atMs < windowMs).length
  const { short, medium, long } = oscillationWindowsMs
  return { short: within(short), medium: within(medium), long: within(long) }
}
