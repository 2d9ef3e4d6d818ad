import { Mistakes } from '../format/failure.js'
import { suggest } from '../format/suggest.js'
import type { Choice, Command, FlagOption, OptionTable, ValueOption } from './command.js'
import { addressList, flag, text } from './values.js'

/** The port of an MDM that is not named otherwise. */
export const mdmPortDefault = 6611

/** Options that every command takes. */
export const globalOptions = {
  mdm_ip: addressList('where the MDM listens (default: BLOCKMESH_MDM, else 127.0.0.1:6611)', mdmPortDefault),
  dir: text('DIR', 'speak to the local cluster in this directory'),
  json: flag('print the answer as JSON'),
  i_am_sure: flag('do not ask before something is lost'),
  approve_certificate: flag('accepted for scripts; there is no certificate to approve'),
  help: flag('explain the command'),
} satisfies OptionTable

export interface Invocation {
  command: Command
  values: Record<string, unknown>
  globals: Record<string, unknown>
}
export type Parsed = { kind: 'run'; invocation: Invocation } | { kind: 'help'; topic: Command | string | null }

/** What a command line asks for. Throws `Mistakes` with everything that is wrong with it. */
export function parseCommandLine(argv: readonly string[], commands: readonly Command[]): Parsed {
  if (argv.length === 0) return { kind: 'help', topic: null }
  const mistakes: string[] = []
  const tokens = tokenize(argv)
  const found = findCommand(tokens, commands)
  if ('mistake' in found) {
    if (tokens.some(isHelp)) return { kind: 'help', topic: found.noun ?? null }
    throw new Mistakes([found.mistake])
  }
  if (found.rest.some(isHelp)) return { kind: 'help', topic: found.command }
  const { command, rest } = found
  const values: Record<string, unknown> = {}
  const globals: Record<string, unknown> = {}
  const shorts = found.spelling === 'noun' ? (command.shorts ?? {}) : {}
  for (let at = 0; at < rest.length; at++) {
    const token = rest[at]!
    if (token.kind === 'word') {
      mistakes.push(`${quote(token.text)} is not expected here: values follow an option, as in --option value`)
      continue
    }
    const name = token.name in command.options ? token.name : (shorts[token.name] ?? token.name)
    const own = command.options[name]
    const option: ValueOption<unknown> | FlagOption | undefined =
      own ?? globalOptions[name as keyof typeof globalOptions]
    if (!option) {
      mistakes.push(unknownOption(token.name, command, shorts))
      if (token.value === null && rest[at + 1]?.kind === 'word') at++
      continue
    }
    const target = own ? values : globals
    if (name in target) mistakes.push(`--${name} is given twice`)
    if (option.placeholder === null) {
      if (token.value !== null) mistakes.push(`--${name} takes no value`)
      target[name] = true
      continue
    }
    let given = token.value
    const next = rest[at + 1]
    if (given === null && next?.kind === 'word') {
      given = next.text
      at++
    }
    if (given === null) {
      mistakes.push(`--${name} needs a value: --${name} <${option.placeholder}>`)
      target[name] = undefined
      continue
    }
    try {
      target[name] = option.parse(given)
    } catch (error) {
      mistakes.push(`--${name} ${quote(given)}: ${(error as Error).message}`)
      target[name] = undefined
    }
  }
  for (const choice of command.choices ?? []) checkChoice(choice, values, mistakes)
  if ('dir' in globals && 'mdm_ip' in globals)
    mistakes.push('--dir and --mdm_ip both say where the MDM is; give one of them')
  if (mistakes.length > 0) throw new Mistakes(mistakes)
  return { kind: 'run', invocation: { command, values, globals } }
}

type Token = { kind: 'option'; name: string; value: string | null } | { kind: 'word'; text: string }

