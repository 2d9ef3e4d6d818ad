import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { cutAgainAndAgain } from './power-cut.js'

// Ten minutes alone in User-Mode-Linux; beside other work, more. Two guests at once would take several times that.
t.setTimeout(3_000_000)

// Each case runs in a kernel that has the nbd module (see in-kernel); what it reports appears here as a subtest.
const inKernel = fileURLToPath(new URL('../../../test/kernel/in-kernel', import.meta.url))
const caseDir = fileURLToPath(new URL('.', import.meta.url))

for (const file of readdirSync(caseDir).filter(name => name.endsWith('.case.js')))
  await t.spawn(inKernel, [caseDir + file], { timeout: 1_800_000 }, basename(file, '.case.js'))

await t.test(
  'power cut: what was synced to a mounted file system is there again, and both copies are equal',
  { timeout: 1_000_000 },
  async t => {
    t.equal(await cutAgainAndAgain({ fileSystem: 'ext4', ioMode: 'buffered' }, 1, 1), null)
  },
)
