import { AssertionError } from '../../base/assert.js'
import { errorTable, StorageError } from '../../base/errors.js'

/** What a program says and returns when it cannot do what was asked. */
export interface Failure {
  exit: number
  text: string
  json: { error: { code: string; message: string; context: Record<string, unknown>; mistakes?: string[] } }
}

/** Several mistakes of one command line or file, said together. */
export class Mistakes extends StorageError {
  constructor(readonly mistakes: string[]) {
    super('BAD_ARGUMENT', { detail: mistakes.join('\n') })
  }
}

/** Sentence, JSON and exit code of an error. The code decides all three; what is not ours is INTERNAL. */
export function failureOf(error: unknown): Failure {
  const known = error instanceof StorageError ? error : asInternal(error)
  const message = known.message
  return {
    exit: errorTable[known.code].exit,
    text: message
      .split('\n')
      .map(line => `Error: ${line}`)
      .join('\n'),
    json: {
      error: {
        code: known.code,
        message,
        context: { ...known.context },
        ...(known instanceof Mistakes ? { mistakes: known.mistakes } : {}),
      },
    },
  }
}

function asInternal(error: unknown): StorageError {
  const isBug = error instanceof AssertionError || error instanceof TypeError || error instanceof ReferenceError
  const said = error instanceof Error ? error.message : String(error)
  const place = isBug && error instanceof Error ? `: ${error.stack?.split('\n')[1]?.trim() ?? ''}` : ''
  return new StorageError('INTERNAL', { detail: said + place }, { cause: error })
}

/** Prints a failure where programs expect it and returns the exit code. */
export function printFailure(error: unknown, options: { json?: boolean | undefined } = {}): number {
  const failure = failureOf(error)
  process.stderr.write(options.json ? `${JSON.stringify(failure.json)}\n` : `${failure.text}\n`)
  return failure.exit
}
