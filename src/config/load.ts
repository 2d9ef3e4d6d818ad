import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml'
import { StorageError } from '../base/errors.js'
import { type ConfigKeys, ConfigMistake, type ConfigOf, type ConfigValue } from './keys.js'

/** One key as found in the file, with its full dotted name. */
interface Entry {
  key: string
  value: ConfigValue
  line: number
}

interface Mistake {
  line: number
  text: string
}

/**
 * Reads a whole configuration file. Throws CONFIGURATION with every mistake of the file in `detail`, one a line, each
 * with file, line, key and what to write instead.
 */
export function loadConfig<Keys extends ConfigKeys>(keys: Keys, text: string, fileName: string): ConfigOf<Keys> {
  const mistakes: Mistake[] = []
  const entries = readEntries(text, mistakes)
  const known = new Map(Object.values(keys).map(key => [key.key, key]))
  const found = new Map<string, Entry>()
  for (const entry of entries) {
    const first = found.get(entry.key)
    if (!known.has(entry.key)) mistakes.push({ line: entry.line, text: unknownKey(entry.key, [...known.keys()]) })
    else if (first) mistakes.push({ line: entry.line, text: `${entry.key}: given twice, first in line ${first.line}` })
    else found.set(entry.key, entry)
  }
  const config: Record<string, unknown> = {}
  for (const [name, key] of Object.entries(keys)) {
    const entry = found.get(key.key)
    if (entry !== undefined) config[name] = parsed(entry, key.parse, mistakes)
    else if (key.default === undefined) mistakes.push({ line: 0, text: `${key.key}: missing (${key.help})` })
    else config[name] = key.default === null ? null : key.parse(key.default)
  }
  if (mistakes.length > 0) throw configurationError(fileName, mistakes)
  return Object.freeze(config) as ConfigOf<Keys>
}

function parsed(entry: Entry, parse: (value: ConfigValue) => unknown, mistakes: Mistake[]): unknown {
  try {
    return parse(entry.value)
  } catch (error) {
    if (!(error instanceof ConfigMistake)) throw error
    const value = typeof entry.value === 'string' ? entry.value : `[${entry.value.join(', ')}]`
    mistakes.push({ line: entry.line, text: `${entry.key} = ${value}: ${error.message}` })
    return undefined
  }
}

function configurationError(fileName: string, mistakes: Mistake[]): StorageError {
  // What is missing has no line and comes last.
  const order = (mistake: Mistake) => mistake.line || Number.POSITIVE_INFINITY
  const sorted = mistakes.sort((a, b) => (order(a) < order(b) ? -1 : order(a) > order(b) ? 1 : 0))
  const lines = sorted.map(({ line, text }) => `${fileName}:${line > 0 ? `${line}:` : ''} ${text}`)
  return new StorageError('CONFIGURATION', { detail: lines.join('\n') })
}

function readEntries(text: string, mistakes: Mistake[]): Entry[] {
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, uniqueKeys: false, prettyErrors: false })
  const lineOf = (offset: number | undefined) => lineCounter.linePos(offset ?? 0).line
  for (const error of document.errors) mistakes.push({ line: lineOf(error.pos[0]), text: `not YAML: ${error.message}` })
  const entries: Entry[] = []
  const wrong = (node: Node | null, line: number, text: string) =>
    mistakes.push({ line: node?.range ? lineOf(node.range[0]) : line, text })

  const walk = (node: Node | null, path: string, line: number): void => {
    if (isMap(node)) {
      for (const pair of node.items) {
        const keyNode = pair.key as Node | null
        const keyLine = lineOf(keyNode?.range?.[0])
        if (!isScalar(keyNode)) wrong(keyNode, keyLine, 'a key is a word')
        else walk(pair.value as Node | null, path === '' ? textOf(keyNode) : `${path}.${textOf(keyNode)}`, keyLine)
      }
    } else if (path === '') wrong(node, line, 'the file is a list of "key: value" lines')
    else if (isSeq(node)) {
      const items = node.items as Node[]
      if (items.every(isScalar)) entries.push({ key: path, value: items.map(textOf), line })
      else wrong(node, line, `${path}: the items of a list are single values`)
    } else if (isAlias(node)) wrong(node, line, `${path}: write the value out, aliases are not understood here`)
    else if (!isScalar(node) || (node.value === null && !node.source)) wrong(null, line, `${path}: has no value`)
    else entries.push({ key: path, value: textOf(node), line })
  }
  // An empty file is one without keys.
  if (document.errors.length === 0 && document.contents !== null) walk(document.contents as Node, '', 1)
  return entries
}

/** As the operator wrote it: numbers and booleans are for the key's own parser to understand. */
function textOf(node: unknown): string {
  const scalar = node as { source?: string; value: unknown; type?: string }
  const plain = scalar.type === 'PLAIN' ? scalar.source : undefined
  return String(plain ?? scalar.value ?? '').trim()
}

function unknownKey(key: string, known: readonly string[]): string {
  const ranked = known.map(other => ({ other, steps: editSteps(key, other) })).sort((a, b) => a.steps - b.steps)
  const best = ranked[0]
  const near = best !== undefined && best.steps <= Math.max(2, Math.floor(key.length / 3))
  return `${key}: unknown key${near ? `, did you mean ${best.other}?` : `; known are ${known.join(', ')}`}`
}

/** Levenshtein's distance. */
function editSteps(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next[j] = Math.min(change, row[j]! + 1, next[j - 1]! + 1)
    }
    row = next
  }
  return row[b.length]!
}
