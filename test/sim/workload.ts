import type { BlockBackend, NbdErrno } from '../../src/sdc/nbd/index.js'
import { seededRandom } from '../support/index.js'
import type { SimCluster, SimProcess } from './cluster.js'
import type { RunPlan } from './plan.js'
import {
  type CheckedRequest,
  chunkSectors,
  type RegisterChecker,
  type RequestKind,
  sectorBytes,
  stampSectors,
  Violation,
} from './register-checker.js'
import type { Situations } from './situations.js'

/** Places in a chunk at which requests gather, so that they overlap. */
const hotSectors = [0, 8, 100, 1024, 2040]
const volumeChunks = 8192

interface Request extends CheckedRequest {
  /** What is asked for. What it promises to do may be less: `firstSector` and `sectorCount`. */
  readonly askedSector: number
  readonly askedCount: number
  readonly mayPunch: boolean
  target: Buffer | null
  done: boolean
}

/** What all clients share: request ids are unique in a run. */
export interface WorkloadContext {
  plan: RunPlan
  cluster: SimCluster
  situations: Situations
  /** The first violation ends the run. */
  fail(error: Error): void
  nextId(): number
  /** Requests of the load so far. */
  drawn: number
  acknowledged: number
  checked: number
}

/** Requests of one SDC to one volume, several at a time, each checked. */
export class Workload {
  readonly #random
  readonly #open = new Set<Request>()
  readonly #hot: number[] = []
  #isEnding = false
  #threads = 0
  /** Requests that wait for a process to be sent to. */
  #waiting: Request[] = []
  /** When the last answered and perhaps unflushed change of a slice was answered, by tick. */
  readonly #answeredAt = new Map<number, number>()
  #flushedAt = 0
  /** A loss that the next FLUSH has to tell, since this moment; 0: none. */
  #lossAt = 0
  #hasLost = false
  #isRetrying = false
  #sliceOffset: number | null = null

  constructor(
    readonly context: WorkloadContext,
    readonly sdc: string,
    readonly volume: string,
    readonly checker: RegisterChecker,
  ) {
    const { plan } = context
    const volumeNumber = Number(volume.slice(3))
    this.#random = seededRandom(plan.seed * 64 + volumeNumber * 8 + Number(sdc.slice(4)))
    // The same chunks for every SDC of a volume.
    const random = seededRandom(plan.seed * 8 + volumeNumber)
    for (let i = 0; i < plan.hotChunks; i++) this.#hot.push(i === 0 ? 0 : random.integer(volumeChunks - 1))
    this.#hot.push(this.#hot[0]! + 1)
  }

  get openNow(): number {
    return this.#open.size
  }
  get chunks(): ReadonlySet<number> {
    return this.checker.chunks
  }

  start(): void {
    for (let i = 0; i < this.context.plan.depth; i++) {
      this.#threads++
      this.#later(() => this.#next())
    }
  }

  /** No more requests; what is open is answered, if everything is as it should be. */
  end(): void {
    this.#isEnding = true
  }

