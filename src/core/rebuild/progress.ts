/** How far a rebuild or a rebalance is. */
export interface Progress {
  bytesLeft: number
  bytesTotal: number
  /** 0 to 100, whole; 100 only where nothing is left. */
  percent: number
}

export const noProgress: Progress = { bytesLeft: 0, bytesTotal: 0, percent: 100 }

/** Goes on counting from a total that is known from before. */
export const resumedProgress = (bytesTotal: number): Progress =>
  bytesTotal > 0 ? { bytesLeft: bytesTotal, bytesTotal, percent: 0 } : noProgress

/** Whether the total that was noted would make a wrong percentage of it: begun, over, or much more to do since. */
export const isWorthNoting = (notedBytes: number, bytesTotal: number): boolean =>
  notedBytes === 0 || bytesTotal === 0 ? notedBytes !== bytesTotal : bytesTotal > notedBytes * 1.25

/** The next state: the total is the most that was ever left since there was nothing left. */
export function progressAfter(before: Progress, bytesLeft: number): Progress {
  if (bytesLeft === 0) return noProgress
  const bytesTotal = Math.max(before.bytesTotal, bytesLeft)
  return { bytesLeft, bytesTotal, percent: Math.min(99, Math.floor((100 * (bytesTotal - bytesLeft)) / bytesTotal)) }
}
