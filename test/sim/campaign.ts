import { Worker } from 'node:worker_threads'
import type { Mutation } from '../../src/base/mutation.js'
import type { RunReport } from './worker.js'

export interface CampaignOptions {
  workers: number
  mutation: Mutation | null
  isWhole?: boolean | undefined
  /** The next seed; null: no more. */
  next(): number | null
  onReport(report: RunReport): void
}

/** Plays seeds in several threads, until there are no more. */
export async function campaign({ workers, mutation, isWhole, next, onReport }: CampaignOptions): Promise<void> {
  const threads = Array.from({ length: workers }, () => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: { mutation, isWhole } })
    return new Promise<void>((resolve, reject) => {
      const go = () => {
        const seed = next()
        if (seed === null) void worker.terminate()
        else worker.postMessage(seed)
      }
      worker.on('message', (report: RunReport) => {
        onReport(report)
        go()
      })
      worker.on('error', reject)
      worker.on('exit', () => resolve())
      go()
    })
  })
  await Promise.all(threads)
}
