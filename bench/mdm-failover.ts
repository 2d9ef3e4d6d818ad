/**
 * How long nothing can be changed after the master MDM is killed with SIGKILL, as a tool sees it that goes on changing:
 * from the kill to the first answer of another master. Prints one JSON line for each fail-over and one with the summary;
 * exit code 1: the median misses the goal of two seconds.
 * `node dist/bench/mdm-failover.js [--mdms 3|5] [--rounds 20]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { addressOfCluster, readClusterFile } from '../src/cli/local/cluster-file.js'
import { parseUpOptions } from '../src/cli/local/options.js'
import { bringDown, changeProcess } from '../src/cli/local/processes.js'
import { bringUp } from '../src/cli/local/up.js'
import { askMdmCluster, withMdm } from '../src/cli/mdm-session.js'
import type { MdmClient } from '../src/mdm-client/index.js'

const { values } = parseArgs({
  options: {
    mdms: { type: 'string', default: '3' },
    rounds: { type: 'string', default: '20' },
    directory: { type: 'string', default: process.env.TMPDIR ?? '/tmp' },
  },
})
const rounds = Number(values.rounds)
const goalMs = 2_000
const dir = mkdtempSync(join(values.directory, 'blockmesh-failover-'))
const note = (sentence: string): void => void process.stderr.write(`bench: ${sentence}\n`)

async function untilNormal(): Promise<string> {
  for (;;) {
    const { report } = await askMdmCluster(addressOfCluster(dir))
    if (report.state === 'Normal') return report.mdms.find(({ id }) => id === report.masterId)!.name
    await sleep(50)
  }
}

/** Renames one thing to and fro for as long as it is told; the moments of the answers. */
class Changes {
  readonly answeredAtMs: number[] = []
  #isEnding = false

  async run(mdm: MdmClient): Promise<void> {
    const { id } = await mdm.request('addProtectionDomain', { name: 'bench' })
    for (let number = 0; !this.#isEnding; number++) {
      await mdm.request('renameProtectionDomain', { protectionDomain: id, newName: `bench-${number}` })
      this.answeredAtMs.push(performance.now())
      await sleep(5)
    }
  }
  end(): void {
    this.#isEnding = true
  }
  /** From `sinceMs` to the first answer to a change that was asked after it: the first may have been under way. */
  async next(sinceMs: number): Promise<number> {
    for (;;) {
      const [, second] = this.answeredAtMs.filter(atMs => atMs > sinceMs + 2)
      if (second !== undefined) return second - sinceMs
      await sleep(2)
    }
  }
}

const percentile = (sorted: readonly number[], part: number): number =>
  Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!)

try {
  await bringUp(dir, parseUpOptions({ mdms: values.mdms, volume: ['vol1:8G'] }), note)
  const changes = new Changes()
  const changing = withMdm(addressOfCluster(dir), mdm => changes.run(mdm))
  const tookMs: number[] = []
  for (let round = 1; round <= rounds; round++) {
    const master = await untilNormal()
    await sleep(1_000)
    const { pid } = readClusterFile(dir)!.processes.find(({ name }) => name === master)!
    const killedAtMs = performance.now()
    process.kill(pid!, 'SIGKILL')
    tookMs.push(await changes.next(killedAtMs))
    console.log(JSON.stringify({ bench: 'mdm-failover', round, master, tookMs: Math.round(tookMs.at(-1)!) }))
    await changeProcess(dir, master, 'start')
  }
  changes.end()
  await changing
  const sorted = tookMs.sort((a, b) => a - b)
  const summary = { msMin: percentile(sorted, 0), msP50: percentile(sorted, 0.5), msMax: percentile(sorted, 1) }
  console.log(JSON.stringify({ bench: 'mdm-failover', mdms: Number(values.mdms), rounds, ...summary }))
  if (summary.msP50 >= goalMs) process.exitCode = 1
} finally {
  await bringDown(dir, note).catch(error => note(String(error)))
  rmSync(dir, { recursive: true, force: true })
}
