import type { Clock, Log, Timer } from '../../ports/index.js'
import type { BlockBackend, ExportTable } from './backend.js'
import type { Features } from './check-request.js'
import { Handshake } from './handshake.js'
import { closeTimeoutMs, handshakeTimeoutMs, lingerTimeoutMs, optionRepliesBytesMax } from './limits.js'
import type { NbdStream } from './stream.js'
import { Transmission } from './transmission.js'

export interface ServeOptions {
  clock: Clock
  log: Log
  /** Called once when the stream is closed and the backend has let go of its last request. */
  onClosed?(): void
}

/** One client being served. */
export interface NbdConnection {
  /** The export, once chosen. */
  readonly backend: BlockBackend | null
  readonly requestsInFlight: number
  /** Resolves when the stream is closed and the backend has let go of its last request. */
  readonly closed: Promise<void>
  /**
   * Takes no more requests, answers what is in flight, closes. Resolves when the stream is closed, in bounded time: what
   * the backend has not answered by then is answered to nobody. May be called twice.
   */
  close(): Promise<void>
}

/** Serves a client from its greeting on: handshake, then the transmission phase for the export that it chooses. */
export function serveNbd(stream: NbdStream, exports: ExportTable, options: ServeOptions): NbdConnection {
  const server = new ServedStream(stream, options, lingerTimeoutMs)
  server.beginHandshake(exports)
  return server
}

/**
 * Serves the transmission phase alone, as the kernel speaks it on its socket pairs. The kernel never hangs up by itself,
 * so that once all is answered the stream is closed at once.
 */
export function serveTransmission(
  stream: NbdStream,
  backend: BlockBackend,
  options: ServeOptions & Partial<Features>,
): NbdConnection {
  const server = new ServedStream(stream, options, 0)
  const { structured = false, blockStatus = false } = options
  server.beginTransmission(backend, { structured, blockStatus })
  return server
}

/**
 * A stream and what is spoken on it. Its life: handshake, transmission, lingering (everything answered, our side ended,
 * the client's last bytes thrown away until it hangs up or the time is over), gone.
 */
class ServedStream implements NbdConnection {
  backend: BlockBackend | null = null
  readonly closed: Promise<void>
  readonly #streamClosed: Promise<void>
  readonly #stream: NbdStream
  readonly #options: ServeOptions
  readonly #lingerMs: number
  #handshake: Handshake | null = null
  #transmission: Transmission | null = null
  /** One deadline at a time: of the handshake, of closing, of lingering. */
  #deadline: Timer | null = null
  #lingering = false
  #gone = false
  #why = 'the client hung up'
  #resolveClosed: () => void = () => {}
  #resolveStreamClosed: () => void = () => {}

