import { seededRandom } from '../../support/index.js'
import { changesApart } from './apart.js'
import { RaftChecker, Violation } from './checker.js'
import { Faults } from './faults.js'
import { electionTicks, SimMember, tickTime, type World } from './member.js'
import { SimNetwork } from './network.js'
import { firstMembers, Operator } from './operator.js'
import { drawPlan, type RaftPlan } from './plan.js'
import { Timeline } from './timeline.js'

export interface RaftResult {
  plan: RaftPlan
  /** Null: everything was as promised. */
  failure: Error | null
  acknowledged: number
  read: number
  lines: string[]
}

/** Within this time after everything works again, everybody has everything. */
const healTime = 60 * electionTicks * tickTime
/** While everything heals, of so many commands one is proposed. */
const healingLoad = 8
/** Within this time after one member was lost, the others go on. */
const lookTime = 20
const goOnTime = 8 * electionTicks * tickTime

/** A group of members under load while things go wrong, then while they heal. */
export class RaftRun {
  readonly plan: RaftPlan
  readonly lines: string[] = []
  readonly world: World
  readonly #operator: Operator
  readonly #faults: Faults
  #nextId = 1
  #isTroubled = true

  constructor(
    seed: number,
    { focus = {}, isVerbose = false }: { focus?: Partial<RaftPlan>; isVerbose?: boolean } = {},
  ) {
    this.plan = { ...drawPlan(seed, seededRandom(seed * 2)), ...focus }
    const timeline = new Timeline()
    const random = seededRandom(seed * 2 + 1)
    this.world = {
      timeline,
      random,
      network: new SimNetwork(timeline, random, this.plan),
      checker: new RaftChecker(),
      members: new Map(),
      syncMax: this.plan.syncMax,
      trailingMax: this.plan.trailingMax,
      // How long catching up takes is bounded only where it is faster than the load.
      entriesPerAppendMax: this.plan.losesMembers ? 4 : this.plan.entriesPerAppendMax,
      onLeader: member => this.#onLeader(member),
      note: line => {
        if (isVerbose) this.lines.push(`${timeline.now} ${line}`)
      },
    }
    const members = firstMembers(this.plan.shape)
    for (const member of members) this.world.members.set(member.id, new SimMember(this.world, member, members))
    this.#operator = new Operator(this.world, members)
    this.#faults = new Faults(this.world)
  }

