import { mutate } from '../../../src/base/mutation.js'
import type { Member, MemberKind } from '../../../src/core/raft/index.js'
import { SimMember, type World } from './member.js'
import type { ChangeName, RaftPlan } from './plan.js'

const voter = (id: string, kind: MemberKind): Member => ({ id, kind, isLearner: false })

/** Who there is at first: managers m1, m2 …, tie breakers t1, t2 …. */
export function firstMembers(shape: RaftPlan['shape']): Member[] {
  const [managers = 0, tieBreakers = 0] = shape.split('+').map(Number)
  return [
    ...Array.from({ length: managers }, (_, at) => voter(`m${at + 1}`, 'manager')),
    ...Array.from({ length: tieBreakers }, (_, at) => voter(`t${at + 1}`, 'tieBreaker')),
  ]
}

/** Wants other members than there are from time to time, and leads the system there, one change at a time. */
export class Operator {
  #wanted: Member[]
  #nextNumber = 10

  constructor(
    readonly world: World,
    members: readonly Member[],
  ) {
    this.#wanted = [...members]
  }

  get wanted(): readonly Member[] {
    return this.#wanted
  }

  isReached(members: readonly Member[]): boolean {
    return (
      members.length === this.#wanted.length &&
      this.#wanted.every(({ id }) => members.some(member => member.id === id && !member.isLearner))
    )
  }

  /** Changes its mind. */
  want(change: ChangeName): void {
    const { random } = this.world
    const managers = this.#wanted.filter(({ kind }) => kind === 'manager').length
    if (change === 'grow' && this.#wanted.length < 5) {
      const tieBreakers = this.#wanted.length - managers
      this.#add(tieBreakers < managers - 1 ? 'tieBreaker' : 'manager')
    }
    const victim = this.#wanted[random.integer(this.#wanted.length)]!
    if (change === 'shrink' && (victim.kind === 'tieBreaker' || managers > 1) && this.#wanted.length > 2)
      this.#drop(victim)
    if (change === 'replace') this.#replace(victim)
    if (change === 'demote') this.#demote()
  }

  /** One step towards what is wanted, if there is a leader that takes it. */
  step(): void {
    const leader = [...this.world.members.values()].find(member => member.isLeading)
    const status = leader?.raft?.status
    if (!leader || !status) return
    const { members } = status
    this.#tidy(status.members)
    const missing = this.#wanted.find(({ id }) => !members.some(member => member.id === id))
    const surplus = members.find(({ id }) => !this.#wanted.some(member => member.id === id))
    const learner = members.find(({ id, isLearner }) => isLearner && this.#wanted.some(member => member.id === id))
    const promoted = members.map(member => (member.id === learner?.id ? { ...member, isLearner: false } : member))
    if (missing) leader.change([...members, { ...missing, isLearner: true }])
    else if ((!learner || !leader.change(promoted)) && surplus)
      leader.change(members.filter(({ id }) => id !== surplus.id))
  }

  /** Who is no member any more ends some time after. */
  #tidy(members: readonly Member[]): void {
    for (const [id, member] of this.world.members) {
      if (members.some(other => other.id === id) || this.#wanted.some(other => other.id === id)) continue
      this.world.timeline.after(300, () => {
        member.crash()
        this.world.members.delete(id)
      })
    }
  }

  #add(kind: MemberKind): void {
    const id = `${kind === 'manager' ? 'm' : 't'}${this.#nextNumber++}`
    const member = new SimMember(this.world, { id, kind, isLearner: true }, [])
    this.world.members.set(id, member)
    this.world.note(`${id} is to join`)
    member.start()
    this.#wanted.push(voter(id, kind))
  }

  #drop({ id }: Member): void {
    this.world.note(`${id} is to leave`)
    this.#wanted = this.#wanted.filter(member => member.id !== id)
  }

  /** A disk is lost, for good; somebody new takes its place. Only while the others can do without it. */
  #replace(victim: Member): void {
    const member = this.world.members.get(victim.id)
    if (!member || !this.#canDoWithout(victim)) return
    this.world.note(`${victim.id} loses its disk`)
    member.crash()
    if (mutate('raft-wiped-member-keeps-its-identity')) {
      this.world.members.set(victim.id, new SimMember(this.world, victim, []))
      this.world.members.get(victim.id)!.start()
      return
    }
    this.world.members.delete(victim.id)
    this.#drop(victim)
    this.#add(victim.kind)
  }

  #canDoWithout({ id }: Member): boolean {
    const all = [...this.world.members.values()]
    const leader = all.find(member => member.isLeading)
    if (!leader || leader.id === id) return false
    const status = leader.raft!.status
    if (!status.areMembersCommitted || !this.isReached(status.members) || this.#wanted.length < 3) return false
    const { last } = leader.disk
    return all.every(
      member =>
        member === leader ||
        (member.raft !== null &&
          isNoNewer(member.disk.durable.mark, last) &&
          isNoNewer(member.disk.last, last) &&
          member.raft.status.commit <= last.index),
    )
  }

  #demote(): void {
    const leader = [...this.world.members.values()].find(member => member.isLeading)
    if (!leader) return
    const { members } = leader.raft!.status
    const at = this.world.random.integer(members.length)
    leader.change(members.map((member, index) => (index === at ? { ...member, isLearner: true } : member)))
  }
}

const isNoNewer = (one: { term: number; index: number }, other: { term: number; index: number }) =>
  one.term < other.term || (one.term === other.term && one.index <= other.index)
