import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { seededRandom } from '../support/seeded-random.js'

export interface PowerCutOptions {
  count: number
  seed: number
  /** What becomes of the file systems that are taken in turn; default: both kinds. */
  variants?: readonly PowerCutVariant[]
}

export interface PowerCutVariant {
  fileSystem: 'ext4' | 'xfs'
  /** Buffered, a power cut takes what was not synced; direct, what was under way. */
  ioMode: 'buffered' | 'direct'
}

export const powerCutVariants: readonly PowerCutVariant[] = [
  { fileSystem: 'ext4', ioMode: 'buffered' },
  { fileSystem: 'xfs', ioMode: 'buffered' },
  { fileSystem: 'ext4', ioMode: 'direct' },
]

/** What a guest may take to boot, to heal and to check everything. */
const bootWithinMs = 420_000
/** A life begins to count when it has synced so much, or after so long. */
const syncedMin = 5
const syncWithinMs = 60_000
const guestProgram = fileURLToPath(new URL('../../../test/kernel/guest', import.meta.url))
const guestScript = fileURLToPath(new URL('./power-cut.guest.js', import.meta.url))

/** Ends a whole guest under load with SIGKILL, again and again. Returns whether nothing was lost. */
export async function runPowerCuts(options: PowerCutOptions): Promise<boolean> {
  const variants = options.variants ?? powerCutVariants
  let cutsLeft = options.count
  for (const [index, variant] of variants.entries()) {
    const cuts = Math.ceil(cutsLeft / (variants.length - index))
    cutsLeft -= cuts
    if (cuts === 0) continue
    const failure = await cutAgainAndAgain(variant, cuts, options.seed + index)
    if (failure === null) continue
    process.stdout.write(`power cuts: FAILED (seed ${options.seed}): ${failure}\n`)
    return false
  }
  process.stdout.write(`power cuts: ${options.count} survived (seed ${options.seed})\n`)
  return true
}

/** One cluster on one disk through several lives. Returns what went wrong, or null. */
export async function cutAgainAndAgain(
  { fileSystem, ioMode }: PowerCutVariant,
  cuts: number,
  seed: number,
): Promise<string | null> {
  const work = mkdtempSync(join(tmpdir(), 'blockmesh-power-'))
  const random = seededRandom(seed)
  const say = (sentence: string) => process.stdout.write(`power cuts: ${fileSystem}, ${ioMode}: ${sentence}\n`)
  let guest: Guest | null = null
  try {
    for (let life = 0; life <= cuts; life++) {
      const isLast = life === cuts
      const beganMs = performance.now()
      rmSync(join(work, 'loading'), { force: true })
      const syncedBefore = linesOf(work, 'journal')
      guest = new Guest(work, [fileSystem, ioMode, String(seed * 1000 + life), isLast ? 'verify' : 'load'])
      const wrong = isLast ? await guest.untilEnd() : await guest.untilLoading()
      const tookS = Math.round((performance.now() - beganMs) / 1000)
      if (wrong !== null) return `${wrong}\nEverything is in ${work}`
      say(`life ${life + 1}: ${isLast ? 'verified' : 'writes'} after ${tookS} s; ${readText(work, 'stdout')}`)
      if (isLast) break
      // On a busy host it may take long before anything is there that could be lost.
      const waitEndMs = performance.now() + syncWithinMs
      while (!guest.hasEnded && linesOf(work, 'journal') < syncedBefore + syncedMin && performance.now() < waitEndMs)
        await sleep(50)
      await sleep(1000 + random.integer(7000))
      if (guest.hasEnded) return `${guest.outcome()}\nEverything is in ${work}`
      await guest.cutPower()
    }
    rmSync(work, { recursive: true, force: true })
    return null
  } finally {
    await guest?.cutPower()
  }
}

/**
 * Feeds a guest: it has power until our end of the pipe is closed, also by the end of this program, however that comes.
 * The guest is more than one process, in a session of its own, and power goes for all at once.
 */
const mainsProgram = `
  setsid "$@" & guest=$!
  { read -r _; kill -KILL -- -$guest; } <&0 & switch=$!
  wait $guest 2> /dev/null
  kill $switch 2> /dev/null
`

/** One life of the guest. */
class Guest {
  readonly #child: ChildProcess
  readonly #gone: Promise<void>
  #hasEnded = false

  constructor(
    readonly work: string,
    args: readonly string[],
  ) {
    const command = [guestProgram, work, process.execPath, guestScript, work, ...args]
    this.#child = spawn('bash', ['-c', mainsProgram, 'mains', ...command], { stdio: ['pipe', 'inherit', 'inherit'] })
    this.#gone = new Promise(resolve =>
      this.#child.once('close', () => {
        this.#hasEnded = true
        resolve()
      }),
    )
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** Resolves when it writes (null), or with what went wrong. */
  async untilLoading(): Promise<string | null> {
    const endMs = performance.now() + bootWithinMs
    while (!existsSync(join(this.work, 'loading'))) {
      if (this.#hasEnded) return this.outcome()
      if (performance.now() > endMs) return `the guest is not ready after ${bootWithinMs / 1000} s: ${this.outcome()}`
      await sleep(50)
    }
    return null
  }

  async untilEnd(): Promise<string | null> {
    const isGone = await Promise.race([this.#gone.then(() => true), sleep(bootWithinMs, false, { ref: false })])
    if (!isGone) return `the guest did not end within ${bootWithinMs / 1000} s: ${this.outcome()}`
    return readText(this.work, 'exit') === '0' ? null : this.outcome()
  }

  /** For people: what its program said. */
  outcome(): string {
    const exit = readText(this.work, 'exit')
    if (exit !== '') return `the program in the guest ended with ${exit}: ${readText(this.work, 'stderr')}`
    return `${readText(this.work, 'stderr')}\n${readText(this.work, 'console').split('\n').slice(-20).join('\n')}`
  }

  async cutPower(): Promise<void> {
    if (this.#hasEnded) return
    this.#child.stdin!.end()
    await this.#gone
  }
}

const linesOf = (work: string, name: string): number => readText(work, name).split('\n').length

function readText(work: string, name: string): string {
  const path = join(work, name)
  return existsSync(path) ? readFileSync(path, 'utf8').trim() : ''
}
