import { assert } from '../../base/assert.js'
import { chunksAmong } from './sparse-chunks.js'

/** A marked chunk that nothing is changing. `touch` names its last change. */
export interface IdleMark {
  volume: number
  chunk: number
  touch: number
}

/** The touch of marks that were found when the device was opened; those of changes are higher. */
export const touchAtOpening = 1 / 1024
/** Touches differ by at least this, in milliseconds. */
const touchStep = 1 / 1024

/** Names changes by when they began, in milliseconds of the clock, ever higher, so that no two are named alike. */
export const touchAfter = (last: number, nowMs: number): number => Math.max(nowMs, last + touchStep)

const blockShift = 8
const blockChunks = 1 << blockShift

/** 256 neighbouring chunks, of which at least one is marked. */
interface Block {
  /** The last change, by chunk; 0 where there is no mark. */
  touches: Float64Array
  /** Changes under way, by chunk. */
  busy: Uint32Array
  marked: number
}

/**
 * Write-intent marks of one volume (design section 5, rule 4). Invariants: a mark that is here is durable; nothing changes
 * a chunk that is not marked; a mark does not go while its chunk is being changed.
 */
export class VolumeMarks {
  private readonly blocks = new Map<number, Block>()
  private marked = 0

  get count(): number {
    return this.marked
  }

  isMarked(chunk: number): boolean {
    const block = this.blocks.get(chunk >>> blockShift)
    return block !== undefined && block.touches[chunk & (blockChunks - 1)] !== 0
  }

  /** The chunk's mark is durable. */
  set(chunk: number, touch: number): void {
    assert(touch >= touchAtOpening, 'a touch is not 0')
    let block = this.blocks.get(chunk >>> blockShift)
    if (block === undefined) {
      block = { touches: new Float64Array(blockChunks), busy: new Uint32Array(blockChunks), marked: 0 }
      this.blocks.set(chunk >>> blockShift, block)
    }
    const at = chunk & (blockChunks - 1)
    if (block.touches[at] === 0) {
      block.marked++
      this.marked++
    }
    block.touches[at] = touch
  }

  /** The mark is no longer needed. */
  clear(chunk: number): void {
    const index = chunk >>> blockShift
    const block = this.blocks.get(index)
    const at = chunk & (blockChunks - 1)
    if (block === undefined || block.touches[at] === 0) return
    assert(block.busy[at] === 0, 'a mark stays while its chunk is being changed')
    block.touches[at] = 0
    block.marked--
    this.marked--
    if (block.marked === 0) this.blocks.delete(index)
  }

  beginChange(chunk: number, touch: number): void {
    const block = this.blocks.get(chunk >>> blockShift)
    const at = chunk & (blockChunks - 1)
    assert(block !== undefined && block.touches[at] !== 0, 'a chunk is durably marked before it is changed')
    assert(touch > block.touches[at]!, 'touches rise')
    block.touches[at] = touch
    block.busy[at]!++
  }

  endChange(chunk: number): void {
    this.blocks.get(chunk >>> blockShift)!.busy[chunk & (blockChunks - 1)]!--
  }

  /** The chunk's last change; 0 if it is not marked; null while it is being changed. */
  touchOf(chunk: number): number | null {
    const block = this.blocks.get(chunk >>> blockShift)
    if (block === undefined) return 0
    const at = chunk & (blockChunks - 1)
    return block.busy[at] === 0 ? block.touches[at]! : null
  }

  /** Marked chunks among `first, first + step, …` below `end`, ascending. */
  markedChunks(first: number, end: number, step: number): number[] {
    return chunksAmong({ blocks: this.blocks, blockChunks }, first, end, step, chunk => this.isMarked(chunk))
  }

  /** Every marked chunk. Goes on rightly when marks come and go between two of them. */
  *chunks(): Generator<number> {
    for (const [index, block] of this.blocks)
      for (let at = 0; at < blockChunks; at++) if (block.touches[at] !== 0) yield index * blockChunks + at
  }
}

/** Marks visited by one look for idle ones: a millisecond's work, however many there are. */
const visitsMax = 16_384

/** Goes round the marks of a device, on and on, looking for those whose chunks have been left alone for a while. */
export class IdleMarks {
  private round: Iterator<{ volume: number; chunk: number; touch: number | null }>

  constructor(private readonly marks: MarksByVolume) {
    this.round = everyMark(marks)
  }

  /** At most `max` marks last touched before `untilMs`, from where the last call ended. None comes twice. */
  next(untilMs: number, max: number, isWanted: (volume: number, chunk: number) => boolean): IdleMark[] {
    const found: IdleMark[] = []
    let visitsLeft = Math.min(visitsMax, this.marks.markedCount)
    let roundsBegun = 0
    while (visitsLeft > 0 && found.length < max && roundsBegun < 2) {
      const { done, value } = this.round.next()
      if (done) {
        this.round = everyMark(this.marks)
        roundsBegun++
        continue
      }
      visitsLeft--
      const { volume, chunk, touch } = value
      if (touch !== null && touch <= untilMs && isWanted(volume, chunk)) found.push({ volume, chunk, touch })
    }
    return found
  }
}

/** What the chunk table has of marks. */
export interface MarksByVolume {
  readonly markedCount: number
  /** Volumes that are not being dropped. */
  markedVolumes(): Iterable<{ volume: number; marks: VolumeMarks }>
}

function* everyMark(table: MarksByVolume) {
  for (const { volume, marks } of table.markedVolumes())
    for (const chunk of marks.chunks()) yield { volume, chunk, touch: marks.touchOf(chunk) }
}
