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
export async function campaign(options: CampaignOptions): Promise<void> {
  const env = { ...process.env, ...keepMemory }
  const children = Array.from({ length: options.workers }, () => fork(new URL('./worker.js', import.meta.url), { env }))
  try {
    await Promise.all(children.map(child => playIn(child, options)))
  } finally {
    for (const child of children) child.kill()
  }
}

/** Resolves when there are no more seeds; rejects with the seed that it was at if the process ends before. */
function playIn(child: ChildProcess, { mutation, isWhole, next, onReport }: CampaignOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    let seed: number | null = null
    const go = () => {
      seed = next()
      if (seed === null) child.disconnect()
      else child.send({ seed, mutation, isWhole } satisfies RunOrder)
    }
    child.on('message', (report: RunReport) => {
      onReport(report)
      go()
    })
    child.on('error', reject)
    child.on('exit', (code, signal) => {
      if (seed === null && code === 0) resolve()
      else reject(new Error(`a worker of the campaign ended with ${signal ?? code}, at seed ${seed}`))
    })
    go()
  })
}
