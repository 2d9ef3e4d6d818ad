import { MiB } from '../../../../src/base/units.js'
import type { DeviceStore, StoreError } from '../../../../src/sds/store/index.js'
import { seededRandom } from '../../../support/index.js'
import { ChunkModel, cellBytes, cells, stampCell, stampOf, windows } from './chunk-model.js'
import { MarkModel } from './mark-model.js'
import { StoreHost } from './store-host.js'

const slots = 5
const chunkNames = [1, 2].flatMap(volume => [0, 1, 1023, 1024].map(chunk => ({ volume, chunk })))

/** Does random things to a store, several at once, and crashes it. */
class Play {
  readonly random
  readonly models = chunkNames.map(({ volume, chunk }) => new ChunkModel(`${volume}/${chunk}`))
  readonly marks = chunkNames.map(({ volume, chunk }) => new MarkModel(`${volume}/${chunk}`))
  readonly busy = new Set<number>()
  wrong: string | null = null
  answers = 0
  operations = 0
  under = 0
  seen = { full: 0, kills: 0, powerLosses: 0, cleanStops: 0, syncs: 0, drops: 0, cleared: 0, touchedAgain: 0 }

  constructor(
    readonly host: StoreHost,
    public store: DeviceStore,
    seed: number,
    /** Slots change hands without a pause, and nothing but power losses comes between. */
    readonly isCrowded = false,
  ) {
    this.random = seededRandom(seed + 7_000_000)
  }

  async step(): Promise<void> {
    const dice = this.random.integer(100)
    if (this.isCrowded) {
      if (dice < 50) this.beginSomething()
      else if (dice < 95) await this.host.clock.runFor(this.random.integer(40) / 10)
      else await this.crash('power')
    } else if (dice < 58) this.beginSomething()
    else if (dice < 64) this.beginSync()
    else if (dice < 70) this.beginClearing()
    else if (dice < 93) await this.host.clock.runFor(this.random.integer(40) / 10)
    else if (dice < 95) await this.host.clock.runFor(400)
    else if (dice < 97) await this.crash('kill')
    else if (dice < 99) await this.crash('power')
    else await this.stopCleanly()
  }

  private beginSomething(): void {
    const at = this.random.integer(chunkNames.length)
    if (this.busy.has(at)) return
    const dice = this.random.integer(10)
    if (this.random.integer(40) === 0) this.beginDrop(chunkNames[at]!.volume)
    else if (dice < 5) this.beginChange(at, 'write')
    else if (dice < 6) this.beginChange(at, 'zero')
    else if (dice < 8) this.beginRemove(at)
    else this.beginRead(at)
  }

  private beginChange(at: number, verb: 'write' | 'zero'): void {
    const { volume, chunk } = chunkNames[at]!
    const store = this.store
    if (!store.has(volume, chunk) && !store.reserve(volume, chunk, 'thin', false)) {
      const { slotsUsed, slotsTotal } = store.usage()
      if (slotsUsed !== slotsTotal) this.wrong ??= `refused a chunk at ${slotsUsed} of ${slotsTotal} slots`
      this.seen.full++
      return
    }
    const model = this.models[at]!
    const window = windows[this.random.integer(windows.length)]!
    const cellCount = (window.to - window.from) / cellBytes
    const first = this.random.integer(cellCount)
    const from = window.from + first * cellBytes
    if (verb === 'write') {
      const count = 1 + this.random.integer(cellCount - first)
      const stamp = `${model.name}#${++this.operations}`
      const pieces = Array.from({ length: count }, () => stampCell(stamp))
      model.begin(from, from + count * cellBytes, stamp)
      this.begin(at, done => store.write(volume, chunk, from, pieces, done))
    } else {
      const ends = cells.filter(cell => cell >= from)
      const to = ends[this.random.integer(ends.length)]! + cellBytes
      model.begin(from, to, '')
      this.begin(at, done => store.zero(volume, chunk, from, to - from, done))
    }
  }

  private beginRemove(at: number): void {
    const { volume, chunk } = chunkNames[at]!
    this.models[at]!.begin(0, MiB, '')
    const isThere = this.store.has(volume, chunk)
    this.begin(at, done => this.store.remove(volume, chunk, done), isThere)
  }

  private beginDrop(volume: number): void {
    const all = [...chunkNames.keys()].filter(at => chunkNames[at]!.volume === volume)
    if (all.some(at => this.busy.has(at))) return
    const { store } = this
    for (const at of all) {
      this.models[at]!.begin(0, MiB, '')
      this.marks[at]!.dropped(this.answers)
      this.busy.add(at)
    }
    this.under++
    store.dropVolume(volume, error => {
      if (store !== this.store) return
      this.under--
      this.answers++
      for (const at of all) {
        this.busy.delete(at)
        this.models[at]!.answer(this.answers)
        this.marks[at]!.dropped(this.answers)
      }
      this.seen.drops++
      if (error !== null) this.wrong ??= `a drop failed: ${JSON.stringify(error)}`
    })
  }

  private begin(at: number, start: (done: (error: StoreError | null) => void) => void, isChange = true): void {
    const store = this.store
    this.busy.add(at)
    this.under++
    start(error => {
      if (store !== this.store) return
      this.busy.delete(at)
      this.under--
      this.models[at]!.answer(++this.answers)
      if (isChange) this.marks[at]!.answer(this.answers)
      this.checkMark(at)
      if (error !== null) this.wrong ??= `an operation failed: ${JSON.stringify(error)}`
    })
  }