  play(): RaftResult {
    let failure: Error | null = null
    try {
      for (const member of this.#members) member.start()
      this.#load()
      if (this.plan.losesMembers) this.#loseMembers()
      else if (this.plan.changesApart) changesApart(this.world)
      else this.#trouble()
      this.#heal()
    } catch (error) {
      failure = error as Error
    }
    const { acknowledged, read } = this.world.checker
    return { plan: this.plan, failure, acknowledged, read, lines: this.lines }
  }

  /** Leaders that live shortly leave entries behind that nobody else has; some are cut off right away. */
  #onLeader(leader: SimMember): void {
    const { leaderLife, losesMembers } = this.plan
    if (leaderLife === null || losesMembers || !this.#isTroubled) return
    const { random, timeline, network } = this.world
    if (random.integer(2) === 0) this.#faults.isolate(leader)
    timeline.after(random.integer(leaderLife), () => {
      if (!this.#isTroubled || !leader.isLeading) return
      this.#faults.crash(leader, random.integer(300))
      network.heal()
    })
  }

  #load(): void {
    const { proposeEvery, readEvery } = this.plan
    let due = 0
    this.#every(proposeEvery, () => {
      // Who may take one entry at a time, from afar, catches up only with a load that is slower than that.
      if (!this.#isTroubled && due++ % healingLoad !== 0) return
      this.#one(this.#members.filter(member => member.isLeading))?.propose(this.#nextId++)
    })
    this.#every(readEvery, () => this.#one(this.#members)?.read())
    this.#every(50, () => {
      if (!this.plan.changesApart || !this.#isTroubled) this.#operator.step()
    })
  }

  #trouble(): void {
    const { faults, changes, faultEvery, changeEvery, faultTime } = this.plan
    if (faults.length > 0) this.#every(faultEvery, () => this.#isTroubled && this.#faults.strike(this.#one(faults)!))
    if (changes.length > 0) this.#every(changeEvery, () => this.#isTroubled && this.#operator.want(this.#one(changes)!))
    this.world.timeline.run(faultTime)
    this.#isTroubled = false
  }

  #heal(): void {
    this.#isTroubled = false
    this.world.note('everything works again')
    this.#faults.heal()
    const { checker } = this.world
    const target = checker.acknowledged + 5
    const { delayMax, syncMax } = this.plan
    const longest = Math.max(...this.#members.map(({ disk }) => disk.last.index))
    // One entry after the other, and what is lost once more.
    const catchUpTime = longest * (2 * delayMax + syncMax)
    this.#await(healTime + catchUpTime, () => checker.acknowledged >= target && this.#isWhole)
    if (checker.acknowledged < target)
      throw new Violation(`liveness: nothing is committed although everything works: ${this.#description}`)
    if (!this.#isWhole) throw new Violation(`liveness: not whole: ${this.#description}`)
  }

  /** Whoever is lost, the others go on; then all come back and catch up, before others are lost. */
  #loseMembers(): void {
    const { timeline, random } = this.world
    this.world.network.plan = { lossPercent: 0, duplicatePercent: 0, delayMax: 5 }
    if (this.#members.length < 3) return
    for (let times = 6; times > 0; times--) {
      this.#goOn(1, 'all are there')
      timeline.run(timeline.now + random.integer(200))
      const lost: string[] = []
      for (let left = this.plan.lossesMax; left > 0; left--) {
        const victim = this.#one(this.#members.filter(({ id }) => !lost.includes(id)))!
        const how = this.#one(['crash', 'isolate', 'deaf', 'mute', 'pause'])!
        this.world.note(`${victim.id} is lost: ${how}`)
        this.#lose(victim, how)
        lost.push(victim.id)
        if (random.integer(2) === 0) this.#goOn(5, `only ${lost.join(' and ')} are lost`)
      }
      this.#goOn(5, `only ${lost.join(' and ')} are lost`)
      this.#faults.heal()
    }
  }

  #lose(victim: SimMember, how: string): void {
    const { network } = this.world
    if (how === 'crash') victim.crash()
    if (how === 'pause') victim.pause(100 * goOnTime)
    for (const { id } of this.#members) {
      if (how === 'isolate' || how === 'mute') network.block(victim.id, id)
      if (how === 'isolate' || how === 'deaf') network.block(id, victim.id)
    }
  }

  #goOn(count: number, situation: string): void {
    const { checker } = this.world
    const target = checker.acknowledged + count
    const isAllThere = count === 1
    this.#await(goOnTime, () => checker.acknowledged >= target && (!isAllThere || this.#isWhole))
    if (checker.acknowledged < target || (isAllThere && !this.#isWhole))
      throw new Violation(
        `liveness: nothing is committed within ${goOnTime} although ${situation}: ${this.#description}`,
      )
  }

  #await(timeMax: number, isDone: () => boolean): void {
    const { timeline } = this.world
    const end = timeline.now + timeMax
    while (timeline.now < end && !isDone()) timeline.run(timeline.now + lookTime)
  }

  /** The wanted members are there, and have what the leader has. */
  get #isWhole(): boolean {
    const leader = this.#members.find(member => member.isLeading)
    const status = leader?.raft?.status
    if (!status?.areMembersCommitted || !this.#operator.isReached(status.members)) return false
    const managers = this.#operator.wanted.filter(({ kind }) => kind === 'manager')
    return managers.every(({ id }) => {
      const applied = this.world.members.get(id)!.appliedIndex
      return status.commit - applied < 10 && (id === leader!.id || status.progress[id]?.isInStep)
    })
  }

  get #description(): string {
    return this.#members
      .map(({ id, raft, appliedIndex, disk }) => {
        const s = raft?.status
        const members = s?.members.map(member => (member.isLearner ? `(${member.id})` : member.id)).join(' ')
        return `${id} ${s?.role} term ${s?.term} leader ${s?.leader} commit ${s?.commit} applied ${appliedIndex} last ${JSON.stringify(disk.last)} mark ${JSON.stringify(disk.durable.mark)} [${members}]`
      })
      .join('; ')
  }

  #every(time: number, action: () => void): void {
    const { timeline, random } = this.world
    const again = () => {
      action()
      timeline.after(Math.ceil(time / 2) + random.integer(time), again)
    }
    timeline.after(random.integer(time), again)
  }

  #one<T>(of: readonly T[]): T | undefined {
    return of[this.world.random.integer(Math.max(1, of.length))]
  }

  get #members(): SimMember[] {
    return [...this.world.members.values()]
  }
}
