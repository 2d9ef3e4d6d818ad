import type { Disk, DiskDone, MetaStore, MetaWrite, Random } from '../../../../src/ports/index.js'
import { MemoryFile } from '../../../support/index.js'
import { StoreHost } from './store-host.js'

const sectorBytes = 512

/** A write (or, without bytes, an erasure) that a store began. */
export interface Change {
  offsetBytes: number
  lengthBytes: number
  bytes: Buffer | null
}

/** What happened, in order: on the disk, in the index, and in the eyes of the store's user. */
type Event<Fact> =
  | { kind: 'issued'; change: Change }
  | { kind: 'landed'; change: Change }
  | { kind: 'synced'; changes: ReadonlySet<Change> }
  | { kind: 'committed'; writes: readonly MetaWrite[] }
  | { kind: 'visible' }
  | { kind: 'flushed'; commits: number }
  | { kind: 'fact'; fact: Fact }

/** The state at one moment, as far as a crash then would show it. */
export interface Moment<Fact> {
  facts: Fact[]
  /** On the disk whatever happens, in order. */
  durable: Change[]
  /** Of these any may be there, or parts of them; those that have landed survive the end of the process. */
  loose: { change: Change; hasLanded: boolean }[]
  commits: (readonly MetaWrite[])[]
  durableCommits: number
  visibleCommits: number
}

/** Records what a store does to its disk and its index. */
export class Recorder<Fact> {
  readonly #events: Event<Fact>[] = []
  #isOn = false
  #landed = new Set<Change>()
  #visible = 0

  /** From now on what this host's stores do is recorded. */
  constructor(host: StoreHost) {
    const { disks, metaStores } = host
    const openDisk = disks.open.bind(disks)
    disks.open = async (path, options) => this.#wrapDisk(await openDisk(path, options))
    const openIndex = metaStores.open.bind(metaStores)
    metaStores.open = async directory => this.#wrapIndex(await openIndex(directory))
  }

  /** Everything so far is taken as durable. */
  start(): void {
    this.#isOn = true
  }

  note(fact: Fact): void {
    this.#push({ kind: 'fact', fact })
  }

  /** How many events there are, to name a moment. */
  get length(): number {
    return this.#events.length
  }

  /**
   * The moments from the event `from` on that differ in what a crash may leave: before each new change, before each
   * sync takes away possibilities, and the end. At those between, less is promised of no more possibilities.
   */
  *moments(from: number): Iterable<Moment<Fact>> {
    const moment: Moment<Fact> = {
      facts: [],
      durable: [],
      loose: [],
      commits: [],
      durableCommits: 0,
      visibleCommits: 0,
    }
    for (const [at, event] of this.#events.entries()) {
      if (at > from && event.kind !== 'fact' && event.kind !== 'landed' && event.kind !== 'visible') yield moment
      step(moment, event)
    }
    yield moment
  }

  #push(event: Event<Fact>): void {
    if (this.#isOn) this.#events.push(event)
  }

  #wrapDisk(disk: Disk): Disk {
    const begin = (change: Change, done: DiskDone): DiskDone => {
      this.#push({ kind: 'issued', change })
      return error => {
        this.#push({ kind: 'landed', change })
        this.#landed.add(change)
        done(error)
      }
    }
    return {
      path: disk.path,
      sizeBytes: disk.sizeBytes,
      alignBytes: disk.alignBytes,
      read: (offsetBytes, target, done) => disk.read(offsetBytes, target, done),
      write: (offsetBytes, pieces, done) => {
        const bytes = Buffer.concat(pieces)
        disk.write(offsetBytes, pieces, begin({ offsetBytes, lengthBytes: bytes.length, bytes }, done))
      },
      erase: (offsetBytes, lengthBytes, done) => {
        disk.erase(offsetBytes, lengthBytes, begin({ offsetBytes, lengthBytes, bytes: null }, done))
      },
      sync: done => {
        const changes = new Set(this.#landed)
        disk.sync(error => {
          this.#push({ kind: 'synced', changes })
          for (const change of changes) this.#landed.delete(change)
          done(error)
        })
      },
      close: () => disk.close(),
    }
  }

  #wrapIndex(index: MetaStore): MetaStore {
    return {
      get: key => index.get(key),
      range: prefix => index.range(prefix),
      commit: (writes, visible) => {
        this.#push({ kind: 'committed', writes: [...writes] })
        index.commit(writes, error => {
          this.#push({ kind: 'visible' })
          if (this.#isOn) this.#visible++
          visible(error)
        })
      },
      flush: durable => {
        const commits = this.#visible
        index.flush(error => {
          this.#push({ kind: 'flushed', commits })
          durable(error)
        })
      },
      reserve: bytes => index.reserve(bytes),
      close: () => index.close(),
    }
  }
}

