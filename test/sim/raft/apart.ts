import { electionTicks, SimMember, tickTime, type World } from './member.js'

const electionTime = electionTicks * tickTime

/**
 * Two leaders, each on its side of a partition, change the members: the old one promotes a learner, the new one removes the
 * old one as soon as it is elected. If the new one did not have to commit something of its own term first, which takes the
 * third of its side, that third could help the old one to lead again: a majority of five and one of three that do not meet.
 */
export function changesApart(world: World): void {
  const { timeline, network, members, random } = world
  const pass = (time: number) => timeline.run(timeline.now + time)
  const cut = (side: readonly SimMember[], other: readonly SimMember[]) => {
    for (const near of side)
      for (const far of other) {
        network.block(near.id, far.id)
        network.block(far.id, near.id)
      }
  }
  const leaderOf = (of: readonly SimMember[]) => of.find(member => member.isLeading)
  const wait = (of: readonly SimMember[]) => {
    for (let left = 40; left > 0 && !leaderOf(of); left--) pass(10)
    return leaderOf(of)
  }

  const old = wait([...members.values()])
  if (!old) return
  pass(2 * electionTime)
  const learner = new SimMember(world, { id: 'm5', kind: 'manager', isLearner: true }, [])
  members.set(learner.id, learner)
  learner.start()
  const list = old.raft!.status.members
  old.change([...list, { ...learner.self }])
  pass(2 * electionTime)

  const others = [...members.values()].filter(member => member !== old && member !== learner)
  cut([old, learner], others)
  old.change([...list, { ...learner.self, isLearner: false }])
  const next = wait(others)
  if (!next) return
  const [third, ...rest] = others.filter(member => member !== next)
  cut([third!], [next, ...rest])
  next.change(next.raft!.status.members.filter(({ id }) => id !== old.id))
  pass(2 * electionTime + random.integer(electionTime))

  network.heal()
  cut([old, learner, third!], [next, ...rest])
  pass(6 * electionTime)
}
