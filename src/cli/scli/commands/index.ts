import { assert } from '../../../base/assert.js'
import { globalOptions } from '../arguments.js'
import type { Command } from '../command.js'
import { configurationCommands } from './configuration.js'
import { deviceCommands } from './device.js'
import { faultSetCommands } from './fault-set.js'
import { mappingCommands } from './mapping.js'
import { mdmCommands } from './mdm.js'
import { protectionDomainCommands } from './protection-domain.js'
import { rebuildCommands } from './rebuild.js'
import { sdcCommands } from './sdc.js'
import { sdsCommands } from './sds.js'
import { storagePoolCommands } from './storage-pool.js'
import { systemCommands } from './system.js'
import { volumeCommands } from './volume.js'

/** Every command of scli, behind both spellings. */
export const commands: readonly Command[] = checked([
  ...systemCommands,
  ...mdmCommands,
  ...configurationCommands,
  ...protectionDomainCommands,
  ...faultSetCommands,
  ...storagePoolCommands,
  ...rebuildCommands,
  ...sdsCommands,
  ...deviceCommands,
  ...volumeCommands,
  ...mappingCommands,
  ...sdcCommands,
])

function checked(table: Command[]): Command[] {
  const seen = new Set<string>()
  const claim = (name: string) => {
    assert(!seen.has(name), `the command ${name} is in the table once`)
    seen.add(name)
  }
  for (const command of table) {
    claim(`${command.noun} ${command.action}`)
    for (const verb of [command.verb, ...(command.aliases ?? [])]) claim(`--${verb}`)
    for (const name of Object.keys(command.options))
      assert(!(name in globalOptions), `--${command.verb} has no --${name} of its own: every command takes it`)
    for (const choice of command.choices ?? [])
      for (const name of choice.of) assert(name in command.options, `--${command.verb} has the option --${name}`)
  }
  return table
}
