import { appendFileSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatTable } from '../../src/cli/format/table.js'
import type { ClusterMode } from '../../src/model/objects.js'
import { runProgram } from '../support/run-program.js'
import { seededRandom } from '../support/seeded-random.js'
import { mdmNamesOf, SoakCluster, sdcName, sdsNames } from './cluster.js'
import { fileSystemsUnavailable, SmallFileSystem } from './disks.js'
import { FaultLoop, possibleKinds } from './fault-loop.js'
import { type Capability, faultKinds, handlesDeviceFailures } from './faults.js'
import { Load } from './load.js'
import { isInside, loopbackUp, Network } from './network.js'

export interface SoakOptions {
  minutes: number
  seed: number
  dir: string
  mdms: ClusterMode
  /** Names of kinds of faults; null: all that are possible here. */
  kinds: readonly string[] | null
  /** Why links cannot be cut here; null: they can. */
  linksUnavailable: string | null
  /** One fault at a time, each healed before the next: then what a request waits is the fault's own doing. */
  isSingly: boolean
  /** A request that waits longer than this is a failure; null: it may wait. */
  pauseMsMax: number | null
}

const roundMs = 30_000
const healWithinMs = 120_000
/** After the cluster is healthy, nothing waits longer. */
const answerWithinMs = 20_000
const volumeNames = ['vol1', 'vol2']

/** One soak, from the start of a cluster to the verdict. Returns whether everything held. */
export async function runSoak(options: SoakOptions): Promise<boolean> {
  mkdirSync(options.dir, { recursive: true })
  writeFileSync(join(options.dir, 'seed'), `${options.seed}\n`)
  const soak = new Soak(options)
  const stop = () => soak.abort.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  try {
    await soak.run()
  } catch (error) {
    soak.fail(error as Error)
  } finally {
    await soak.close()
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
  }
  soak.report()
  return soak.failure === null
}

class Soak {
  readonly abort = new AbortController()
  failure: Error | null = null
  readonly #random
  readonly #beganMs = performance.now()
  #network: Network | null = null
  #cluster: SoakCluster | null = null
  #faults: FaultLoop | null = null
  #loads: Load[] = []
  #leftOut = new Map<string, string>()
  readonly #fileSystems = new Map<string, SmallFileSystem>()
  #healMsMax = 0
  #rounds = 0
  #pulse: NodeJS.Timeout | undefined
  #compared = ''

  constructor(readonly options: SoakOptions) {
    this.#random = seededRandom(options.seed)
  }

  async run(): Promise<void> {
    const { dir, mdms, minutes, seed } = this.options
    this.#tell(`seed ${seed}, ${minutes} minutes, ${mdms} MDMs, in ${dir}`)
    const missing = await this.#missingCapabilities()
    const { kinds } = this.options
    const wanted = kinds === null ? faultKinds : faultKinds.filter(({ name }) => kinds.includes(name))
    const { possible, leftOut } = possibleKinds(wanted, missing)
    this.#leftOut = leftOut
    if (!missing.has('links')) this.#network = await Network.make([...mdmNamesOf(mdms), ...sdsNames, sdcName])
    else if (isInside()) await loopbackUp()
    await this.#startCluster(!missing.has('file systems'))
    const cluster = this.#cluster!
    this.#faults = new FaultLoop(
      { cluster, random: this.#random, fileSystems: this.#fileSystems },
      possible,
      sentence => this.#log(sentence),
      this.options.isSingly ? () => this.#healed() : null,
    )
    this.#startLoads()
    const endMs = performance.now() + minutes * 60_000
    while (performance.now() < endMs && !this.abort.signal.aborted) {
      await this.#faults.run(Math.min(roundMs, endMs - performance.now()), this.abort.signal)
      await this.#endRound()
    }
    await this.#verify()
  }

  /** The first failure counts; it ends the run. */
  fail(error: Error): void {
    if (this.failure === null) this.#log(`FAILED: ${error.message}`)
    this.failure ??= error
    this.abort.abort()
  }