  onDown(process: SimProcess): void {
    if (process.name !== this.sdc) return
    if (this.#open.size > 0) this.context.situations.reached('SDC killed with requests under way')
    // A flush that nobody answers may have covered some slices.
    if ([...this.#open].some(({ kind }) => kind === 'flush')) this.#flushedAt = this.checker.tick()
    for (const request of [...this.#open]) {
      if (this.#waiting.includes(request)) continue
      // The kernel that would send again has gone with its host.
      if (this.context.plan.resends && process.lastEnd !== 'power') this.#waiting.push(request)
      else this.#abandon(request)
    }
  }

  onUp(process: SimProcess): void {
    if (process.name !== this.sdc) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const request of waiting) {
      if (request.process > 0) this.context.situations.reached('request sent again to a new SDC process')
      this.#send(request)
    }
  }

  /** The MDM let a slice go on from a copy that may have lost unsynced writes. */
  lost(slice: number): void {
    this.#hasLost = true
    const answeredAt = this.#answeredAt.get(slice) ?? 0
    // A flush under way may have covered the slice already.
    const isFlushing = [...this.#open].some(({ kind }) => kind === 'flush')
    if (answeredAt > this.#flushedAt && !isFlushing) this.#lossAt = this.checker.tick()
  }

  /** The last FLUSH tells a loss that none has told yet. Reads everything that was ever touched. */
  flushAndReadAll(): void {
    this.#begin(this.#make('flush', 0, 0))
    for (const chunk of this.chunks) {
      const request = this.#make('read', chunk * chunkSectors, chunkSectors)
      this.#begin(request)
    }
  }

  // ----

  #later(act: () => void): void {
    const { thinkMs } = this.context.plan
    this.context.cluster.clock.setTimer((this.#random.integer(1000) / 500) * thinkMs, act)
  }

  #next(): void {
    if (this.#isEnding || this.context.drawn++ > this.context.plan.requestsMax) {
      this.#threads--
      return
    }
    this.#begin(this.#draw())
  }

  #draw(): Request {
    const { kind, isFua } = this.#drawKind()
    if (kind === 'flush') return this.#make(kind, 0, 0)
    const random = this.#random
    const chunk = this.#hot[random.integer(this.#hot.length)]!
    const dice = random.integer(100)
    const { wholePercent, wholeTrims } = this.context.plan
    if (random.integer(100) < wholePercent || (wholeTrims && (kind === 'trim' || kind === 'zero')))
      return this.#make(kind, chunk * chunkSectors, chunkSectors, isFua)
    const first = chunk * chunkSectors + hotSectors[random.integer(hotSectors.length)]! + random.integer(12)
    const max = dice < 80 ? 16 : dice < 97 ? 100 : 1500
    return this.#make(kind, first, 1 + random.integer(max), isFua)
  }

  #drawKind(): { kind: RequestKind; isFua: boolean } {
    const dice = this.#random.integer(100)
    const isFua = this.#random.integer(12) === 0
    const isReader = this.context.plan.hasReader && this.sdc === 'sdc-1'
    if (dice < (isReader ? 100 : 35)) return { kind: 'read', isFua: false }
    if (dice < 80) return { kind: 'write', isFua }
    if (dice < 86) return { kind: 'trim', isFua }
    if (dice < 92) return { kind: 'zero', isFua }
    return { kind: 'flush', isFua: false }
  }

  #make(kind: RequestKind, firstSector: number, sectorCount: number, isFua = false): Request {
    return {
      id: this.context.nextId(),
      kind,
      sdc: this.sdc,
      process: 0,
      askedSector: firstSector,
      askedCount: sectorCount,
      ...this.#effectOf(kind, firstSector, sectorCount),
      isFua,
      begunAt: 0,
      isOrphan: false,
      mayPunch: this.#random.integer(2) === 0,
      target: null,
      done: false,
    }
  }

  /** Without zero padding a trim leaves the parts of chunks as they are. */
  #effectOf(kind: RequestKind, first: number, count: number): { firstSector: number; sectorCount: number } {
    if (kind !== 'trim' || this.context.plan.zeroPadding) return { firstSector: first, sectorCount: count }
    const from = Math.ceil(first / chunkSectors) * chunkSectors
    const to = Math.floor((first + count) / chunkSectors) * chunkSectors
    return { firstSector: from, sectorCount: Math.max(0, to - from) }
  }

  /** The volume has so many chunks now: some requests go to the new ones, and may reach into the one behind. */
  grown(chunks: number): void {
    this.#hot.push(chunks - 2 - this.#random.integer(50))
  }

  #begin(request: Request): void {
    this.#open.add(request)
    this.checker.begin(request)
    this.#send(request)
  }

  #send(request: Request): void {
    const process = this.context.cluster.process(this.sdc)
    const backend = process.state === 'up' ? this.context.cluster.exportOf(this.sdc, this.volume) : undefined
    if (backend === undefined || backend.sizeBytes < (request.askedSector + request.askedCount) * sectorBytes) {
      this.#waiting.push(request)
      if (process.state === 'up') this.#retryWaiting()
      return
    }
    request.process = process.generation
    const { generation } = process
    this.#detail(request, 'begins')
    // A process is entered as by a socket: it may be stalled, or gone by then.
    process.ports!.clock.deliver(() => {
      this.#call(backend, request, errno => {
        if (process.generation === generation && process.state !== 'down') this.#answered(request, errno)
      })
    })
  }

  /** The process is there, and its export not yet. */
  #retryWaiting(): void {
    if (this.#isRetrying) return
    this.#isRetrying = true
    this.context.cluster.clock.setTimer(20, () => {
      this.#isRetrying = false
      const process = this.context.cluster.process(this.sdc)
      if (process.state === 'up') this.onUp(process)
    })
  }

  #call(backend: BlockBackend, request: Request, done: (errno: NbdErrno | null) => void): void {
    const { kind, isFua, mayPunch } = request
    const offsetBytes = request.askedSector * sectorBytes
    const lengthBytes = request.askedCount * sectorBytes
    if (kind === 'read') {
      request.target = Buffer.alloc(lengthBytes, 0xee)
      backend.read(offsetBytes, request.target, done)
    } else if (kind === 'write') {
      const bytes = Buffer.allocUnsafe(lengthBytes)
      stampSectors(bytes, request.id, request.askedSector)
      const cut = lengthBytes > 1024 ? 700 : lengthBytes
      backend.write(offsetBytes, [bytes.subarray(0, cut), bytes.subarray(cut)], isFua, done)
    } else if (kind === 'trim') backend.trim(offsetBytes, lengthBytes, isFua, done)
    else if (kind === 'zero') backend.zero(offsetBytes, lengthBytes, mayPunch, isFua, done)
    else backend.flush(done)
  }

  #answered(request: Request, errno: NbdErrno | null): void {
    if (request.done) {
      this.context.fail(new Violation(`request ${request.id} was answered twice`))
      return
    }
    this.#detail(request, errno ?? 'done')
    try {
      this.#check(request, errno)
    } catch (error) {
      this.context.fail(error as Error)
    }
    this.#end(request)
  }

  #check(request: Request, errno: NbdErrno | null): void {
    const { checker, context } = this
    if (errno !== null) {
      this.#checkErrno(request, errno)
      checker.failed(request)
      if (request.kind === 'flush') this.#flushEnded()
    } else if (request.kind === 'read') {
      checker.read(request, request.target!)
      context.checked++
    } else if (request.kind === 'flush') {
      if (this.#lossAt > 0 && this.#lossAt < request.begunAt)
        throw new Violation(`${this.volume}: FLUSH ${request.id} of ${this.sdc} hides that unflushed writes were lost`)
      checker.flushed(request)
      this.#flushEnded()
    } else {
      checker.wrote(request)
      context.acknowledged++
      if (!request.isFua) this.#noteUnflushed(request)
    }
  }

  /** What was answered while it ran may have been covered as well, and some slices of one that failed. */
  #flushEnded(): void {
    this.#flushedAt = this.checker.tick()
    this.#lossAt = 0
  }

  /** Of a request in two chunks one part may have been done, and flushed, long before the answer. */
  #noteUnflushed({ firstSector, sectorCount }: Request): void {
    const chunk = Math.floor(firstSector / chunkSectors)
    const slice = this.sliceOf(chunk)
    if (slice === null || sectorCount === 0 || Math.floor((firstSector + sectorCount - 1) / chunkSectors) !== chunk)
      return
    this.#answeredAt.set(slice, this.checker.tick())
  }

  sliceOf(chunk: number): number | null {
    for (const volume of this.context.cluster.map?.tables.volumes.values() ?? [])
      if (volume.name === this.volume) this.#sliceOffset = volume.sliceOffset
    return this.#sliceOffset === null ? null : (this.#sliceOffset + chunk) % this.context.plan.sliceCount
  }

  /** Errors that these runs give a reason for. */
  #checkErrno(request: Request, errno: NbdErrno): void {
    const { situations, plan } = this.context
    const isChange = request.kind !== 'read' && request.kind !== 'flush'
    if (errno === 'ENOSPC' && isChange) {
      situations.reached('ENOSPC')
      if (plan.sparePercent === 98) return
    }
    if (request.kind === 'flush' && errno === 'EIO' && this.#hasLost) {
      situations.reached('FLUSH reported a loss')
      return
    }
    if (errno === 'ESHUTDOWN' && this.context.cluster.process(this.sdc).state === 'stopping') return
    throw new Violation(`${request.kind} ${request.id} failed with ${errno}, and nothing explains it`)
  }

  #abandon(request: Request): void {
    this.#detail(request, 'abandoned')
    this.checker.abandoned(request)
    this.#end(request)
  }

  #end(request: Request): void {
    request.done = true
    request.target = null
    this.#open.delete(request)
    if (this.#threads > 0) this.#later(() => this.#next())
  }

  #detail({ id, kind, askedSector, askedCount, isFua }: Request, what: string): void {
    const range = kind === 'flush' ? '' : ` ${askedSector}+${askedCount}${isFua ? ' fua' : ''}`
    this.context.cluster.transcript.detail(`${this.sdc}  ${this.volume} ${kind} ${id}${range} ${what}`)
  }

  /** For people: what is still open. */
  openList(): string {
    return [...this.#open].map(({ id, kind, askedSector }) => `${kind} ${id} at ${askedSector}`).join(', ')
  }
}