  constructor(stream: NbdStream, options: ServeOptions, lingerMs: number) {
    this.#stream = stream
    this.#lingerMs = lingerMs
    this.#options = options
    this.closed = new Promise(resolve => {
      this.#resolveClosed = resolve
    })
    this.#streamClosed = new Promise(resolve => {
      this.#resolveStreamClosed = resolve
    })
    stream.on('data', bytes => this.#onData(bytes))
    stream.on('error', error => {
      this.#why = error.message
    })
    stream.on('close', () => this.#onGone())
    stream.on('end', () => this.#onEnd())
    stream.on('drain', () => {
      this.#negotiate()
      this.#transmission?.sent()
    })
    stream.on('returned', requests => this.#transmission?.takeBack(requests))
  }

  get requestsInFlight(): number {
    return this.#transmission?.requestsInFlight ?? 0
  }

  beginHandshake(exports: ExportTable): void {
    this.#handshake = new Handshake(exports)
    this.#setDeadline(handshakeTimeoutMs, 'the handshake took too long')
    this.#negotiate()
  }

  /** `isAtStart`: nothing of the first request has come yet. */
  beginTransmission(backend: BlockBackend, features: Features, isAtStart = true): void {
    this.#handshake = null
    this.#clearDeadline()
    this.backend = backend
    this.#transmission = new Transmission(this, this.#stream, backend, features)
    if (isAtStart) this.#stream.relays?.(features.structured)
    this.#options.log.debug('nbd.opened', { export: backend.name, structured: features.structured })
  }

  async close(): Promise<void> {
    if (this.#gone || this.#lingering) return this.#streamClosed
    this.#why = 'closed here'
    this.#setDeadline(closeTimeoutMs, 'requests were still under way when the time to close was over')
    if (this.#transmission !== null) this.#transmission.end()
    else this.#linger()
    return this.#streamClosed
  }

  // ---- what the transmission phase asks for

  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  endOfTurn(flush: () => void): void {
    this.#options.clock.endOfTurn(flush)
  }

  drained(): void {
    this.#linger()
  }

  released(): void {
    this.#settleClosed()
  }

  malformed(what: string): void {
    this.#options.log.warn('nbd.malformed', { export: this.backend?.name, what })
    this.#destroy(`malformed: ${what}`)
  }

  // ---- what the stream says

  #onData(bytes: Buffer): void {
    if (this.#lingering || this.#gone) return
    if (this.#transmission !== null) this.#transmission.take(bytes)
    else {
      // What a handshake has not used yet outlives this call.
      this.#handshake?.take(Buffer.from(bytes))
      this.#negotiate()
    }
  }

  /** The client sends no more; it may still wait for its answers. */
  #onEnd(): void {
    if (this.#transmission !== null) this.#transmission.endInput()
    else this.#linger()
  }

  #onGone(): void {
    if (this.#gone) return
    this.#gone = true
    this.#handshake = null
    this.#clearDeadline()
    this.#resolveStreamClosed()
    if (this.#transmission !== null) this.#transmission.abandon()
    else this.#settleClosed()
  }

  #settleClosed(): void {
    this.#options.log.debug('nbd.closed', { export: this.backend?.name, why: this.#why })
    this.#resolveClosed()
    this.#options.onClosed?.()
  }

  // ---- the handshake

  /** Carries out options while the client takes the replies; the rest waits until it does. */
  #negotiate(): void {
    const handshake = this.#handshake
    if (handshake === null || this.#lingering || this.#gone) return
    let more = true
    while (more && this.#stream.writableLength < optionRepliesBytesMax) {
      more = handshake.step()
      for (const bytes of handshake.outbox) this.#stream.write(bytes)
      handshake.outbox.length = 0
    }
    if (handshake.outcome !== null) this.#conclude(handshake)
    else if (more) this.#stream.pause()
    else this.#stream.resume()
  }

  #conclude(handshake: Handshake): void {
    const outcome = handshake.outcome
    if (outcome?.kind === 'chosen') {
      this.beginTransmission(outcome.backend, outcome, outcome.unread.length === 0)
      if (outcome.unread.length > 0) this.#transmission?.take(outcome.unread)
    } else if (outcome?.kind === 'refused') {
      this.#options.log.warn('nbd.refused', { why: outcome.why })
      this.#why = outcome.why
      this.#linger()
    } else this.#linger()
  }

  // ---- the end

  #linger(): void {
    if (this.#lingering || this.#gone) return
    this.#lingering = true
    this.#handshake = null
    if (this.#lingerMs === 0) {
      this.#destroy(this.#why)
      return
    }
    this.#setDeadline(this.#lingerMs, this.#why)
    this.#stream.end()
    // What still comes is thrown away: closing a socket with unread bytes could take the last replies from the client.
    this.#stream.resume()
  }

  #destroy(why: string): void {
    this.#why = why
    this.#stream.destroy()
  }

  #setDeadline(delayMs: number, why: string): void {
    this.#clearDeadline()
    this.#deadline = this.#options.clock.setTimer(delayMs, () => this.#destroy(why))
  }

  #clearDeadline(): void {
    this.#deadline?.cancel()
    this.#deadline = null
  }
}
