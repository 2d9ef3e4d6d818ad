import type { Mutation } from '../../src/base/mutation.js'
import { play } from './play.js'

/** One seed to be played. */
export interface RunOrder {
  seed: number
  mutation: Mutation | null
  isWhole?: boolean | undefined
}

/** What is left of a run when it goes from one process to another. */
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

process.on('message', ({ seed, mutation, isWhole }: RunOrder) => {
  void play(seed, { mutation, isWhole }).then(({ failure, situations, lines: _, ...result }) => {
    const report: RunReport = { ...result, failure: failure?.message ?? null, situations: [...situations.counts] }
    process.send!(report)
  })
})