/** `--size-gb=8` is the option size_gb with a value; a word stands for itself. */
function tokenize(argv: readonly string[]): Token[] {
  return argv.map(argument => {
    if (argument === '-h') return { kind: 'option', name: 'help', value: null }
    if (!argument.startsWith('--') || argument === '--') return { kind: 'word', text: argument }
    const equals = argument.indexOf('=')
    const name = argument.slice(2, equals < 0 ? undefined : equals).replaceAll('-', '_')
    return { kind: 'option', name: name.toLowerCase(), value: equals < 0 ? null : argument.slice(equals + 1) }
  })
}

type Found = { command: Command; rest: Token[]; spelling: 'verb' | 'noun' } | { mistake: string; noun?: string }

function findCommand(tokens: Token[], commands: readonly Command[]): Found {
  const first = tokens[0]!
  if (first.kind === 'word' && first.text !== 'help') return findByNoun(tokens, commands)
  const byVerb = new Map(commands.flatMap(command => [command.verb, ...(command.aliases ?? [])].map(v => [v, command])))
  const at = tokens.findIndex(token => token.kind === 'option' && byVerb.has(token.name))
  if (at >= 0) {
    const command = byVerb.get((tokens[at] as { name: string }).name)!
    return { command, rest: tokens.filter((_, index) => index !== at), spelling: 'verb' }
  }
  const wrong = tokens.find(token => token.kind === 'option' && !(token.name in globalOptions))
  if (wrong?.kind !== 'option')
    return { mistake: 'no command is given; `scli --help` lists them, for example --query_all or `volume add`' }
  return { mistake: `there is no command --${wrong.name}${meant(suggest(wrong.name, byVerb.keys()), '--')}` }
}

function findByNoun(tokens: Token[], commands: readonly Command[]): Found {
  const noun = (tokens[0] as { text: string }).text.toLowerCase().replaceAll('_', '-')
  const ofNoun = commands.filter(command => command.noun === noun)
  if (ofNoun.length === 0) {
    const nouns = new Set(commands.map(command => command.noun))
    return { mistake: `there is no noun ${quote(noun)}${meant(suggest(noun, nouns))}; known: ${[...nouns].join(', ')}` }
  }
  const second = tokens[1]
  const said = second?.kind === 'word' ? second.text.toLowerCase().replaceAll('_', '-') : null
  const action = said === null ? null : (actionAliases[said] ?? said)
  const command = ofNoun.find(candidate => candidate.action === action)
  if (command) return { command, rest: tokens.slice(2), spelling: 'noun' }
  const actions = ofNoun.map(candidate => candidate.action)
  const start = action === null ? `${quote(noun)} needs an action` : `${noun} has no action ${quote(action)}`
  return { mistake: `${start}${meant(suggest(action ?? '', actions))}; known: ${actions.join(', ')}`, noun }
}

/** Other words for the actions of the noun spelling. */
const actionAliases: Record<string, string> = {
  list: 'query-all',
  show: 'query',
  create: 'add',
  delete: 'remove',
}

function unknownOption(name: string, command: Command, shorts: Record<string, string>): string {
  const known = [...Object.keys(command.options), ...Object.keys(shorts), ...Object.keys(globalOptions)]
  return `--${command.verb} has no option --${name}${meant(suggest(name, known), '--')}`
}

function checkChoice(choice: Choice, values: Record<string, unknown>, mistakes: string[]): void {
  const given = choice.of.filter(name => name in values)
  const list = choice.of.map(name => `--${name}`)
  if (given.length > 1) mistakes.push(`${given.map(name => `--${name}`).join(' and ')} exclude each other; give one`)
  if (given.length > 0 || !choice.required) return
  mistakes.push(list.length === 1 ? `${list[0]} is required` : `one of ${list.join(', ')} is required`)
}

const meant = (words: string[], prefix = ''): string =>
  words.length > 0 ? `; did you mean ${words.map(word => prefix + word).join(' or ')}?` : ''
const quote = (given: string): string => JSON.stringify(given)
const isHelp = (token: Token): boolean => token.kind === 'option' && token.name === 'help'
