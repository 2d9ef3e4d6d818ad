import type { BackendDone, BlockBackend, Extent, NbdErrno } from '../../src/sdc/nbd/backend.js'

export interface MemoryOptions {
  name?: string
  sizeBytes?: number
  readOnly?: boolean
  description?: string
  /** The unit of allocation: whole ones are given back by trim and zero. */
  chunkBytes?: number
}

/** What a backend was asked, for tests that look at it. */
export interface MemoryCall {
  verb: 'read' | 'write' | 'flush' | 'trim' | 'zero' | 'extents'
  offsetBytes: number
  lengthBytes: number
  fua?: boolean
  mayPunch?: boolean
}

/**
 * A volume in memory that knows which of its chunks are allocated. Completes at once, or, while `holding`, when the test
 * says so.
 */
export class MemoryBackend implements BlockBackend {
  readonly name: string
  sizeBytes: number
  readOnly: boolean
  readonly description: string
  readonly chunkBytes: number
  /** Filled while set: the last calls, in order. */
  calls: MemoryCall[] | null = null
  /** The next request fails with this. */
  failNext: NbdErrno | null = null
  /** Completions wait in `held` while true. */
  holding = false
  held: (() => void)[] = []
  readonly #chunks = new Map<number, Buffer>()

  constructor(options: MemoryOptions = {}) {
    this.name = options.name ?? 'vol1'
    this.sizeBytes = options.sizeBytes ?? 16 * 1024 * 1024
    this.readOnly = options.readOnly ?? false
    this.description = options.description ?? 'a volume in memory'
    this.chunkBytes = options.chunkBytes ?? 64 * 1024
  }

  get allocatedBytes(): number {
    return this.#chunks.size * this.chunkBytes
  }

  /** Completes what is held, oldest first or as `order` says, and holds no longer. */
  release(order: (held: (() => void)[]) => (() => void)[] = held => held): void {
    this.holding = false
    const held = order(this.held)
    this.held = []
    for (const complete of held) complete()
  }

  read(offsetBytes: number, target: Buffer, done: BackendDone): void {
    this.#note({ verb: 'read', offsetBytes, lengthBytes: target.length })
    this.#complete(done, () => {
      this.#eachChunk(offsetBytes, target.length, (index, from, to, at) => {
        const chunk = this.#chunks.get(index)
        if (chunk) chunk.copy(target, at, from, to)
        else target.fill(0, at, at + to - from)
      })
    })
  }

  write(offsetBytes: number, pieces: readonly Buffer[], fua: boolean, done: BackendDone): void {
    const lengthBytes = pieces.reduce((sum, piece) => sum + piece.length, 0)
    this.#note({ verb: 'write', offsetBytes, lengthBytes, fua })
    this.#complete(done, () => {
      let at = offsetBytes
      for (const piece of pieces) {
        this.#eachChunk(at, piece.length, (index, from, to, pieceAt) => {
          piece.copy(this.#allocate(index), from, pieceAt, pieceAt + to - from)
        })
        at += piece.length
      }
    })
  }

  flush(done: BackendDone): void {
    this.#note({ verb: 'flush', offsetBytes: 0, lengthBytes: 0 })
    this.#complete(done, () => {})
  }

  trim(offsetBytes: number, lengthBytes: number, fua: boolean, done: BackendDone): void {
    this.#note({ verb: 'trim', offsetBytes, lengthBytes, fua })
    this.#complete(done, () => this.#clear(offsetBytes, lengthBytes, true))
  }

  zero(offsetBytes: number, lengthBytes: number, mayPunch: boolean, fua: boolean, done: BackendDone): void {
    this.#note({ verb: 'zero', offsetBytes, lengthBytes, mayPunch, fua })
    this.#complete(done, () => this.#clear(offsetBytes, lengthBytes, mayPunch))
  }

  extents(offsetBytes: number, lengthBytes: number, done: (errno: NbdErrno | null, extents: Extent[]) => void): void {
    this.#note({ verb: 'extents', offsetBytes, lengthBytes })
    const extents: Extent[] = []
    this.#complete(
      errno => done(errno, extents),
      () => {
        this.#eachChunk(offsetBytes, lengthBytes, (index, from, to) => {
          const hole = !this.#chunks.has(index)
          const last = extents.at(-1)
          if (last && last.hole === hole) last.lengthBytes += to - from
          else extents.push({ lengthBytes: to - from, hole })
        })
      },
    )
  }

  /** The bytes of a range, for tests that compare. */
  peek(offsetBytes: number, lengthBytes: number): Buffer {
    const target = Buffer.alloc(lengthBytes)
    this.#eachChunk(offsetBytes, lengthBytes, (index, from, to, at) => {
      this.#chunks.get(index)?.copy(target, at, from, to)
    })
    return target
  }

  #clear(offsetBytes: number, lengthBytes: number, mayPunch: boolean): void {
    this.#eachChunk(offsetBytes, lengthBytes, (index, from, to) => {
      if (mayPunch && to - from === this.chunkBytes) this.#chunks.delete(index)
      else if (mayPunch) this.#chunks.get(index)?.fill(0, from, to)
      else this.#allocate(index).fill(0, from, to)
    })
  }

  #allocate(index: number): Buffer {
    let chunk = this.#chunks.get(index)
    if (chunk === undefined) {
      chunk = Buffer.alloc(this.chunkBytes)
      this.#chunks.set(index, chunk)
    }
    return chunk
  }

  /** Calls `visit` with each chunk, the range inside it, and how far from the start of the whole range that is. */
  #eachChunk(
    offsetBytes: number,
    lengthBytes: number,
    visit: (index: number, from: number, to: number, at: number) => void,
  ): void {
    const end = offsetBytes + lengthBytes
    for (let at = offsetBytes; at < end; ) {
      const index = Math.floor(at / this.chunkBytes)
      const start = index * this.chunkBytes
      const to = Math.min(end, start + this.chunkBytes)
      visit(index, at - start, to - start, at - offsetBytes)
      at = to
    }
  }

  #note(call: MemoryCall): void {
    if (call.offsetBytes % 512 !== 0 || call.lengthBytes % 512 !== 0)
      throw new Error(`the engine passed an unaligned ${call.verb}`)
    if (call.offsetBytes + call.lengthBytes > this.sizeBytes)
      throw new Error(`the engine passed a ${call.verb} beyond the end`)
    this.calls?.push(call)
  }

  #complete(done: BackendDone, apply: () => void): void {
    const errno = this.failNext
    this.failNext = null
    if (errno === null && !this.holding) {
      apply()
      done(null)
      return
    }
    const complete = () => {
      if (errno === null) apply()
      done(errno)
    }
    if (this.holding) this.held.push(complete)
    else complete()
  }
}

/** The exports of a server, from a list. */
export const exportsOf = (...backends: BlockBackend[]) => ({
  list: () => backends,
  find: (name: string) => backends.find(backend => backend.name === name),
})
