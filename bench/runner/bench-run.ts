import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { interruptRuns } from '../targets/programs.js'

/** Something that was started and has to be stopped. */
interface Stoppable {
  stop(): Promise<void>
}

/** Where a benchmark keeps its files, and what it started. */
export interface BenchPlace {
  directory: string
  /** Stopped at the end, last first. */
  keep<T extends Stoppable>(started: T): T
  /** Stopped now. */
  stop(started: Stoppable): Promise<void>
}

/** Runs `work` in a directory of its own; whatever ends it, also Ctrl-C, what it started is stopped and the directory is gone. */
export async function runBench(name: string, work: (place: BenchPlace) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), `blockmesh-${name}-`))
  const kept: Stoppable[] = []
  // What was measured by then is worth more than a tidy end.
  const end = (started: Stoppable) =>
    started.stop().catch(error => console.error(`${name}: ${(error as Error).message}`))
  const clear = async () => {
    for (let last = kept.pop(); last !== undefined; last = kept.pop()) await end(last)
    rmSync(directory, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(
      signal,
      () =>
        void interruptRuns()
          .then(clear)
          .finally(() => process.exit(1)),
    )
  try {
    await work({
      directory,
      keep(started) {
        kept.push(started)
        return started
      },
      async stop(started) {
        await end(started)
        // Only now: Ctrl-C may have come between.
        const at = kept.indexOf(started)
        if (at >= 0) kept.splice(at, 1)
      },
    })
  } finally {
    await clear()
  }
}

/** One line of JSON for programs. */
export const print = (line: unknown): void => console.log(JSON.stringify(line))

/** To what a reader can compare. */
export const round = (value: number, digits = 2): number => Number(value.toFixed(digits))
