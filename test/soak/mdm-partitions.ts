import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { StorageError } from '../../src/base/errors.js'
import { mdmAddresses, processOf } from '../../src/cli/local/state.js'
import { askMdmCluster, withMdm } from '../../src/cli/mdm-session.js'
import { parseAddress } from '../../src/cli/scli/values.js'
import type { ClusterReport } from '../../src/wire/control.js'
import { mdmNamesOf, SoakCluster, sdcName, sdsNames } from './cluster.js'
import { isInside, Network, namespacesUnavailable, runInside } from './network.js'

/**
 * Every two-way partition of three MDMs, with each manager as master before it: the majority goes on, the minority
 * changes nothing and says why, and what the majority has committed is everywhere once they reach each other again.
 * Prints one line each; exit code 0: all held, 69: namespaces are not permitted here, 1: something did not hold.
 */

const names = mdmNamesOf(3)
const managers = names.slice(0, 2)
const goesOnWithinMs = 15_000
const refusesAfterMs = 3_000
/** This program, called inside a member's namespace. */
const askVerb = 'ask'

class Partitions {
  readonly #changes: string[] = []

  constructor(
    readonly cluster: SoakCluster,
    readonly network: Network,
  ) {}

  async run(): Promise<void> {
    for (const master of managers)
      for (const alone of names) {
        await this.#lead(master)
        await this.#part(master, alone)
      }
    await this.#compare()
  }

  /** The change is asked of everybody: whoever has a majority makes it. */
  async #change(): Promise<void> {
    const name = `change-${this.#changes.length}`
    await this.cluster.withMdm(
      mdm => mdm.request('addProtectionDomain', { name }, { timeoutMs: goesOnWithinMs }),
      goesOnWithinMs,
    )
    this.#changes.push(name)
  }

  async #lead(name: string): Promise<void> {
    await this.#untilNormal()
    const endMs = performance.now() + goesOnWithinMs
    for (;;) {
      const refusal = await this.cluster
        .withMdm(mdm => mdm.request('switchMdmOwnership', { mdm: name }))
        .then(
          () => null,
          (error: StorageError) => error,
        )
      if (refusal === null) break
      // Who answered that all is well may see more than the master, whose own link to the member is not up again yet.
      if (refusal.code !== 'UNREACHABLE' || performance.now() > endMs) throw refusal
      await sleep(100)
    }
    await this.#untilNormal()
  }

  async #part(master: string, alone: string): Promise<void> {
    const others = names.filter(name => name !== alone)
    const heals = await Promise.all(others.map(to => this.network.cut({ from: alone, to, isOneWay: false })))
    const beganMs = performance.now()
    await this.#change()
    const tookMs = Math.round(performance.now() - beganMs)
    const why = await this.#refusal(alone)
    await this.#change()
    for (const heal of heals) await heal()
    await this.#untilNormal()
    process.stdout.write(`master ${master}, ${alone} alone: the others went on after ${tookMs} ms; it says: ${why}\n`)
  }

  /** What somebody hears who is on its side. */
  async #refusal(name: string): Promise<string> {
    const { host, port } = processOf(this.cluster.state, name).address!
    const program = [process.execPath, process.argv[1]!, askVerb, `${host}:${port}`]
    const [command, ...args] = [...this.network.prefixFor(name), ...program]
    const { stdout } = await promisify(execFile)(command!, args)
    return stdout.trim()
  }

  async #untilNormal(): Promise<ClusterReport> {
    const endMs = performance.now() + 60_000
    for (;;) {
      const { report } = await askMdmCluster({ addresses: mdmAddresses(this.cluster.state) })
      if (report.state === 'Normal') return report
      if (performance.now() > endMs) throw new Error(`not normal again: ${report.detail}`)
      await sleep(100)
    }
  }

  async #compare(): Promise<void> {
    const { protectionDomains } = await this.cluster.withMdm(mdm => mdm.request('query', {}))
    const have = protectionDomains.map(({ name }) => name).filter(name => name !== 'pd1')
    if (have.sort().join() !== [...this.#changes].sort().join())
      throw new Error(`acknowledged are ${this.#changes}, there are ${have}`)
    process.stdout.write(`${this.#changes.length} acknowledged changes are there, each once\n`)
  }
}

/** Asks one member for a change, and prints why it is refused; throws if it is not. */
async function ask(at: string): Promise<number> {
  const addresses = [parseAddress(at, 0)]
  const { report } = await askMdmCluster({ addresses })
  if (report.self.role === 'Master') throw new Error(`${at} believes to be the master of a minority`)
  const change = withMdm({ addresses, connectTimeoutMs: refusesAfterMs }, mdm =>
    mdm.request('addProtectionDomain', { name: 'minority' }, { timeoutMs: refusesAfterMs }),
  )
  const refusal = await change.then(
    () => null,
    (error: StorageError) => error,
  )
  if (refusal?.code !== 'UNREACHABLE') throw refusal ?? new Error(`${at} has made a change without a majority`)
  process.stdout.write(`${refusal.context.detail}\n`)
  return 0
}

async function main(): Promise<number> {
  if (process.argv[2] === askVerb) return ask(process.argv[3]!)
  if (!isInside()) {
    const unavailable = namespacesUnavailable()
    if (unavailable === null) return runInside()
    process.stderr.write(`${unavailable}\n`)
    return 69
  }
  const dir = mkdtempSync(join(tmpdir(), 'blockmesh-partitions-'))
  const network = await Network.make([...names, ...sdsNames, sdcName])
  const cluster = await SoakCluster.start({ dir, mdms: 3, network, volumes: [], progress: () => {} })
  let died: string | null = null
  cluster.onDied = sentence => {
    died ??= sentence
  }
  try {
    await new Partitions(cluster, network).run()
    if (died !== null) throw new Error(died)
    rmSync(dir, { recursive: true })
    return 0
  } finally {
    await cluster.close()
    network.close()
  }
}

process.exitCode = await main().catch((error: Error) => {
  process.stderr.write(`${error.stack ?? error.message}\n`)
  return 1
})
