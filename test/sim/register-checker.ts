import { chunkBytes } from '../../src/base/units.js'

/**
 * What a volume promises, sector by sector: each is a linearizable register over stamped writes. The checker keeps, for
 * each sector, every value that it may hold now. It errs on the side of too many: whatever it finds is a violation.
 *
 * Moments are ticks: each start and end of a request is later than all before.
 */
export const sectorBytes = 512
export const chunkSectors = chunkBytes / sectorBytes

export type RequestKind = 'read' | 'write' | 'trim' | 'zero' | 'flush'

export interface CheckedRequest {
  /** Also the stamp of what it writes; 0 stamps nothing: zeroes. */
  readonly id: number
  readonly kind: RequestKind
  readonly sdc: string
  /** The SDC's process to which it was given last. */
  process: number
  readonly firstSector: number
  readonly sectorCount: number
  readonly isFua: boolean
  begunAt: number
  /** Its process is gone and nobody will send it again. It may still take effect, until a newer process is served. */
  isOrphan: boolean
}

/** One value that a sector has had, or may get. */
interface Candidate {
  value: number
  /** Requests that may write it at any moment. */
  open: number
  /** After this moment it was not written any more, while nothing is open. */
  lastAt: number
  /** Not the sector's value any more since then: something newer was seen. */
  goneAt: number
  /** An answered write has replaced it at this moment: a flush that began later makes that durable. */
  buriedAt: number
  /** `buriedAt` as it was before a loss gave the value another chance. */
  buriedBeforeLossAt: number
}

/** Sectors side by side, in one chunk, that have had the same fate: whatever concerns only some of them splits them. */
interface Extent {
  firstSector: number
  endSector: number
  candidates: Candidate[]
  /** Open orphans. */
  orphans: CheckedRequest[]
  /** Unflushed writes were given up then. */
  lossAt: number
}

const forEver = Number.POSITIVE_INFINITY

export class Violation extends Error {
  override readonly name = 'Violation'
}

export class RegisterChecker {
  /** In order, without overlaps; sectors between them were never touched. */
  readonly #extents: Extent[] = []
  readonly #chunks = new Set<number>()
  #tick = 1
  /** Everything answered before this moment is durable. */
  #flushedAt = 0
  /** Open reads, the oldest first. */
  readonly #reads = new Set<CheckedRequest>()

  constructor(readonly name: string) {}

  /** The present moment, later than all before. */
  tick(): number {
    return ++this.#tick
  }

  /** The chunks that were touched, in the order of their first touch. */
  get chunks(): ReadonlySet<number> {
    return this.#chunks
  }

  begin(request: CheckedRequest): void {
    request.begunAt = this.tick()
    if (request.kind === 'read') this.#reads.add(request)
    if (request.kind === 'read' || request.kind === 'flush') return
    const value = writtenBy(request)
    for (const extent of this.#extentsOf(request)) {
      const candidate = candidateOf(extent, value)
      candidate.open++
      candidate.goneAt = forEver
      candidate.buriedAt = forEver
      candidate.buriedBeforeLossAt = forEver
    }
  }

  /** Answered well. */
  wrote(request: CheckedRequest): void {
    const now = this.tick()
    const value = writtenBy(request)
    for (const extent of this.#extentsOf(request)) {
      this.#settleOrphans(extent, request, null)
      const own = this.#close(extent, value, now)
      if (request.begunAt <= extent.lossAt) continue
      for (const candidate of extent.candidates) {
        if (candidate === own || candidate.open > 0 || candidate.lastAt >= request.begunAt) continue
        if (candidate.goneAt === forEver) candidate.goneAt = now
        if (request.isFua) candidate.buriedAt = -1
        else if (candidate.buriedAt === forEver) candidate.buriedAt = now
      }
      this.#forget(extent)
    }
  }

