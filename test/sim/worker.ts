import { parentPort, workerData } from 'node:worker_threads'
import type { Mutation } from '../../src/base/mutation.js'
import { play } from './play.js'

/** What is left of a run when it goes from one thread to another. */
export interface RunReport {
  seed: number
  failure: string | null
  hash: string
  situations: [string, number][]
  acknowledged: number
  checked: number
  struck: number
  virtualMs: number
}

const { mutation, isWhole } = workerData as { mutation: Mutation | null; isWhole?: boolean | undefined }

parentPort!.on('message', (seed: number) => {
  void play(seed, { mutation, isWhole }).then(({ failure, situations, lines: _, ...result }) => {
    const report: RunReport = { ...result, failure: failure?.message ?? null, situations: [...situations.counts] }
    parentPort!.postMessage(report)
  })
})
