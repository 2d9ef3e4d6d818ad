/** How many of `voterCount` are a majority: any two majorities share a voter. */
export const quorumOf = (voterCount: number): number => Math.floor(voterCount / 2) + 1

/** The largest number that a majority has reached; 0 if there is nobody. */
export function majorityReached(reached: readonly number[]): number {
  const descending = [...reached].sort((a, b) => b - a)
  return descending[quorumOf(reached.length) - 1] ?? 0
}
