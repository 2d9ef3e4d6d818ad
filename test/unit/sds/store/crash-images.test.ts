import t from 'tap'
import { plantMutation } from '../../../../src/base/mutation.js'
import { KiB, MiB } from '../../../../src/base/units.js'
import type { MetaWrite } from '../../../../src/ports/index.js'
import type { DeviceStore, StoreError } from '../../../../src/sds/store/index.js'
import { seededRandom } from '../../../support/index.js'
import { ChunkModel, cells, stampCell, stampOf } from './chunk-model.js'
import { type Base, type Change, hostWith, type Image, imagesOf, type Moment, Recorder } from './crash-images.js'
import { deviceId, indexDirectory, StoreHost } from './store-host.js'

/**
 * Images of each moment and way to crash: as a rule one, torn where it can be; CRASH_IMAGES=1000 takes practically all.
 */
const imagesMax = Number(process.env.CRASH_IMAGES ?? 1)
const everything = process.env.CRASH_IMAGES !== undefined
const seed = Number(process.env.CRASH_SEED ?? 1)

/** So few that a slot is used again at once. */
const slots = 2
const volume = 1
/** Chunk 0 is there, synced and unmarked, when a list begins; the others are not. */
const chunks = [0, 1, 2, 3]
const options = { slots }

const operations = ['new', 'overwrite', 'partial', 'zero', 'remove', 'sync', 'markClean'] as const
type Operation = (typeof operations)[number]

/** What the store's user knows. */
type Fact =
  | { kind: 'began'; chunk: number; from: number; to: number; stamp: string }
  | { kind: 'answered'; chunk: number }
  | { kind: 'synced'; answers: number }
  /** Everything is done and synced, and the device knows. */
  | { kind: 'clean'; isDurable: boolean }

/** Carries out a list of operations, one after the other, and knows what they promise. */
class Session {
  readonly recorder
  answers = 0
  #operations = 0

  constructor(
    readonly host: StoreHost,
    readonly store: DeviceStore,
    recorder: Recorder<Fact>,
  ) {
    this.recorder = recorder
  }

  async carryOut(operation: Operation): Promise<void> {
    this.#operations++
    const fresh = chunks.find(chunk => chunk > 0 && !this.store.has(volume, chunk)) ?? 0
    const there = chunks.find(chunk => this.store.has(volume, chunk)) ?? 0
    if (operation === 'new') await this.#write(fresh, 0, 12 * KiB)
    else if (operation === 'overwrite') await this.#write(0, 0, 12 * KiB)
    else if (operation === 'partial') await this.#write(0, 768, 768 + 5 * 256)
    else if (operation === 'zero') await this.#zero(there, 2048, 8 * KiB + 256)
    else if (operation === 'remove') await this.#remove(there)
    else if (operation === 'sync') await this.#settle(done => this.store.sync(done))
    else {
      this.recorder.note({ kind: 'clean', isDurable: false })
      await this.#settle(done => this.store.markClean(done))
      this.recorder.note({ kind: 'clean', isDurable: true })
    }
  }

  async #write(chunk: number, from: number, to: number): Promise<void> {
    if (!this.store.has(volume, chunk) && !this.store.reserve(volume, chunk, 'thin', false)) return
    const stamp = `${chunk}#${this.#operations}`
    const pieces = Array.from({ length: (to - from) / 256 }, () => stampCell(stamp))
    await this.#change({ kind: 'began', chunk, from, to, stamp }, done =>
      this.store.write(volume, chunk, from, pieces, done),
    )
  }

  async #zero(chunk: number, from: number, to: number): Promise<void> {
    if (!this.store.has(volume, chunk)) return
    await this.#change({ kind: 'began', chunk, from, to, stamp: '' }, done =>
      this.store.zero(volume, chunk, from, to - from, done),
    )
  }

  async #remove(chunk: number): Promise<void> {
    if (!this.store.has(volume, chunk)) return
    await this.#change({ kind: 'began', chunk, from: 0, to: MiB, stamp: '' }, done =>
      this.store.remove(volume, chunk, done),
    )
  }

  async #change(
    fact: Fact & { kind: 'began' },
    begin: (done: (error: StoreError | null) => void) => void,
  ): Promise<void> {
    this.recorder.note(fact)
    const answered = new Promise<StoreError | null>(resolve =>
      begin(error => {
        this.answers++
        this.recorder.note({ kind: 'answered', chunk: fact.chunk })
        resolve(error)
      }),
    )
    const error = await this.host.clock.finish(answered)
    if (error !== null) throw new Error(`an operation failed: ${JSON.stringify(error)}`)
  }

  async #settle(begin: (done: (error: StoreError | null) => void) => void): Promise<void> {
    const { answers } = this
    const error = await this.host.ask(begin)
    if (error !== null) throw new Error(`a sync failed: ${JSON.stringify(error)}`)
    this.recorder.note({ kind: 'synced', answers })
  }
}

