import { type ChildProcess, fork } from 'node:child_process'
import type { Mutation } from '../../src/base/mutation.js'
import type { RunOrder, RunReport } from './worker.js'

export interface CampaignOptions {
  workers: number
  mutation: Mutation | null
  isWhole?: boolean | undefined
  /** The next seed; null: no more. */
  next(): number | null
  onReport(report: RunReport): void
}

/**
 * A simulated cluster moves payloads of a megabyte all the time. By default glibc gives back to the kernel what was freed, and two
 * thirds of a run are page faults; so it keeps what it has (mallopt(3)).
 */
const keepMemory = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_MAX_: '0',
  MALLOC_TRIM_THRESHOLD_: `${4 * 2 ** 30}`,
  MALLOC_TOP_PAD_: `${64 * 2 ** 20}`,
}

/** Plays seeds in several processes, until there are no more. */
export async function campaign({ workers, mutation, isWhole, next, onReport }: CampaignOptions): Promise<void> {
  const children: ChildProcess[] = []
  const options = { env: { ...process.env, ...keepMemory }, execArgv: ['--max-semi-space-size=32'] }
  try {
    await Promise.all(
      Array.from({ length: workers }, () => {
        const child = fork(new URL('./worker.js', import.meta.url), [], options)
        children.push(child)
        return new Promise<void>((resolve, reject) => {
          const go = () => {
            const seed = next()
            if (seed === null) child.disconnect()
            else child.send({ seed, mutation, isWhole } satisfies RunOrder)
          }
          child.on('message', (report: RunReport) => {
            onReport(report)
            go()
          })
          child.on('error', reject)
          child.on('exit', (code, signal) =>
            code === 0 ? resolve() : reject(new Error(`a worker of the campaign ended: ${signal ?? code}`)),
          )
          go()
        })
      }),
    )
  } finally {
    for (const child of children) child.kill()
  }
}
