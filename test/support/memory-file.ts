import type { Random } from '../../src/ports/random.js'

export const pageBytes = 4096
const sectorBytes = 512
/** A large erasure tears in pieces of this size, or a test would count sectors all day. */
const erasedPieceBytes = 1024 * 1024

interface Change {
  offsetBytes: number
  /** null: zeroes. */
  bytes: Buffer | null
  lengthBytes: number
}

/**
 * The bytes of one file: what programs see, and what would be left after a power loss. Pages are never changed but
 * replaced, so that the two share them, and what was written in whole pages is not copied at all.
 */
export class MemoryFile {
  #visible = new Map<number, Buffer>()
  #durable = new Map<number, Buffer>()
  #unsynced: Change[] = []
  /** How many changes have ever been synced: names a moment in the list of changes. */
  #synced = 0

  constructor(public sizeBytes: number) {}

  /** Names this moment for `sync`. */
  get unsyncedCount(): number {
    return this.#synced + this.#unsynced.length
  }

  /** Changes that a power loss now could take back. */
  get unsyncedNow(): number {
    return this.#unsynced.length
  }

  /** Bytes that take up room. */
  get allocatedBytes(): number {
    return this.#visible.size * pageBytes
  }

  read(offsetBytes: number, target: Buffer): void {
    forPages(offsetBytes, target.length, (page, inPage, at, length) => {
      const bytes = this.#visible.get(page)
      if (bytes === undefined) target.fill(0, at, at + length)
      else bytes.copy(target, at, inPage, inPage + length)
    })
  }

  /** Read for checkers, without a disk. */
  peek(offsetBytes: number, lengthBytes: number): Buffer {
    const target = Buffer.allocUnsafe(lengthBytes)
    this.read(offsetBytes, target)
    return target
  }

  /** The page that begins there, of `pageBytes`; undefined: a hole. It does not change. */
  pageAt(offsetBytes: number): Buffer | undefined {
    return this.#visible.get(offsetBytes / pageBytes)
  }

  /** The bytes are the file's from now on. */
  write(offsetBytes: number, bytes: Buffer): void {
    this.#change({ offsetBytes, bytes, lengthBytes: bytes.length })
  }

  erase(offsetBytes: number, lengthBytes: number): void {
    this.#change({ offsetBytes, bytes: null, lengthBytes })
  }

  /** What was changed before `unsyncedCount` was `moment` is durable. */
  sync(moment: number): void {
    const covered = this.#unsynced.splice(0, Math.max(0, moment - this.#synced))
    this.#synced += covered.length
    for (const change of covered) put(this.#durable, change)
  }

  /** A change that its process did not live to see finished: any of its sectors are there. */
  tear(offsetBytes: number, bytes: Buffer | null, lengthBytes: number, random: Random): void {
    const fate = random.integer(3)
    if (fate === 0) return
    const change = { offsetBytes, bytes, lengthBytes }
    for (const sector of fate === 1 ? [change] : sectorsOf(change)) {
      if (fate === 1 || random.integer(2) === 0) this.#change(sector)
    }
  }

  powerLoss(random: Random): void {
    for (const change of this.#unsynced)
      for (const sector of sectorsOf(change)) if (random.integer(2) === 0) put(this.#durable, sector)
    this.#synced += this.#unsynced.length
    this.#unsynced = []
    this.#visible = new Map(this.#durable)
  }

  #change(change: Change): void {
    this.#unsynced.push(change)
    put(this.#visible, change)
  }
}

function put(pages: Map<number, Buffer>, { offsetBytes, bytes, lengthBytes }: Change): void {
  const first = Math.ceil(offsetBytes / pageBytes)
  const end = Math.floor((offsetBytes + lengthBytes) / pageBytes)
  if (bytes === null && end - first > pages.size) {
    for (const page of pages.keys()) if (page >= first && page < end) pages.delete(page)
    if (first * pageBytes > offsetBytes) clear(pages, offsetBytes, first * pageBytes)
    if (end * pageBytes < offsetBytes + lengthBytes) clear(pages, end * pageBytes, offsetBytes + lengthBytes)
    return
  }
  forPages(offsetBytes, lengthBytes, (page, inPage, at, length) => {
    if (length === pageBytes) {
      if (bytes === null) pages.delete(page)
      else pages.set(page, bytes.subarray(at, at + length))
      return
    }
    const before = pages.get(page)
    if (before === undefined && bytes === null) return
    const after = before === undefined ? Buffer.alloc(pageBytes) : Buffer.from(before)
    if (bytes === null) after.fill(0, inPage, inPage + length)
    else bytes.copy(after, inPage, at, at + length)
    pages.set(page, after)
  })
}

const clear = (pages: Map<number, Buffer>, offsetBytes: number, endBytes: number): void =>
  put(pages, { offsetBytes, bytes: null, lengthBytes: endBytes - offsetBytes })

function* sectorsOf(change: Change): Iterable<Change> {
  const endBytes = change.offsetBytes + change.lengthBytes
  const pieceBytes = change.bytes === null && change.lengthBytes > erasedPieceBytes ? erasedPieceBytes : sectorBytes
  for (let from = change.offsetBytes; from < endBytes; ) {
    const to = Math.min(endBytes, (Math.floor(from / pieceBytes) + 1) * pieceBytes)
    const bytes = change.bytes?.subarray(from - change.offsetBytes, to - change.offsetBytes) ?? null
    yield { offsetBytes: from, bytes, lengthBytes: to - from }
    from = to
  }
}

function forPages(
  offsetBytes: number,
  lengthBytes: number,
  visit: (page: number, inPage: number, at: number, length: number) => void,
): void {
  for (let at = 0; at < lengthBytes; ) {
    const page = Math.floor((offsetBytes + at) / pageBytes)
    const inPage = (offsetBytes + at) % pageBytes
    const length = Math.min(pageBytes - inPage, lengthBytes - at)
    visit(page, inPage, at, length)
    at += length
  }
}
