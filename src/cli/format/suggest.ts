/** The known words nearest to a mistyped one, best first: what a person most likely meant. */
export function suggest(wrong: string, known: Iterable<string>, max = 3): string[] {
  const scored: { word: string; score: number }[] = []
  for (const word of known) {
    const score = word.includes(wrong) || wrong.includes(word) ? 1 : distance(wrong, word)
    if (score <= Math.max(2, Math.floor(Math.max(wrong.length, word.length) / 3))) scored.push({ word, score })
  }
  scored.sort((a, b) => a.score - b.score || a.word.localeCompare(b.word))
  return scored.slice(0, max).map(entry => entry.word)
}

/** How many letters must be inserted, removed, changed or swapped with their neighbour to turn `a` into `b`. */
export function distance(a: string, b: string): number {
  let older: number[] = []
  let above = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const line = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let best = Math.min(above[column]! + 1, line[column - 1]! + 1, above[column - 1]! + (same ? 0 : 1))
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) best = Math.min(best, older[column - 2]! + 1)
      line.push(best)
    }
    older = above
    above = line
  }
  return above[b.length]!
}
