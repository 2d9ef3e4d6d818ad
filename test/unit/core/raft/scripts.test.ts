import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { Group } from './group.js'
import { formatScript, parseScript } from './script.js'

/** REWRITE=1 node dist/test/unit/core/raft/scripts.test.js: writes into the scripts what they print now. */
const isRewriting = process.env.REWRITE === '1'
const folder = join(resolve(dirname(fileURLToPath(import.meta.url)), '../../../../..'), 'test/unit/core/raft/scripts')

for (const file of readdirSync(folder).sort())
  t.test(`script ${file}: everything is printed that is expected`, async t => {
    const path = join(folder, file)
    const steps = parseScript(readFileSync(path, 'utf8'))
    const group = new Group()
    for (const step of steps) {
      const printed = step.commands.flatMap(command => group.run(command))
      if (isRewriting) step.expected = printed
      else t.same(printed, step.expected, step.commands.join('; '))
    }
    if (isRewriting) writeFileSync(path, formatScript(steps))
  })
