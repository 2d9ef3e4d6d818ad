import { KiB, MiB } from '../../../../src/base/units.js'

export const cellBytes = 256
/** Parts of a chunk that the test writes and checks: its start, something in the middle, its end. */
export const windows = [
  { from: 0, to: 12 * KiB },
  { from: 96 * KiB, to: 104 * KiB },
  { from: MiB - 4 * KiB, to: MiB },
]
/** Offsets of the cells that are watched. */
export const cells = windows.flatMap(({ from, to }) =>
  Array.from({ length: (to - from) / cellBytes }, (_, at) => from + at * cellBytes),
)

interface Value {
  stamp: string
  /** When it was answered, in answers of this model. */
  at: number
}

/** What cells of one chunk may read as: values from the last one that is known to be durable to the newest. */
export class ChunkModel {
  private readonly values = new Map<number, Value[]>()
  /** Values of changes that are under way. */
  private maybe: { from: number; to: number; stamp: string }[] = []

  constructor(readonly name: string) {
    for (const cell of cells) this.values.set(cell, [{ stamp: '', at: 0 }])
  }

  begin(from: number, to: number, stamp: string): void {
    this.maybe.push({ from, to, stamp })
  }

  /** The only change under way was answered. */
  answer(at: number): void {
    for (const { from, to, stamp } of this.maybe)
      for (const cell of cells) if (cell >= from && cell < to) this.values.get(cell)!.push({ stamp, at })
    this.maybe = []
  }

  /** The only change under way failed with nothing changed. */
  forget(): void {
    this.maybe = []
  }

  /** What had been answered at `at` is durable. */
  synced(at: number): void {
    for (const values of this.values.values()) {
      const durable = values.findLastIndex(value => value.at <= at)
      if (durable > 0) values.splice(0, durable)
    }
  }

  now(cell: number): string {
    return this.values.get(cell)!.at(-1)!.stamp
  }

  /** What a cell may read as after the process was killed or the host lost power. */
  private legal(cell: number, crash: 'kill' | 'power'): Set<string> {
    const values = this.values.get(cell)!
    const kept = crash === 'power' ? values.map(value => value.stamp) : [values.at(-1)!.stamp]
    const maybe = this.maybe.filter(({ from, to }) => cell >= from && cell < to).map(({ stamp }) => stamp)
    return new Set([...kept, ...maybe])
  }

  /** Checks the chunk as it was found after a crash, and goes on from there. Returns what is wrong, or null. */
  recover(chunk: Buffer, crash: 'kill' | 'power', at: number): string | null {
    for (const cell of cells) {
      const found = stampOf(chunk.subarray(cell, cell + cellBytes))
      const legal = this.legal(cell, crash)
      if (!legal.has(found))
        return `${this.name} at ${cell}: found "${found}", may be ${[...legal].map(stamp => `"${stamp}"`).join(', ')}`
      if (crash === 'power') this.values.set(cell, [{ stamp: found, at }])
      else this.values.get(cell)!.push({ stamp: found, at })
    }
    this.maybe = []
    return null
  }
}

/** A cell's bytes: the stamp and its length in cells of 256 bytes, or nothing for zeroes. */
export function stampCell(stamp: string): Buffer {
  const cell = Buffer.alloc(cellBytes)
  if (stamp !== '') cell.fill(`${stamp};`)
  return cell
}

/** What a cell says; a mixture is nobody's stamp. */
export function stampOf(cell: Buffer): string {
  if (cell.every(byte => byte === 0)) return ''
  const stamp = cell.toString('latin1', 0, cell.indexOf(';'))
  return stampCell(stamp).equals(cell) ? stamp : `mixture: ${cell.toString('latin1', 0, 60)}`
}
