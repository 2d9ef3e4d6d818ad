import t from 'tap'
import { commands } from '../../../src/cli/scli/commands/index.js'
import { helpOnAll, helpOnCommand, helpOnNoun } from '../../../src/cli/scli/help.js'

t.test('help: every command is listed and explains its usage in both spellings', async t => {
  const all = helpOnAll(commands)
  for (const command of commands) {
    t.ok(all.includes(`--${command.verb} `), `${command.verb} is listed`)
    t.ok(helpOnNoun(command.noun, commands).includes(`(--${command.verb})`), `${command.noun} lists ${command.action}`)
    const help = helpOnCommand(command)
    t.match(help, `scli --${command.verb}`)
    t.match(help, `scli ${command.noun} ${command.action}`)
    for (const option of Object.keys(command.options)) t.ok(help.includes(`--${option}`), `${command.verb} --${option}`)
  }
})

t.test('help: usage shows what is required, what excludes what, and what may be left out', async t => {
  const help = helpOnCommand(commands.find(command => command.verb === 'add_volume')!)
  t.match(help, '(--storage_pool_id <ID> | --storage_pool_name <NAME>) --volume_name <NAME> --size_gb <GB>')
  t.match(help, '[--thin_provisioned | --thick_provisioned]')
})