function step<Fact>(moment: Moment<Fact>, event: Event<Fact>): void {
  switch (event.kind) {
    case 'issued':
      moment.loose.push({ change: event.change, hasLanded: false })
      break
    case 'landed': {
      const loose = moment.loose.find(({ change }) => change === event.change)
      if (loose) loose.hasLanded = true
      break
    }
    case 'synced':
      moment.durable.push(...moment.loose.flatMap(({ change }) => (event.changes.has(change) ? [change] : [])))
      moment.loose = moment.loose.filter(({ change }) => !event.changes.has(change))
      break
    case 'committed':
      moment.commits.push(event.writes)
      break
    case 'visible':
      moment.visibleCommits++
      break
    case 'flushed':
      moment.durableCommits = Math.max(moment.durableCommits, event.commits)
      break
    case 'fact':
      moment.facts.push(event.fact)
  }
}

/** What a crash at a moment leaves. */
export interface Image {
  crash: 'kill' | 'power'
  changes: Change[]
  commits: number
}

/** Every legal image of a moment if they are few, else that many: the extremes, and others as chance has them. */
export function imagesOf(moment: Moment<unknown>, random: Random, max: number): Image[] {
  return [...imagesAfter('power', moment, random, max), ...imagesAfter('kill', moment, random, max)]
}

function* imagesAfter(
  crash: 'kill' | 'power',
  { loose, durable, commits, durableCommits, visibleCommits }: Moment<unknown>,
  random: Random,
  max: number,
): Iterable<Image> {
  const isSure = (at: number) => crash === 'kill' && loose[at]!.hasLanded
  const open = [...loose.keys()].filter(at => !isSure(at))
  const commitsMin = crash === 'kill' ? visibleCommits : durableCommits
  const make = (lands: (at: number) => Change[], commitCount: number): Image => ({
    crash,
    changes: [...durable, ...loose.flatMap(({ change }, at) => (isSure(at) ? [change] : lands(at)))],
    commits: commitCount,
  })
  const whole = (at: number) => [loose[at]!.change]
  const prefixes = commits.length - commitsMin + 1
  const subsets = 2 ** open.length
  const someCommits = () => commitsMin + random.integer(prefixes)
  // One torn image at least, where something can tear.
  const tornCount = open.length === 0 ? 0 : Math.max(1, Math.floor(max / 4))
  if (subsets * prefixes + tornCount <= max)
    for (let subset = 0; subset < subsets; subset++)
      for (let count = commitsMin; count <= commits.length; count++)
        yield make(at => (subset & (1 << open.indexOf(at)) ? whole(at) : []), count)
  else
    for (let number = 0; number < max - tornCount; number++) {
      if (number === 0) yield make(() => [], commits.length)
      else if (number === 1) yield make(whole, commitsMin)
      else yield make(at => (random.integer(2) === 0 ? whole(at) : []), someCommits())
    }
  for (let number = 0; number < tornCount; number++)
    yield make(at => (random.integer(3) === 0 ? whole(at) : torn(loose[at]!.change, random)), someCommits())
}

/** Runs of a change's sectors, alternately there and not. */
function torn(change: Change, random: Random): Change[] {
  const sectors = Math.ceil(change.lengthBytes / sectorBytes)
  const parts: Change[] = []
  let isThere = random.integer(2) === 0
  for (let sector = 0; sector < sectors; isThere = !isThere) {
    const from = sector * sectorBytes
    sector = Math.min(sectors, sector + 1 + random.integer(Math.max(1, Math.ceil(sectors / 3))))
    const to = Math.min(change.lengthBytes, sector * sectorBytes)
    const bytes = change.bytes?.subarray(from, to) ?? null
    if (isThere) parts.push({ offsetBytes: change.offsetBytes + from, lengthBytes: to - from, bytes })
  }
  return parts
}

/** What a device and its index hold, all of it durable. */
export interface Base {
  sizeBytes: number
  changes: Change[]
  entries: MetaWrite[]
  bootId: string
}

/** A host whose device is as an image says. */
export async function hostWith(
  base: Base,
  image: Image,
  commits: readonly (readonly MetaWrite[])[],
  options: StoreHost['options'],
): Promise<StoreHost> {
  const host = new StoreHost(options)
  const file = new MemoryFile(base.sizeBytes)
  for (const { offsetBytes, lengthBytes, bytes } of [...base.changes, ...image.changes]) {
    if (bytes === null) file.erase(offsetBytes, lengthBytes)
    else file.write(offsetBytes, bytes)
  }
  file.sync(file.unsyncedCount)
  host.disks.files.set('/dev/sim', file)
  await host.changeIndex([...base.entries, ...commits.slice(0, image.commits).flat()])
  host.bootId = image.crash === 'power' ? `${base.bootId}9` : base.bootId
  return host
}
