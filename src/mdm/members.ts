import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import type { Member, MemberProgress } from '../core/raft/index.js'
import { type Endpoint, type Mdm as MdmRow, systemIdOf } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import type { Mdm } from './context.js'

const lookMs = 100
const attachTimeoutMs = 5_000
const attachPauseMs = 1_000
/** A learner that lacks no more than this is let in: it gets the rest like everybody else. */
const behindMax = 64

interface Waiting {
  isDone(): boolean
  timer: Timer
  resolve(): void
  reject(error: StorageError): void
}

/**
 * Brings the members of the cluster, one change at a time, to what the map says they are to be: managers come in, then
 * tie breakers, each as a learner first; nobody leaves before everybody is in. A new master goes on where the last
 * one has stopped, because all that is to be is in the map.
 */
export class Members {
  #timer: Timer | null = null
  #isClosed = false
  #isServing = false
  readonly #attaching = new Set<MdmId>()
  readonly #waiting = new Set<Waiting>()
  onServing: () => void = () => {}

  constructor(readonly mdm: Mdm) {}

  /** The system exists, and this MDM stands in its map. */
  get isServing(): boolean {
    return this.#isServing
  }

  start(): void {
    this.#introduceSelf()
      .then(() => {
        this.#isServing = true
        this.onServing()
        this.look()
      })
      .catch(error => this.#failed('introduce itself', error))
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    for (const waiting of this.#waiting) {
      waiting.timer.cancel()
      waiting.reject(new StorageError('NOT_MASTER'))
    }
    this.#waiting.clear()
  }

  /** Resolves as soon as it is so; TIMED_OUT if it goes on longer, by itself. */
  until(what: string, timeoutMs: number, isDone: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#isClosed) return reject(new StorageError('NOT_MASTER'))
      const timer = this.mdm.ports.clock.setTimer(timeoutMs, () => {
        this.#waiting.delete(waiting)
        const remedy = 'it goes on by itself as soon as it can; query_cluster shows how far it is'
        reject(new StorageError('TIMED_OUT', { detail: `${what} is not complete yet`, afterMs: timeoutMs, remedy }))
      })
      const waiting = { isDone, timer, resolve, reject }
      this.#waiting.add(waiting)
      this.lookSoon()
    })
  }

  /** Nothing is being changed, and the members are those of the map. */
  get isSettled(): boolean {
    const { members, areMembersCommitted } = this.mdm.node.driver.status
    const rows = this.#rows
    return (
      areMembersCommitted &&
      rows.every(
        ({ membership }) => membership === 'member' || membership === 'standby' || membership === 'attaching',
      ) &&
      members.every(({ id }) => rows.find(row => row.id === id)?.membership === 'member')
    )
  }

  moved(id: MdmId, endpoint: Endpoint): void {
    const row = this.mdm.map.tables.mdms.get(id)
    if (!row || !this.#isServing || same(row.endpoint, endpoint)) return
    this.mdm.proposer.propose('moveMdm', () => ({ id, endpoint })).catch(error => this.#failed('move an MDM', error))
  }

  lookSoon(): void {
    this.mdm.ports.clock.endOfTurn(() => this.look())
  }

  look(): void {
    if (this.#isClosed || !this.#isServing) return
    this.#timer?.cancel()
    this.#timer = this.mdm.ports.clock.setTimer(lookMs, () => this.look())
    this.#attachNew()
    this.#step()
    for (const waiting of [...this.#waiting]) {
      if (!waiting.isDone()) continue
      this.#waiting.delete(waiting)
      waiting.timer.cancel()
      waiting.resolve()
    }
  }

  get #rows(): MdmRow[] {
    return [...this.mdm.map.tables.mdms.values()]
  }
  get #selfId(): MdmId {
    return this.mdm.node.identity.id
  }

  async #introduceSelf(): Promise<void> {
    const { map, proposer, node, config, ports } = this.mdm
    const { systemId } = node.identity
    if (systemIdOf(map) === null) {
      const name = config.systemName ?? config.name
      await proposer.propose('createSystem', () => ({ systemId, name }))
      ports.log.info('system.created', { systemId, name })
    }
    const id = this.#selfId
    const endpoint = this.mdm.cluster.endpoint
    const row = map.tables.mdms.get(id)
    if (!row) await proposer.propose('firstMdm', () => ({ id, name: config.name, endpoint }))
    else if (!same(row.endpoint, endpoint)) await proposer.propose('moveMdm', () => ({ id, endpoint }))
  }

  /** Gives new MDMs their ids. One that has had its id, and does not know it any more, has lost its disk. */
  #attachNew(): void {
    for (const { id, kind, membership } of this.#rows) {
      const link = this.mdm.links.get(id)
      if (link === null || this.#attaching.has(id)) continue
      const isNew = membership === 'attaching'
      if (link.isUnattached && isNew)
        this.#busy(id, async () => {
          await link.ask('attach', { systemId: this.mdm.node.identity.systemId, id, kind }, attachTimeoutMs)
          link.reconnect()
        })
      else if (link.isUp && isNew)
        this.#busy(id, async () => {
          await this.mdm.proposer.propose('mdmAttached', () => ({ id }))
        })
    }
  }

  #busy(id: MdmId, act: () => Promise<void>): void {
    this.#attaching.add(id)
    const end = () => {
      this.#attaching.delete(id)
      this.lookSoon()
    }
    act().then(end, error => {
      this.#failed('attach an MDM', error)
      this.mdm.ports.clock.setTimer(attachPauseMs, end)
    })
  }

  /** Makes the next change of the members, if one is due and the last one is committed. */
  #step(): void {
    const { driver } = this.mdm.node
    const { members, areMembersCommitted } = driver.status
    if (!areMembersCommitted) return
    const next = this.#next(members)
    if (next === null) return
    const refusal = driver.proposeMembers(next)
    this.mdm.ports.log.info('mdm.membersChange', { members: next, refused: refusal?.refused })
  }

  #next(members: readonly Member[]): Member[] | null {
    const { links } = this.mdm
    const rows = this.#rows
    const isIn = (id: string) => members.some(member => member.id === id)
    const isWanted = (id: string) => rows.some(row => row.id === id && isWantedRow(row))
    const without = (id: string) => members.filter(member => member.id !== id)
    const learner = members.find(({ isLearner }) => isLearner)
    if (learner && !isWanted(learner.id)) return without(learner.id)
    if (learner && !this.#isCaughtUp(learner)) return null
    if (learner) return [...without(learner.id), { ...learner, isLearner: false }]
    const missing = rows.filter(row => isWantedRow(row) && !isIn(row.id))
    const coming = missing.filter(({ id }) => links.get(id)?.isUp)
    const next = coming.find(({ kind }) => kind === 'manager') ?? coming[0]
    if (next) return [...members, { id: next.id, kind: next.kind, isLearner: true }]
    if (missing.length > 0) return null
    return this.#leaving(
      members.filter(({ id }) => !isWanted(id)),
      without,
    )
  }

  /** Tie breakers first; this MDM last, and not before another one is master. */
  #leaving(unwanted: readonly Member[], without: (id: string) => Member[]): Member[] | null {
    const others = unwanted.filter(({ id }) => id !== this.#selfId)
    const next = others.find(({ kind }) => kind === 'tieBreaker') ?? others[0]
    if (next) return without(next.id)
    if (unwanted.length > 0) this.#handOver()
    return null
  }

  #handOver(): void {
    const { driver } = this.mdm.node
    for (const row of this.#rows)
      if (row.kind === 'manager' && row.membership === 'member' && this.isInStep(row.id) && driver.transferTo(row.id))
        return
  }

  /** It has everything that is committed, or as good as. */
  isInStep(id: string): boolean {
    const progress = this.#progressOf(id)
    return (progress?.isInStep && progress.isActive) ?? false
  }

  #isCaughtUp({ id, kind }: Member): boolean {
    const { match, isActive } = this.#progressOf(id) ?? { match: 0, isActive: false }
    if (kind === 'tieBreaker') return isActive
    return isActive && match > 0 && match + behindMax >= this.mdm.node.driver.status.commit
  }

  #progressOf(id: string): MemberProgress | undefined {
    return this.mdm.node.driver.status.progress[id]
  }

  #failed(what: string, error: unknown): void {
    if (!(error instanceof StorageError)) queueMicrotask(() => raise(error))
    if (!this.#isClosed) this.mdm.ports.log.warn('mdm.membersFailed', { what, error: String(error) })
  }
}

const isWantedRow = ({ membership }: MdmRow): boolean => membership === 'joining' || membership === 'member'

const same = (one: Endpoint, two: Endpoint): boolean => one.host === two.host && one.port === two.port

function raise(error: unknown): never {
  throw error
}
