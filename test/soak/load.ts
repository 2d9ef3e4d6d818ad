import { chunkBytes, volumeStepBytes } from '../../src/base/units.js'
import type { Random } from '../../src/ports/random.js'
import {
  type CheckedRequest,
  chunkSectors,
  RegisterChecker,
  sectorBytes,
  stampSectors,
  Violation,
} from '../sim/register-checker.js'
import { NbdClient, type NbdCommand } from './nbd-client.js'

const volumeChunks = volumeStepBytes / chunkBytes
/** Places in a chunk at which requests gather, so that they overlap. */
const hotSectors = [0, 5, 8, 100, 1024, 2040]
const errnoShutdown = 108
const reconnectPauseMs = 50

export interface LoadOptions {
  volume: string
  socketPath: string
  random: Random
  connections: number
  /** Requests under way on each connection. */
  depth: number
  /** Pause between an answer and the next request, on average. */
  thinkMs: number
  hotChunks: number
  /** Which process of the SDC is the one that answers now; it goes up before a new one is started. */
  generation(): number
  /**
   * True if that process of the SDC may close connections and refuse new ones, as it is being ended or started, or has
   * ended: what it did last may be heard of when the next one runs already.
   */
  mayLoseSdc(generation: number): boolean
  /** The first violation ends the run. */
  fail(error: Error): void
  /** A request has waited long for its answer. */
  waited?(begunAtMs: number, endedAtMs: number): void
  note?(sentence: string): void
}

interface Request extends CheckedRequest {
  readonly command: NbdCommand
  readonly isNoHole: boolean
  beganAtMs: number
}

export interface LoadCounts {
  answered: number
  /** Reads that were compared with the checker. */
  checked: number
  abandoned: number
  connectionsLost: number
  pauseMsMax: number
}

/** Waits shorter than this are nobody's fault. */
const longWaitMs = 500

/** Stamped requests to one volume through the NBD door, several connections, every answer checked. */
export class Load {
  readonly checker: RegisterChecker
  readonly counts: LoadCounts = { answered: 0, checked: 0, abandoned: 0, connectionsLost: 0, pauseMsMax: 0 }
  readonly #hot: number[] = []
  readonly #open = new Set<Request>()
  readonly #connections: LoadConnection[]
  #nextId = 1
  #isEnding = false

  constructor(readonly options: LoadOptions) {
    const { random, volume, hotChunks, connections } = options
    this.checker = new RegisterChecker(volume)
    // Pairs of neighbours, so that requests cross the boundaries of chunks.
    while (this.#hot.length < hotChunks) {
      const chunk = random.integer(volumeChunks - 1)
      this.#hot.push(chunk, chunk + 1)
    }
    this.#connections = Array.from({ length: connections }, () => new LoadConnection(this))
  }

  get openNow(): number {
    return this.#open.size
  }
  get isEnding(): boolean {
    return this.#isEnding
  }

  start(): void {
    for (const connection of this.#connections) connection.start()
  }

  /** No more requests but what is under way; resolves once all of it is answered. */
  async end(withinMs: number): Promise<void> {
    this.#isEnding = true
    await this.answered(withinMs)
  }

  /** Everything that is open now is answered in time, or it is a violation. */
  async answered(withinMs: number): Promise<void> {
    const open = [...this.#open]
    const endMs = performance.now() + withinMs
    while (open.some(request => this.#open.has(request))) {
      if (performance.now() > endMs) {
        const left = open.filter(request => this.#open.has(request))
        throw new Violation(`${this.options.volume}: still not answered: ${left.map(say).join(', ')}`)
      }
      await sleep(20)
    }
  }

  /** Reads everything that was ever touched, and compares it. */
  async readAll(withinMs: number): Promise<void> {
    const endMs = performance.now() + withinMs
    const queue = [...this.checker.chunks].sort((a, b) => a - b)
    await Promise.all(
      this.#connections.map(async connection => {
        for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
          while (!connection.isReady) {
            if (performance.now() > endMs) throw new Violation(`${this.options.volume}: the SDC does not come back`)
            await sleep(20)
          }
          const request = this.#make('read', chunk * chunkSectors, chunkSectors)
          connection.begin(request)
          while (this.#open.has(request)) {
            if (performance.now() > endMs) throw new Violation(`${this.options.volume}: not answered: ${say(request)}`)
            await sleep(2)
          }
        }
      }),
    )
  }

  close(): void {
    this.#isEnding = true
    for (const connection of this.#connections) connection.close()
  }

  // ---- for the connections

  draw(): Request {
    const { random } = this.options
    const { kind, isFua } = this.#drawKind()
    if (kind === 'flush') return this.#make(kind, 0, 0)
    const chunk = this.#hot[random.integer(this.#hot.length)]!
    const dice = random.integer(100)
    if (dice < 5) return this.#make(kind, chunk * chunkSectors, chunkSectors, isFua)
    if (dice < 7 && chunk + 1 < volumeChunks) return this.#make(kind, chunk * chunkSectors, 2 * chunkSectors, isFua)
    const first = chunk * chunkSectors + hotSectors[random.integer(hotSectors.length)]! + random.integer(12)
    const countMax = dice < 80 ? 16 : dice < 96 ? 128 : 1500
    const count = Math.min(1 + random.integer(countMax), volumeChunks * chunkSectors - first)
    return this.#make(kind, first, count, isFua)
  }

  begun(request: Request, generation: number): void {
    request.process = generation
    request.beganAtMs = performance.now()
    this.#open.add(request)
    this.checker.begin(request)
  }

  ended(request: Request, errno: number | null, bytes: Buffer): void {
    const { fail, mayLoseSdc } = this.options
    this.#measure(request)
    this.#open.delete(request)
    const { checker, counts } = this
    try {
      if (errno === errnoShutdown && mayLoseSdc(request.process)) this.abandon(request)
      else if (errno !== null) {
        checker.failed(request)
        throw new Violation(`${this.options.volume}: ${say(request)} failed with errno ${errno}`)
      } else if (request.kind === 'read') {
        checker.read(request, bytes)
        counts.checked++
      } else if (request.kind === 'flush') checker.flushed(request)
      else checker.wrote(request)
      counts.answered++
    } catch (error) {
      fail(error as Error)
    }
  }

  /** Its SDC is gone: it may have taken effect or not, and may still. */
  abandon(request: Request): void {
    this.#open.delete(request)
    this.counts.abandoned++
    this.checker.abandoned(request)
  }

  // ----

  #measure({ beganAtMs }: Request): void {
    const nowMs = performance.now()
    this.counts.pauseMsMax = Math.max(this.counts.pauseMsMax, nowMs - beganAtMs)
    if (nowMs - beganAtMs >= longWaitMs) this.options.waited?.(beganAtMs, nowMs)
  }

  #drawKind(): { kind: NbdCommand; isFua: boolean } {
    const { random } = this.options
    const dice = random.integer(100)
    const isFua = random.integer(12) === 0
    if (dice < 35) return { kind: 'read', isFua: false }
    if (dice < 82) return { kind: 'write', isFua }
    if (dice < 88) return { kind: 'trim', isFua }
    if (dice < 94) return { kind: 'zero', isFua }
    return { kind: 'flush', isFua: false }
  }

