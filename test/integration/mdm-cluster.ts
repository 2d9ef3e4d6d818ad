import type { Test } from 'tap'
import { addressOfCluster } from '../../src/cli/local/cluster-file.js'
import { askMdmCluster, withMdm } from '../../src/cli/mdm-session.js'
import type { MdmClient } from '../../src/mdm-client/index.js'
import type { ClusterReport } from '../../src/wire/control.js'
import { type LocalCluster, until } from '../support/local-cluster.js'
import { sleep, writeAndVerify } from './failures.js'

/** What tests of the MDM cluster share: changes and I/O that go on all the time, and looks at the members. */

/** Longer forms for a night: `MDM_ROUNDS=20`; what ships is enough to notice. */
export const rounds = (short: number): number => Number(process.env.MDM_ROUNDS ?? short)

const normalWithinMs = 60_000
/** A busy host may take longer than the median. */
const failOverMsMax = 15_000
/** So many things stand at a time: fewer than a system may have. */
const standing = 40
const pauseMs = 20

export const clusterOf = async ({ dir }: LocalCluster): Promise<ClusterReport> =>
  (await askMdmCluster(addressOfCluster(dir))).report

export const nameOfMaster = async (cluster: LocalCluster): Promise<string> => {
  let master: string | undefined
  await until('there is a master', failOverMsMax, async () => {
    const { mdms, masterId, state } = await clusterOf(cluster)
    master = state === 'Error' ? undefined : mdms.find(({ id }) => id === masterId)?.name
    return master !== undefined
  })
  return master!
}

export const untilNormal = (cluster: LocalCluster): Promise<void> =>
  until('every MDM is well', normalWithinMs, async () => (await clusterOf(cluster)).state === 'Normal')

/** To all of them at once. */
export function signalNow({ file }: LocalCluster, names: readonly string[], signal: NodeJS.Signals): void {
  for (const { name, pid } of file.processes) if (names.includes(name)) process.kill(pid, signal)
}

/**
 * Adds, renames and removes protection domains, one change after the other, and notes what was acknowledged. Nothing may
 * fail: a change that is made twice would say that its name exists already, or that there is nothing to remove.
 */
export class ChangeLoop {
  readonly #names = new Map<number, string>()
  readonly #answeredAtMs: number[] = []
  #isEnding = false
  readonly #running: Promise<void>

  constructor(readonly cluster: LocalCluster) {
    this.#running = withMdm(addressOfCluster(cluster.dir), mdm => this.#run(mdm))
    // Its failure is told where it ends.
    this.#running.catch(() => {})
  }

  get answered(): number {
    return this.#answeredAtMs.length
  }

  async #run(mdm: MdmClient): Promise<void> {
    const answered = () => void this.#answeredAtMs.push(performance.now())
    for (let number = 1; !this.#isEnding; number++) {
      await mdm.request('addProtectionDomain', { name: `loop-${number}` })
      this.#names.set(number, `loop-${number}`)
      answered()
      if (number % 3 === 0) {
        await mdm.request('renameProtectionDomain', { protectionDomain: `loop-${number}`, newName: `new-${number}` })
        this.#names.set(number, `new-${number}`)
        answered()
      }
      const oldest = this.#names.get(number - standing)
      if (oldest !== undefined) {
        await mdm.request('removeProtectionDomain', { protectionDomain: oldest })
        this.#names.delete(number - standing)
        answered()
      }
      await sleep(pauseMs)
    }
  }

  /** Waits until changes are answered again. */
  async goesOn(): Promise<void> {
    const before = this.answered
    await until('changes are made', failOverMsMax, () => {
      this.#checkRunning()
      return this.answered > before + 1
    })
  }

  #failure: unknown = null
  #checkRunning(): void {
    this.#running.catch(error => {
      this.#failure = error
    })
    if (this.#failure !== null) throw this.#failure
  }

  /** The longest time without an answer since then. */
  pauseMsSince(sinceMs: number): number {
    const times = this.#answeredAtMs.filter(atMs => atMs >= sinceMs)
    const before = this.#answeredAtMs.findLast(atMs => atMs < sinceMs) ?? sinceMs
    return Math.max(...times.map((atMs, index) => atMs - (times[index - 1] ?? before)))
  }

  /** Ends it, and looks whether what was acknowledged is there, all of it, once, and nothing else. */
  async end(t: Test): Promise<void> {
    this.#isEnding = true
    await this.#running
    const report = await withMdm(addressOfCluster(this.cluster.dir), mdm => mdm.request('query', {}))
    const have = report.protectionDomains.map(({ name }) => name).filter(name => /^(loop|new)-/.test(name))
    t.same(have.sort(), [...this.#names.values()].sort(), `${this.answered} acknowledged changes are there, each once`)
  }
}

/** fio writes and verifies again and again until it is told to end. */
export class LoadLoop {
  #isEnding = false
  #pauseMsMax = 0
  #jobs = 0
  readonly #running: Promise<void>

  constructor(readonly cluster: LocalCluster) {
    this.#running = this.#run()
    this.#running.catch(() => {})
  }

  async #run(): Promise<void> {
    while (!this.#isEnding) {
      const { read, write } = await writeAndVerify(this.cluster.volume('vol1').uri)
      this.#pauseMsMax = Math.max(this.#pauseMsMax, read.clat_ns.max / 1e6, write.clat_ns.max / 1e6)
      this.#jobs++
    }
  }

  /** The job under way ends in its own time; throws if any saw an error or a wrong byte. */
  async end(t: Test, pauseMsMax: number): Promise<void> {
    this.#isEnding = true
    await this.#running
    t.ok(
      this.#pauseMsMax < pauseMsMax,
      `${this.#jobs} fio jobs: the longest pause is ${this.#pauseMsMax.toFixed(0)} ms`,
    )
  }
}

export const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!
