import type { Log, LogFields } from '../../src/ports/log.js'

/** Everything that happened in a run, and a hash of it: two runs of one seed have the same. */
export class Transcript {
  readonly lines: string[] = []
  #hash = 0x811c9dc5
  /** Keeps per-request lines, too. */
  isVerbose = false

  constructor(readonly nowMs: () => number) {}

  get hash(): string {
    return (this.#hash >>> 0).toString(16).padStart(8, '0')
  }

  say(line: string): void {
    const text = `${this.nowMs().toFixed(3).padStart(11)}  ${line}`
    this.#feed(text)
    this.lines.push(text)
  }

  /** Of a single request: kept only where somebody wants to read it. */
  detail(line: string): void {
    if (this.isVerbose) this.say(line)
    else this.#feed(`${this.nowMs()}${line}`)
  }

  #feed(text: string): void {
    let hash = this.#hash
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
    this.#hash = hash
  }
}

/** What processes log goes into the transcript, and to whoever counts events. */
export function transcriptLog(
  transcript: Transcript,
  name: string,
  onEvent: (event: string, fields: LogFields) => void,
): Log {
  const say = (level: string) => (event: string, fields?: LogFields) => {
    onEvent(event, fields ?? {})
    const known = fields === undefined ? '' : JSON.stringify(fields)
    transcript.say(`${name.padEnd(6)} ${level} ${event} ${known.length > 300 ? `${known.slice(0, 300)}…` : known}`)
  }
  const quiet = (event: string, fields?: LogFields) => {
    onEvent(event, fields ?? {})
    transcript.detail(`${name} debug ${event}`)
  }
  const log: Log = { error: say('error'), warn: say('warn'), info: say('info'), debug: quiet, child: () => log }
  return log
}
