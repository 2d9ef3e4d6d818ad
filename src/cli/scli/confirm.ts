import { createInterface } from 'node:readline/promises'
import { StorageError } from '../../base/errors.js'

/** Asks a person, on a terminal; refuses elsewhere. Returns when the answer is yes. */
export async function confirm(question: string, verb: string): Promise<void> {
  const refusal = (detail: string) =>
    new StorageError('BAD_ARGUMENT', { detail, remedy: 'add --i_am_sure to do it without being asked' })
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw refusal(`--${verb} can lose something and nobody can be asked here`)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const said = await terminal.question(`${question} Press 'y' and Enter to go on: `)
    if (!/^y(es)?$/i.test(said.trim())) throw refusal(`--${verb} was not confirmed`)
  } finally {
    terminal.close()
  }
}