/** A device with one chunk, everything durable and cleared. `isClean`: and stopped cleanly. */
async function makeBase(isClean: boolean): Promise<{ base: Base; stamps: string[] }> {
  const host = await StoreHost.withDevice(options)
  const store = await host.open()
  const stamp = '0#0'
  await host.write(store, volume, 0, 0, Buffer.concat(Array.from({ length: 48 }, () => stampCell(stamp))))
  await host.ask(done => store.sync(done))
  await host.ask(
    done =>
      void store.unmark(
        store.idleMarks(0, 10, () => true),
        done,
      ),
  )
  await host.ask(done => (isClean ? store.markClean(done) : store.sync(done)))
  // The other slot is erased by now, or the next opening does that.
  await host.clock.runFor(1000)
  if (isClean) await host.ask(done => store.markClean(done))
  await host.close(store)
  const { file, bootId } = host
  const changes: Change[] = []
  const bytes = file.peek(0, file.sizeBytes)
  for (let at = 0; at < bytes.length; at += 4096) {
    const page = bytes.subarray(at, at + 4096)
    if (!page.equals(noPage)) changes.push({ offsetBytes: at, lengthBytes: 4096, bytes: page })
  }
  const entries: MetaWrite[] = host.metaStores
    .peek(`${indexDirectory}/${deviceId}`, [])
    .map(({ key, value }) => ({ put: key, value }))
  const stamps = cells.map(cell => stampOf(file.peek(MiB + cell, 256)))
  return { base: { sizeBytes: file.sizeBytes, changes, entries, bootId }, stamps }
}
const noPage = Buffer.alloc(4096)
const noBytes = Buffer.alloc(MiB)

/** The host of a base, with a store that is recorded from its opening on. */
async function startSession(base: Base): Promise<Session> {
  const host = await hostWith(base, { crash: 'kill', changes: [], commits: 0 }, [], options)
  const recorder = new Recorder<Fact>(host)
  recorder.start()
  return new Session(host, await host.open(), recorder)
}

/** What may be on the device after a crash, by the facts. */
function modelsOf(base: { isClean: boolean }, facts: readonly Fact[]) {
  const models = chunks.map(chunk => {
    const model = new ChunkModel(`chunk ${chunk}`)
    if (chunk === 0) {
      model.begin(0, 12 * KiB, '0#0')
      model.answer(0)
      model.synced(0)
    }
    return model
  })
  let answers = 0
  /** What the chunks hold while the device may say that it was stopped cleanly; null: it must not. */
  let clean: string[][] | null = base.isClean ? contentOf(models) : null
  let mustBeClean = base.isClean
  const changed = new Set<number>()
  for (const fact of facts)
    if (fact.kind === 'began') {
      models[fact.chunk]!.begin(fact.from, fact.to, fact.stamp)
      // It may not have begun in the store, and a change that is answered has changed something.
      mustBeClean = false
    } else if (fact.kind === 'answered') {
      models[fact.chunk]!.answer(++answers)
      changed.add(fact.chunk)
      clean = null
    } else if (fact.kind === 'synced') for (const model of models) model.synced(fact.answers)
    else {
      clean = contentOf(models)
      if (fact.isDurable) mustBeClean = true
    }
  return { models, clean, mustBeClean, changed }
}

const contentOf = (models: ChunkModel[]) => models.map(model => cells.map(cell => model.now(cell)))

/** Opens the image and looks at everything; returns what is wrong, or null. */
async function check(base: Base & { isClean: boolean }, moment: Moment<Fact>, image: Image): Promise<string | null> {
  const host = await hostWith(base, image, moment.commits, options)
  let store: DeviceStore
  try {
    store = await host.open()
  } catch (error) {
    return `it does not open: ${(error as Error).message}`
  }
  const { models, clean, mustBeClean, changed } = modelsOf(base, moment.facts)
  const { cleanStop } = store.opened
  if (mustBeClean && !cleanStop) return 'a clean stop was forgotten'
  let mapped = 0
  for (const chunk of chunks) {
    const isMapped = store.has(volume, chunk)
    if (isMapped) mapped++
    // Where nothing is mapped, nothing can be read but zeroes; one look is enough.
    const bytes = isMapped ? await host.readBytes(store, volume, chunk, 0, MiB) : noBytes
    if (!isMapped && (await host.readBytes(store, volume, chunk, 0, 256)).some(byte => byte !== 0))
      return `chunk ${chunk} is not there and reads as something`
    if (cleanStop) {
      const want = clean?.[chunk]
      if (!want) return 'it says that it was stopped cleanly, and was not'
      const at = cells.findIndex((cell, at) => stampOf(bytes.subarray(cell, cell + 256)) !== want[at])
      if (at >= 0) return `chunk ${chunk} at ${cells[at]} differs from what the clean stop left`
    }
    const wrong = models[chunk]!.recover(bytes, image.crash, 1000)
    if (wrong !== null) return wrong
    if (store.isMarked(volume, chunk)) continue
    const settled = chunk === 0 ? baseCells : noCells
    if (changed.has(chunk) || cells.some((cell, at) => models[chunk]!.now(cell) !== settled[at]))
      return `chunk ${chunk} was changed, and has no mark`
  }
  const { slotsUsed, slotsTotal, thinChunks } = store.usage()
  if (slotsUsed !== mapped || thinChunks !== mapped) return `${slotsUsed} slots are used by ${mapped} chunks`
  if (slotsTotal !== slots) return `of ${slots} slots ${slotsTotal} are left`
  return fillUp(host, store, mapped)
}

