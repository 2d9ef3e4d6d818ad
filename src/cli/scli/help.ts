import { globalOptions } from './arguments.js'
import type { Command, OptionTable } from './command.js'

/** All commands, by noun, in both spellings. */
export function helpOnAll(commands: readonly Command[]): string {
  const lines = [
    'scli: configures and watches a Blockmesh system.',
    '',
    'Usage:  scli --VERB [--option value]…        as in  scli --query_all',
    '        scli NOUN ACTION [--option value]…   as in  scli volume add --name vol1 --size_gb 8 …',
    '        scli --VERB --help                   explains one command',
    '',
  ]
  const width = Math.max(...commands.map(command => command.verb.length)) + 4
  for (const noun of new Set(commands.map(command => command.noun))) {
    lines.push(`${noun}:`)
    for (const command of commands.filter(candidate => candidate.noun === noun))
      lines.push(`    ${`--${command.verb}`.padEnd(width)}${command.summary}`)
  }
  lines.push('', 'Every command takes:', ...optionLines(globalOptions, {}))
  return lines.join('\n')
}

/** The commands of one noun. */
export function helpOnNoun(noun: string, commands: readonly Command[]): string {
  const ofNoun = commands.filter(command => command.noun === noun)
  const width = Math.max(...ofNoun.map(command => command.action.length)) + 2
  return [
    `Usage:  scli ${noun} ACTION [--option value]…`,
    '',
    ...ofNoun.map(command => `    ${command.action.padEnd(width)}${command.summary} (--${command.verb})`),
    '',
    `\`scli ${noun} ACTION --help\` explains one of them.`,
  ].join('\n')
}

export function helpOnCommand(command: Command): string {
  const lines = [
    `${command.summary}.`,
    '',
    `Usage:  scli --${command.verb} ${usageOf(command)}`.trimEnd(),
    `        scli ${command.noun} ${command.action} …`,
  ]
  if (command.aliases?.length) lines.push(`Also:   ${command.aliases.map(alias => `--${alias}`).join(', ')}`)
  if (Object.keys(command.options).length > 0)
    lines.push('', 'Options:', ...optionLines(command.options, command.shorts ?? {}))
  lines.push('', 'Every command takes:', ...optionLines(globalOptions, {}))
  return lines.join('\n')
}

function usageOf(command: Command): string {
  const chosen = new Set((command.choices ?? []).flatMap(choice => choice.of))
  const parts = (command.choices ?? []).map(choice => {
    const list = choice.of.map(name => spell(name, command.options)).join(' | ')
    if (!choice.required) return `[${list}]`
    return choice.of.length > 1 ? `(${list})` : list
  })
  for (const name of Object.keys(command.options))
    if (!chosen.has(name)) parts.push(`[${spell(name, command.options)}]`)
  return parts.join(' ')
}

function spell(name: string, options: OptionTable): string {
  const placeholder = options[name]?.placeholder
  return placeholder ? `--${name} <${placeholder}>` : `--${name}`
}

function optionLines(options: OptionTable, shorts: Record<string, string>): string[] {
  const shortOf = new Map(Object.entries(shorts).map(([short, name]) => [name, short]))
  const heads = Object.keys(options).map(name => spell(name, options))
  const width = Math.max(...heads.map(head => head.length)) + 2
  return Object.entries(options).map(([name, option], index) => {
    const short = shortOf.get(name)
    return `    ${heads[index]!.padEnd(width)}${option.help}${short ? ` (in noun spelling also --${short})` : ''}`
  })
}
