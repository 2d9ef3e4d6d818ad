import t from 'tap'
import { type Mutation, plantMutation } from '../../../../src/base/mutation.js'
import { playSeed } from './play.js'

/** Each is found by far fewer; a test that needs so many has become blind. */
const seedsMax = 100

const flaws: Partial<Record<Mutation, RegExp>> = {
  'drop-the-write-intent-mark': /mark/,
  'await-a-visible-mark': /mark/,
  'remove-without-a-mark': /mark/,
  'clear-a-mark-that-was-touched': /mark/,
  'reuse-a-slot-before-its-removal-is-durable': /./,
  'trust-freed-slots-after-a-crash': /./,
}

for (const [flaw, wanted] of Object.entries(flaws))
  t.test(`planted: ${flaw} is found by the random crashes`, async t => {
    plantMutation(flaw as Mutation)
    t.teardown(() => plantMutation(null))
    let wrong: string | null = null
    let seed = 0
    const isCrowded = flaw === 'reuse-a-slot-before-its-removal-is-durable'
    while (wrong === null && seed < seedsMax) wrong = (await playSeed(++seed, { isCrowded })).wrong
    t.match(wrong ?? '', wanted, `found with seed ${seed}: ${wrong}`)
  })
