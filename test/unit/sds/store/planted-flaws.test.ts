import t from 'tap'
import { type StoreFlaw, storeFlaws } from '../../../../src/sds/store/index.js'
import { playSeed } from './play.js'

/** Each is found by far fewer; a test that needs so many has become blind. */
const seedsMax = 100

const flaws: readonly StoreFlaw[] = ['markSkipped', 'markVisible', 'removeUnmarked', 'unmarkTouched']

for (const flaw of flaws)
  t.test(`planted: ${flaw} is found by the random crashes`, async t => {
    storeFlaws.add(flaw)
    t.teardown(() => storeFlaws.delete(flaw))
    let wrong: string | null = null
    let seed = 0
    while (wrong === null && seed < seedsMax) wrong = (await playSeed(++seed)).wrong
    t.match(wrong, /mark/, `found with seed ${seed}: ${wrong}`)
  })