/** Every slot that is not used can be had, and holds nothing of what was there before. */
async function fillUp(host: StoreHost, store: DeviceStore, mapped: number): Promise<string | null> {
  for (let number = mapped; number < slots; number++) {
    const error = await host.write(store, volume, 100 + number, 256, stampCell('after'))
    if (error !== null) return `a free slot cannot be used: ${JSON.stringify(error)}`
    const bytes = await host.readBytes(store, volume, 100 + number, 0, MiB)
    bytes.fill(0, 256, 512)
    if (!bytes.equals(noBytes)) return "a new chunk shows another chunk's bytes"
  }
  return store.reserve(volume, 200, 'thin', false) ? 'there are more slots than there were' : null
}

const baseCells = cells.map(cell => (cell < 12 * KiB ? '0#0' : ''))
const noCells = cells.map(() => '')

function* listsUpTo(length: number): Iterable<Operation[]> {
  if (length > 0)
    for (const first of operations) {
      yield [first]
      for (const rest of listsUpTo(length - 1)) yield [first, ...rest]
    }
}

interface Seen {
  lists: number
  moments: number
  images: number
}

/** Tries every list; returns what is wrong first, or null. */
async function tryLists(lists: Iterable<Operation[]>, isClean: boolean, seen: Seen): Promise<string | null> {
  const random = seededRandom(seed)
  const { base, stamps } = await makeBase(isClean)
  if (stamps.join() !== baseCells.join()) return 'the device is not as it should be to begin with'
  for (const list of lists) {
    seen.lists++
    const session = await startSession(base)
    let from = 0
    for (const operation of list) {
      from = session.recorder.length
      await session.carryOut(operation)
    }
    // What is done in the background afterwards can be interrupted as well.
    await session.host.clock.runFor(600)
    // Crashes during the operations before are those of shorter lists.
    for (const moment of session.recorder.moments(list.length === 1 ? 0 : from)) {
      seen.moments++
      for (const image of imagesOf(moment, random, imagesMax)) {
        seen.images++
        const wrong = await check({ ...base, isClean }, moment, image)
        if (wrong !== null) return `${list.join(', ')}: ${wrong}; ${sayImage(image, moment)} (CRASH_SEED=${seed})`
      }
    }
  }
  return null
}

function sayImage({ crash, commits, changes }: Image, moment: Moment<Fact>): string {
  const where = changes.map(({ offsetBytes, lengthBytes }) => `${offsetBytes}+${lengthBytes}`).join(' ')
  return `${crash}, ${commits} of ${moment.commits.length} commits, on the disk ${where}`
}

for (const { isClean, before, length } of [
  { isClean: true, before: 'a clean stop', length: 3 },
  { isClean: false, before: 'an unclean stop', length: everything ? 3 : 2 },
])
  t.test(`after ${before}, ${length} operations and a crash at any moment every legal image recovers`, async t => {
    const seen: Seen = { lists: 0, moments: 0, images: 0 }
    t.equal(await tryLists(listsUpTo(length), isClean, seen), null)
    t.ok(seen.images > seen.lists * 4, `${seen.images} images of ${seen.moments} moments in ${seen.lists} lists`)
  })

for (const flaw of ['drop-the-write-intent-mark', 'await-a-visible-mark', 'remove-without-a-mark'] as const)
  t.test(`planted: ${flaw} is found in the images`, async t => {
    plantMutation(flaw)
    t.teardown(() => plantMutation(null))
    const wrong = await tryLists(listsUpTo(2), true, { lists: 0, moments: 0, images: 0 })
    t.match(wrong, /mark/, `${wrong}`)
  })
