import { readdirSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

// Some minutes alone; in User-Mode-Linux beside other work, several times that.
t.setTimeout(3_000_000)

// Each case runs in a kernel that has the nbd module (see in-kernel); what it reports appears here as a subtest.
const inKernel = fileURLToPath(new URL('../../../test/kernel/in-kernel', import.meta.url))
const caseDir = fileURLToPath(new URL('.', import.meta.url))

for (const file of readdirSync(caseDir).filter(name => name.endsWith('.case.js')))
  await t.spawn(inKernel, [caseDir + file], { timeout: 1_000_000 }, basename(file, '.case.js'))
