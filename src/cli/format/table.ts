import Table from 'cli-table3'

export type Cell = string | number | null | undefined

/** A table for people: plain rules, no colours, so that it survives a log or a mail. Numbers stand to the right. */
export function formatTable(head: string[], rows: Cell[][]): string {
  const isNumber = head.map((_, column) => rows.length > 0 && rows.every(row => typeof row[column] === 'number'))
  const table = new Table({
    head,
    style: { head: [], border: [], compact: true },
    colAligns: isNumber.map(right => (right ? 'right' : 'left')),
    chars: plainRules,
  })
  for (const row of rows) table.push(row.map(cell => (cell === null || cell === undefined ? '-' : String(cell))))
  return trimLines(table.toString())
}

/** Facts of one object, one a line. */
export function formatFacts(facts: [string, Cell][]): string {
  const width = Math.max(...facts.map(([name]) => name.length)) + 1
  return facts.map(([name, value]) => `    ${`${name}:`.padEnd(width)} ${value ?? '-'}`).join('\n')
}

const trimLines = (text: string): string =>
  text
    .split('\n')
    .map(line => line.trimEnd())
    .join('\n')

const plainRules = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '  ',
  'left-mid': '  ',
  mid: '-',
  'mid-mid': '  ',
  right: '',
  'right-mid': '',
  middle: '  ',
}
