import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes that live objects take, buffers too. */
export function liveBytes(): number {
  collect()
  collect()
  const { heapUsed, external, arrayBuffers } = process.memoryUsage()
  return heapUsed + Math.max(external, arrayBuffers)
}

/** What a call returns, and the milliseconds of CPU time that it takes: others may be at work on the machine. */
export function timed<T>(action: () => T): [T, number] {
  const before = process.cpuUsage()
  const result = action()
  const { user, system } = process.cpuUsage(before)
  return [result, (user + system) / 1000]
}

export async function timedAsync<T>(action: () => Promise<T>): Promise<[T, number]> {
  const beganMs = performance.now()
  const result = await action()
  return [result, performance.now() - beganMs]
}

export type Row = Record<string, number | string>

export const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits))

/** One line of JSON for each row, then all of them as a table. */
export function printRows(bench: string, rows: readonly Row[]): void {
  for (const row of rows) console.log(JSON.stringify({ bench, ...row }))
  const keys = Object.keys(rows[0] ?? {})
  const widths = keys.map(key => Math.max(key.length, ...rows.map(row => String(row[key]).length)))
  const line = (cells: string[]) => cells.map((cell, at) => cell.padStart(widths[at]!)).join('  ')
  console.log(line(keys))
  for (const row of rows) console.log(line(keys.map(key => String(row[key]))))
}