  async close(): Promise<void> {
    clearInterval(this.#pulse)
    for (const load of this.#loads) load.close()
    for (const sentence of (await this.#cluster?.close()) ?? []) this.fail(new Error(sentence))
    for (const fileSystem of this.#fileSystems.values()) await fileSystem.close()
    this.#network?.close()
  }

  report(): void {
    const rows = [...(this.#faults?.stats ?? [])].map(([name, { count, waitMsMax }]) => [
      name,
      count,
      count === 0 ? null : Math.round(waitMsMax),
    ])
    const lines = [
      formatTable(['Fault', 'Times', 'Longest wait beside it (ms)'], rows),
      ...[...this.#leftOut].map(([name, reason]) => `left out: ${name}: ${reason}`),
      `${this.#faults?.count ?? 0} faults in ${this.#rounds} rounds, healthy again at the latest after ${Math.round(this.#healMsMax)} ms`,
      `${this.#sum(load => load.counts.answered)} requests answered, ${this.#sum(load => load.counts.checked)} reads checked, ` +
        `${this.#sum(load => load.counts.abandoned)} lost with their SDC; longest pause ${Math.round(this.#pauseMsMax)} ms`,
      this.#compared,
      this.failure === null
        ? `Verdict: everything held (seed ${this.options.seed}).`
        : `Verdict: FAILED (seed ${this.options.seed}): ${this.failure.message}\nLogs are in ${this.options.dir}`,
    ]
    const text = lines.filter(line => line !== '').join('\n')
    this.#log(text)
    process.stdout.write(`${text}\n`)
  }

  // ----

  async #missingCapabilities(): Promise<Map<Capability, string>> {
    const missing = new Map<Capability, string>()
    const { linksUnavailable } = this.options
    if (linksUnavailable !== null) missing.set('links', linksUnavailable)
    const noFileSystems = isInside() ? await fileSystemsUnavailable(this.options.dir) : 'no mount namespace of our own'
    if (noFileSystems !== null) missing.set('file systems', noFileSystems)
    if (!handlesDeviceFailures) missing.set('device failures', 'this version does not go on without a failed device')
    return missing
  }

  async #startCluster(withFileSystems: boolean): Promise<void> {
    const { dir, mdms } = this.options
    const network = this.#network
    const volumes = volumeNames.map((name, index) => ({
      name,
      sizeBytes: 8 * 2 ** 30,
      type: index === 0 ? ('thin' as const) : ('thick' as const),
    }))
    const progress = (sentence: string) => this.#log(sentence)
    this.#cluster = await SoakCluster.start({ dir, mdms, network, volumes, progress })
    this.#cluster.onDied = sentence => this.fail(new Error(sentence))
    if (withFileSystems)
      for (const name of sdsNames) {
        const fileSystem = await SmallFileSystem.make(join(dir, name, 'small'), join(dir, `${name}.image`))
        this.#fileSystems.set(name, fileSystem)
        await this.#cluster.addDevice(name, fileSystem.dir)
      }
    await this.#cluster.untilHealthy(healWithinMs)
  }

  #startLoads(): void {
    const cluster = this.#cluster!
    this.#loads = volumeNames.map(
      (volume, index) =>
        new Load({
          volume,
          socketPath: cluster.nbdSocket,
          random: seededRandom(this.options.seed * 16 + index + 1),
          connections: 3,
          depth: 4,
          thinkMs: 25,
          hotChunks: 48,
          generation: () => cluster.sdcGeneration,
          mayLoseSdc: generation => cluster.sdcIsEnding || generation !== cluster.sdcGeneration,
          fail: error => this.fail(error),
          waited: (beganMs, endedMs) => this.#faults!.waited(beganMs, endedMs),
          note: sentence => this.#log(sentence),
        }),
    )
    for (const load of this.#loads) load.start()
    let before = 0
    this.#pulse = setInterval(() => {
      const answered = this.#sum(load => load.counts.answered)
      this.#log(`answered ${answered - before} requests, ${this.#sum(load => load.openNow)} wait`)
      before = answered
    }, 1000)
  }

  async #healed(): Promise<void> {
    if (this.failure !== null) return
    const tookMs = await this.#cluster!.untilHealthy(healWithinMs)
    this.#healMsMax = Math.max(this.#healMsMax, tookMs)
    await Promise.all(this.#loads.map(load => load.answered(answerWithinMs)))
  }

  async #endRound(): Promise<void> {
    const beganMs = performance.now()
    await this.#healed()
    if (this.failure !== null) return
    this.#rounds++
    const tookMs = performance.now() - beganMs
    this.#tell(
      `round ${this.#rounds}: ${this.#faults!.count} faults so far, healthy after ${Math.round(tookMs)} ms, ` +
        `longest pause so far ${Math.round(this.#pauseMsMax)} ms`,
    )
    const { pauseMsMax } = this.options
    if (pauseMsMax !== null && this.#pauseMsMax > pauseMsMax)
      throw new Error(`a request waited ${Math.round(this.#pauseMsMax)} ms for its answer`)
  }

  #sum(of: (load: Load) => number): number {
    return this.#loads.reduce((total, load) => total + of(load), 0)
  }

  get #pauseMsMax(): number {
    return Math.max(0, ...this.#loads.map(load => load.counts.pauseMsMax))
  }

  /** Registers are read back; both copies are compared. */
  async #verify(): Promise<void> {
    if (this.failure !== null) return
    await Promise.all(this.#loads.map(load => load.end(answerWithinMs)))
    await Promise.all(this.#loads.map(load => load.readAll(healWithinMs)))
    if (this.failure !== null) return
    const { exit, stdout, stderr } = await runProgram('blockmesh', ['check', '--dir', this.options.dir])
    this.#compared = stdout.trim().split('\n')[0] ?? ''
    this.#log(stdout)
    if (exit !== 0) throw new Error(`the copies are not equal: ${stderr}${stdout}`)
  }

  #log(sentence: string): void {
    const atS = ((performance.now() - this.#beganMs) / 1000).toFixed(3)
    appendFileSync(join(this.options.dir, 'soak.log'), `${new Date().toISOString()} ${atS} ${sentence}\n`)
  }

  #tell(sentence: string): void {
    this.#log(sentence)
    process.stdout.write(`soak: ${sentence}\n`)
  }
}

/** Removes the directory of a soak that has passed. */
export const removeSoak = (dir: string): void => rmSync(dir, { recursive: true, force: true })
