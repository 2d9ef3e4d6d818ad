import t from 'tap'
import { cutAgainAndAgain } from './power-cut.js'

t.setTimeout(1_000_000)

t.test(
  'power cut: what was synced to a mounted file system is there again, and both copies are equal',
  { timeout: 1_000_000 },
  async t => {
    t.equal(await cutAgainAndAgain({ fileSystem: 'ext4', ioMode: 'buffered' }, 1, 1), null)
  },
)