  /** Answered with an error, or in part: it has taken effect, or has not, and will not any more. */
  failed(request: CheckedRequest): void {
    const now = this.tick()
    this.#reads.delete(request)
    if (request.kind === 'read' || request.kind === 'flush') return
    for (const extent of this.#extentsOf(request)) this.#close(extent, writtenBy(request), now)
  }

  /** Its SDC was killed and nobody sends it again. */
  abandoned(request: CheckedRequest): void {
    request.isOrphan = true
    this.#reads.delete(request)
    if (request.kind === 'read' || request.kind === 'flush') return
    for (const extent of this.#extentsOf(request)) extent.orphans.push(request)
  }

  /** Throws a Violation if the bytes are not what the sectors may have held during the request. */
  read(request: CheckedRequest, bytes: Buffer): void {
    const now = this.tick()
    this.#reads.delete(request)
    const endSector = request.firstSector + request.sectorCount
    for (let first = request.firstSector; first < endSector; ) {
      const valueAt = (sector: number) => stampAt(bytes, (sector - request.firstSector) * sectorBytes, sector)
      const value = valueAt(first)
      let end = first + 1
      while (end < endSector && valueAt(end) === value) end++
      for (const extent of this.#extentsBetween(first, end)) this.#saw(extent, value, request, now)
      first = end
    }
  }

  #saw(extent: Extent, value: number, request: CheckedRequest, now: number): void {
    const seen = extent.candidates.find(candidate => candidate.value === value)
    if (seen === undefined || seen.goneAt <= request.begunAt)
      throw new Violation(
        `${this.name} sector ${extent.firstSector}: read ${request.id} returned ${say(value)}; ${tell(extent)}`,
      )
    this.#settleOrphans(extent, request, value)
    if (request.begunAt <= extent.lossAt) return
    for (const candidate of extent.candidates)
      if (candidate !== seen && candidate.open === 0 && candidate.lastAt < request.begunAt)
        candidate.goneAt = Math.min(candidate.goneAt, now)
  }

  /** A FLUSH that began at `begunAt` was answered well. */
  flushed(request: CheckedRequest): void {
    const now = this.tick()
    for (const extent of this.#extents) {
      if (extent.lossAt <= request.begunAt) continue
      // The loss came while it was under way: what it covers was durable by then, or it would have said otherwise.
      for (const candidate of extent.candidates)
        if (candidate.buriedBeforeLossAt < request.begunAt && candidate.open === 0) {
          candidate.goneAt = Math.min(candidate.goneAt, now)
          candidate.buriedAt = candidate.buriedBeforeLossAt
        }
    }
    this.#flushedAt = Math.max(this.#flushedAt, request.begunAt)
  }

  /**
   * The slice went on from a copy that may have lost unsynced writes: what was not flushed may come back as it was.
   * `holds`: whether a chunk is the slice's.
   */
  lost(holds: (chunk: number) => boolean): void {
    const now = this.tick()
    for (const extent of this.#extents) {
      if (!holds(Math.floor(extent.firstSector / chunkSectors))) continue
      extent.lossAt = now
      for (const candidate of extent.candidates)
        if (candidate.buriedAt >= this.#flushedAt) {
          candidate.buriedBeforeLossAt = Math.min(candidate.buriedBeforeLossAt, candidate.buriedAt)
          candidate.goneAt = forEver
          candidate.buriedAt = forEver
        }
    }
  }

  #extentsOf({ firstSector, sectorCount }: CheckedRequest): Extent[] {
    return this.#extentsBetween(firstSector, firstSector + sectorCount)
  }

  /** The extents that make up exactly these sectors. */
  #extentsBetween(firstSector: number, endSector: number): Extent[] {
    if (firstSector === endSector) return []
    const from = this.#cutAt(firstSector)
    let to = from
    let at = firstSector
    // Each step either takes the extent that begins at `at` or fills the gap there.
    for (; at < endSector; to++) {
      const next = this.#extents[to]
      if (next === undefined || next.firstSector > at) {
        const chunk = Math.floor(at / chunkSectors)
        this.#chunks.add(chunk)
        this.#extents.splice(
          to,
          0,
          untouched(at, Math.min(endSector, next?.firstSector ?? endSector, (chunk + 1) * chunkSectors)),
        )
      } else if (next.endSector > endSector) this.#cutAt(endSector)
      at = this.#extents[to]!.endSector
    }
    return this.#extents.slice(from, to)
  }

  /** No extent goes over `sector`; returns which is the first behind it. */
  #cutAt(sector: number): number {
    let low = 0
    for (let high = this.#extents.length; low < high; ) {
      const middle = (low + high) >> 1
      if (this.#extents[middle]!.endSector <= sector) low = middle + 1
      else high = middle
    }
    const extent = this.#extents[low]
    if (extent === undefined || extent.firstSector >= sector) return low
    const candidates = extent.candidates.map(candidate => ({ ...candidate }))
    this.#extents.splice(low, 0, { ...extent, endSector: sector, candidates, orphans: [...extent.orphans] })
    extent.firstSector = sector
    return low + 1
  }

  #close(extent: Extent, value: number, lastAt: number): Candidate {
    const candidate = candidateOf(extent, value)
    candidate.open--
    candidate.lastAt = Math.max(candidate.lastAt, lastAt)
    return candidate
  }

  /**
   * A newer process of the orphans' SDC was served at this sector, so the older one's session was over: what it had not
   * begun is never applied, what it had begun was finished before.
   */
  #settleOrphans(extent: Extent, request: CheckedRequest, seen: number | null): void {
    if (extent.orphans.length === 0) return
    extent.orphans = extent.orphans.filter(orphan => {
      if (orphan.sdc !== request.sdc || orphan.process >= request.process) return true
      const value = writtenBy(orphan)
      this.#close(extent, value, request.begunAt - (value === seen ? 0 : 0.5))
      return false
    })
  }

  /** What can neither be read nor come back. */
  #forget(extent: Extent): void {
    if (extent.candidates.length < 8) return
    let oldestRead = this.#tick
    for (const read of this.#reads) {
      oldestRead = read.begunAt
      break
    }
    extent.candidates = extent.candidates.filter(
      ({ open, goneAt, buriedAt }) => open > 0 || goneAt >= oldestRead || buriedAt >= this.#flushedAt,
    )
  }
}