  private beginRead(at: number): void {
    const { volume, chunk } = chunkNames[at]!
    const store = this.store
    const offset = cells[this.random.integer(cells.length)]!
    const target = Buffer.alloc(cellBytes)
    this.busy.add(at)
    this.under++
    store.read(volume, chunk, offset, target, error => {
      if (store !== this.store) return
      this.busy.delete(at)
      this.under--
      const [found, want] = [stampOf(target), this.models[at]!.now(offset)]
      if (error !== null || found !== want)
        this.wrong ??= `${this.models[at]!.name} at ${offset} reads "${found}", not "${want}"`
    })
  }

  private beginSync(): void {
    const { store, answers } = this
    this.under++
    store.sync(error => {
      if (store !== this.store) return
      this.under--
      this.seen.syncs++
      if (error !== null) this.wrong ??= `a sync failed: ${JSON.stringify(error)}`
      for (const model of this.models) model.synced(answers)
    })
  }

  /** As a primary does: what is idle, then a sync, then those that are still untouched. */
  private beginClearing(): void {
    const { store, answers } = this
    const idle = store.idleMarks(this.random.integer(3) * 5, 1 + this.random.integer(chunkNames.length), () => true)
    if (idle.length === 0) return
    const found = idle.map(mark => {
      const at = chunkNames.findIndex(({ volume, chunk }) => volume === mark.volume && chunk === mark.chunk)
      return { at, content: cells.map(cell => this.models[at]!.now(cell)) }
    })
    this.under++
    store.sync(error => {
      if (store !== this.store) return
      this.under--
      if (error !== null) this.wrong ??= `a sync failed: ${JSON.stringify(error)}`
      // A volume that was dropped meanwhile took its marks along.
      const there = found.filter(({ at }) => store.isMarked(chunkNames[at]!.volume, chunkNames[at]!.chunk))
      this.under++
      store.unmark(idle, error => {
        if (store !== this.store) return
        this.under--
        if (error !== null) this.wrong ??= `a clearing failed: ${JSON.stringify(error)}`
      })
      for (const { at, content } of there) this.noteCleared(at, answers, content)
    })
  }

  private noteCleared(at: number, answersThen: number, content: string[]): void {
    const { volume, chunk } = chunkNames[at]!
    if (this.store.isMarked(volume, chunk)) {
      this.seen.touchedAgain++
      return
    }
    this.seen.cleared++
    this.marks[at]!.cleared(answersThen, content)
    this.checkMark(at)
  }

  /** Whatever happens, a chunk that was changed since its mark was cleared is marked. */
  private checkMark(at: number): void {
    const { volume, chunk } = chunkNames[at]!
    if (this.busy.has(at)) return
    this.wrong ??= this.marks[at]!.check(this.store.isMarked(volume, chunk), cell => this.models[at]!.now(cell))
  }

  private async crash(kind: 'kill' | 'power'): Promise<void> {
    if (kind === 'kill') this.host.kill()
    else this.host.losePower()
    this.seen[kind === 'kill' ? 'kills' : 'powerLosses']++
    await this.reopen(kind)
  }

  private async stopCleanly(): Promise<void> {
    await this.host.clock.runUntil(() => this.under === 0, { what: 'nothing is under way' })
    const error = await this.host.ask(done => this.store.markClean(done))
    if (error !== null) this.wrong ??= `a clean stop failed: ${JSON.stringify(error)}`
    for (const model of this.models) model.synced(this.answers)
    // What follows a clean stop must not matter: a close, a kill or a power cut.
    if (this.random.integer(3) === 0) await this.host.close(this.store)
    this.host.losePower()
    this.seen.cleanStops++
    await this.reopen('power', true)
  }

  private async reopen(stop: 'kill' | 'power', clean = false): Promise<void> {
    let crash = stop
    this.busy.clear()
    this.under = 0
    // Sometimes opening is interrupted as well.
    while (this.random.integer(4) === 0) {
      const disk = await this.host.openDisk()
      this.host.beginOpen(disk).catch(error => {
        this.wrong ??= `an opening failed: ${error}`
      })
      await this.host.clock.runFor(this.random.integer(80) / 10)
      if (this.random.integer(2) === 0) this.host.kill()
      else {
        this.host.losePower()
        crash = 'power'
      }
    }
    this.store = await this.host.open()
    if (clean && !this.store.opened.cleanStop) this.wrong ??= 'a clean stop was forgotten'
    this.answers++
    for (const [at, { volume, chunk }] of chunkNames.entries()) {
      const bytes = await this.host.readBytes(this.store, volume, chunk, 0, MiB)
      this.wrong ??= this.models[at]!.recover(bytes, crash, this.answers)
      this.checkMark(at)
    }
    const mapped = chunkNames.filter(({ volume, chunk }) => this.store.has(volume, chunk)).length
    const { slotsUsed, thinChunks } = this.store.usage()
    if (slotsUsed !== mapped || thinChunks !== mapped) this.wrong ??= `${slotsUsed} slots used by ${mapped} chunks`
  }
}

/** Plays one seed; returns what went wrong, or null, and what happened. */
export async function playSeed(
  seed: number,
  { isCrowded = false } = {},
): Promise<{ wrong: string | null; seen: Play['seen'] }> {
  const host = await StoreHost.withDevice({ slots, seed, direct: seed % 3 !== 0 })
  const play = new Play(host, await host.open(), seed, isCrowded)
  for (let step = 0; step < 120 && play.wrong === null; step++) {
    try {
      await play.step()
    } catch (error) {
      play.wrong ??= String((error as Error).stack)
    }
  }
  return { wrong: play.wrong, seen: play.seen }
}
