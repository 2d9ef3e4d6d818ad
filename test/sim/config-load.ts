import { StorageError } from '../../src/base/errors.js'
import { type MdmClient, openMdmClient } from '../../src/mdm-client/index.js'
import type { Endpoint } from '../../src/model/index.js'
import { type Clock, type Link, type Random, silentLog } from '../../src/ports/index.js'
import {
  type AnswerOf,
  type ControlMessage,
  controlVersion,
  type MdmRequestName,
  type MdmRequests,
  type SystemReport,
} from '../../src/wire/control.js'
import type { SimCluster } from './cluster.js'
import { Violation } from './register-checker.js'
import type { Situations } from './situations.js'

const domainsMax = 12
const requestTimeoutMs = 15_000

/**
 * Somebody who changes the configuration all the time, one change after the other, and looks at it through another
 * connection. Nobody else uses these names: so what was answered is there exactly once, seen by whoever asks afterwards,
 * and a change that is refused as done already, or undone already, was done twice.
 */
export class ConfigLoad {
  readonly #writer: MdmClient
  readonly #reader: MdmClient
  /** By name; the id is null where nobody knows whether it was made. */
  readonly #domains = new Map<string, string | null>()
  /** Names of which nobody knows whether they are there, or were there. */
  readonly #doubtful = new Set<string>()
  #count = 0
  #isOver = false
  #done: Promise<void> | null = null
  changes = 0

  constructor(
    readonly cluster: SimCluster,
    readonly situations: Situations,
    readonly random: Random,
    readonly name: string,
    readonly fail: (error: Error) => void,
  ) {
    this.#writer = this.#open(`${name}-writer`, `${name}-1`)
    this.#reader = this.#open(`${name}-reader`)
  }

  #open(host: string, client?: string): MdmClient {
    const { clock, world } = this.cluster
    const addresses = this.cluster.mdmAddresses
    const identity = { role: 'tool' as const, name: host, systemId: null, ...(client ? { client } : {}) }
    const mdm = openMdmClient({ addresses, ...identity, clock, link: world.network.linkOf(host), log: silentLog })
    mdm.start()
    return mdm
  }

  start(): void {
    this.#done = this.#run().catch(error => this.fail(error as Error))
  }

  /** Ends, after one more look at everything. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#done
    await this.#writer.close()
    await this.#reader.close()
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      await this.#step()
      await this.#sleep(this.random.integer(150))
    }
    while (!(await this.#look())) await this.#sleep(200)
  }

  #step(): Promise<unknown> {
    const names = [...this.#domains.keys()]
    const one = names[this.random.integer(Math.max(1, names.length))]
    const choice = this.random.integer(5)
    if (choice === 0) return this.#look()
    if (one === undefined || (choice < 3 && names.length < domainsMax)) return this.#add()
    return choice === 3 ? this.#rename(one) : this.#remove(one)
  }

  async #add(): Promise<void> {
    const name = `${this.name}-${++this.#count}`
    const answer = await this.#change(name, 'addProtectionDomain', { name })
    if (answer !== null) this.#domains.set(name, answer.id)
  }

  async #rename(name: string): Promise<void> {
    const newName = `${this.name}-${++this.#count}`
    const id = this.#domains.get(name)!
    this.#domains.delete(name)
    const answer = await this.#change(name, 'renameProtectionDomain', { protectionDomain: name, newName })
    if (answer === null) this.#doubtful.add(newName)
    else this.#domains.set(newName, id)
  }

  async #remove(name: string): Promise<void> {
    this.#domains.delete(name)
    await this.#change(name, 'removeProtectionDomain', { protectionDomain: name })
  }

  /** null: nobody knows whether it was done. */
  async #change<N extends MdmRequestName>(what: string, name: N, params: MdmRequests[N]): Promise<AnswerOf<N> | null> {
    try {
      const answer = await this.#writer.request(name, params, { timeoutMs: requestTimeoutMs })
      this.changes++
      this.situations.reached('configuration changed under faults')
      return answer
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.code === 'ALREADY_EXISTS' || error.code === 'NOT_FOUND')
        throw new Violation(`${name} of ${what} was done twice, or something before it was lost: ${error.message}`)
      this.#doubtful.add(what)
      return null
    }
  }

  /** Everything answered is there, and nothing else. False: there was no answer. */
  async #look(): Promise<boolean> {
    try {
      const { protectionDomains } = await this.#query()
      const own = protectionDomains.filter(({ name }) => name.startsWith(`${this.name}-`))
      for (const [name, id] of this.#domains) {
        const found = own.filter(domain => domain.name === name)
        if (found.length !== 1 || found[0]!.id !== id)
          throw new Violation(`the protection domain ${name} was made, and is there ${found.length} times`)
      }
      for (const { name } of own)
        if (!this.#domains.has(name) && !this.#doubtful.has(name))
          throw new Violation(`the protection domain ${name} is there, and should not be`)
      this.situations.reached('configuration looked at')
      return true
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      return false
    }
  }

  /** Through the reader, or from any MDM that calls itself master. */
  #query(): Promise<SystemReport> {
    if (this.#isOver || this.random.integer(2) === 0)
      return this.#reader.request('query', {}, { timeoutMs: requestTimeoutMs })
    const { clock, world, mdmAddresses } = this.cluster
    const link = world.network.linkOf(`${this.name}-any`)
    return askAny(mdmAddresses[this.random.integer(mdmAddresses.length)]!, link, clock)
  }

  #sleep(ms: number): Promise<void> {
    return new Promise(resolve => this.cluster.clock.setTimer(ms, resolve))
  }
}

/** Says hello to one MDM and asks it for everything. Rejects where it is not master, or says nothing for long. */
function askAny(at: Endpoint, link: Link, clock: Clock): Promise<SystemReport> {
  return new Promise((resolve, reject) => {
    const end = (act: () => void) => {
      timer.cancel()
      connection.close()
      act()
    }
    const fail = (detail: string) => end(() => reject(new StorageError('UNREACHABLE', { detail })))
    const timer = clock.setTimer(8_000, () => fail('it says nothing'))
    const ask = (id: number, name: string, params: unknown) =>
      connection.send({ kind: 'request', id, name, params } as ControlMessage)
    const connection = link.connectControl(at, {
      onMessage: message => {
        if (message.kind !== 'answer') return
        if ('error' in message) fail(message.error.code)
        else if (message.id === 1) ask(2, 'query', {})
        else end(() => resolve(message.result as SystemReport))
      },
      onClose: fail,
    })
    ask(1, 'hello', { version: controlVersion, role: 'tool', name: 'any', systemId: null })
  })
}