  #make(kind: NbdCommand, firstSector: number, sectorCount: number, isFua = false): Request {
    return {
      id: this.#nextId++,
      kind,
      command: kind,
      sdc: 'sdc-1',
      process: 0,
      firstSector,
      sectorCount,
      isFua,
      isNoHole: this.options.random.integer(2) === 0,
      begunAt: 0,
      isOrphan: false,
      beganAtMs: 0,
    }
  }
}

/** One connection that comes back after its SDC was away, and keeps `depth` requests under way. */
class LoadConnection {
  #client: NbdClient | null = null
  /** The SDC's process at the other end, or an older one. */
  #generation = 0
  readonly #sent = new Set<Request>()
  #isClosed = false

  constructor(readonly load: Load) {}

  get isReady(): boolean {
    return this.#client !== null && !this.#client.isLost
  }

  start(): void {
    void this.#connect()
  }

  close(): void {
    this.#isClosed = true
    this.#client?.close()
  }

  begin(request: Request): void {
    const client = this.#client!
    this.load.begun(request, this.#generation)
    this.#sent.add(request)
    const offsetBytes = request.firstSector * sectorBytes
    const lengthBytes = request.sectorCount * sectorBytes
    const { command, isFua } = request
    const isNoHole = command === 'zero' && request.isNoHole
    if (command === 'write') {
      const bytes = Buffer.allocUnsafe(lengthBytes)
      stampSectors(bytes, request.id, request.firstSector)
      client.send({ command, offsetBytes, lengthBytes, isFua, bytes }, errno => this.#answered(request, errno, bytes))
    } else
      client.send({ command, offsetBytes, lengthBytes, isFua, isNoHole }, (errno, bytes) =>
        this.#answered(request, errno, bytes),
      )
  }

  #answered(request: Request, errno: number | null, bytes: Buffer): void {
    this.#sent.delete(request)
    this.load.ended(request, errno, bytes)
    this.#later()
  }

  #later(): void {
    const { thinkMs, random } = this.load.options
    const client = this.#client
    setTimeout(
      () => {
        if (client === this.#client && this.isReady && !this.load.isEnding) this.begin(this.load.draw())
      },
      (random.integer(1000) / 500) * thinkMs,
    )
  }

  async #connect(): Promise<void> {
    const { options } = this.load
    while (!this.#isClosed) {
      try {
        this.#generation = options.generation()
        this.#client = await NbdClient.connect(options.socketPath, options.volume, reason => this.#lost(reason))
        if (!this.load.isEnding) for (let i = 0; i < options.depth; i++) this.#later()
        return
      } catch (error) {
        if (!options.mayLoseSdc(this.#generation))
          options.note?.(`${options.volume}: cannot connect: ${(error as Error).message}`)
        await sleep(reconnectPauseMs)
      }
    }
  }

  #lost(reason: string): void {
    const { options } = this.load
    if (!options.mayLoseSdc(this.#generation))
      options.fail(new Violation(`${options.volume}: a living SDC dropped a connection: ${reason}`))
    this.load.counts.connectionsLost++
    for (const request of this.#sent) this.load.abandon(request)
    this.#sent.clear()
    this.#client = null
    void this.#connect()
  }
}

const say = ({ id, kind, firstSector, sectorCount, beganAtMs }: Request): string =>
  `${kind} ${id} at sector ${firstSector}+${sectorCount}, ${Math.round(performance.now() - beganAtMs)} ms ago`

const sleep = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