const writtenBy = (request: CheckedRequest): number => (request.kind === 'write' ? request.id : 0)

const newCandidate = (value: number): Candidate => ({
  value,
  open: 0,
  lastAt: 0,
  goneAt: forEver,
  buriedAt: forEver,
  buriedBeforeLossAt: forEver,
})

/** Zeroes, and nothing has happened yet. */
const untouched = (firstSector: number, endSector: number): Extent => ({
  firstSector,
  endSector,
  candidates: [newCandidate(0)],
  orphans: [],
  lossAt: 0,
})

function candidateOf(extent: Extent, value: number): Candidate {
  for (const candidate of extent.candidates) if (candidate.value === value) return candidate
  const candidate = newCandidate(value)
  extent.candidates.push(candidate)
  return candidate
}

/** Fills sectors with the stamp of request `id`: (id, sector number), over and over. */
export function stampSectors(target: Buffer, id: number, firstSector: number): void {
  const stamp = Buffer.alloc(8)
  stamp.writeUInt32BE(id)
  for (let at = 0; at < target.length; at += sectorBytes) {
    stamp.writeUInt32BE(firstSector + at / sectorBytes, 4)
    target.fill(stamp, at, at + sectorBytes)
  }
}

const zeroes = Buffer.alloc(sectorBytes)
/** Values that no request writes. */
const torn = -1
const misplaced = -2

function stampAt(bytes: Buffer, at: number, sector: number): number {
  const id = bytes.readUInt32BE(at)
  if (id === 0) return bytes.compare(zeroes, 0, sectorBytes, at, at + sectorBytes) === 0 ? 0 : torn
  if (bytes.readUInt32BE(at + 4) !== sector) return misplaced
  const end = at + sectorBytes
  return bytes.compare(bytes, at, end - 8, at + 8, end) === 0 ? id : torn
}

function say(value: number): string {
  if (value === torn) return 'a torn sector'
  return value === misplaced ? "another sector's bytes" : value === 0 ? 'zeroes' : `write ${value}`
}

function tell({ candidates, lossAt }: Extent): string {
  const list = candidates.map(({ value, open, lastAt, goneAt, buriedAt }) => {
    const until = goneAt === forEver ? '' : ` gone ${goneAt}`
    return `${say(value)} [last ${open > 0 ? 'open' : lastAt}${until}${buriedAt === forEver ? '' : ` buried ${buriedAt}`}]`
  })
  return `it may hold ${list.join(', ')}${lossAt > 0 ? `, loss ${lossAt}` : ''}`
}
