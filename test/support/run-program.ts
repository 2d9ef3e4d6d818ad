import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The daemons that tests start overwrite payload memory when they release it. */
process.env.BLOCKMESH_POISON ??= '1'

const cliDir = fileURLToPath(new URL('../../src/cli/', import.meta.url))

export interface Finished {
  exit: number
  stdout: string
  stderr: string
}

/** Runs `blockmesh` or `scli` to its end, whatever that is. */
export function runProgram(
  program: 'blockmesh' | 'scli',
  args: string[],
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  return new Promise(resolve => {
    const options = { timeout: 300_000, env: { ...process.env, ...env } }
    execFile('node', [join(cliDir, `${program}.js`), ...args], options, (error, stdout, stderr) => {
      const code = (error as { code?: unknown } | null)?.code
      resolve({ exit: error === null ? 0 : typeof code === 'number' ? code : -1, stdout, stderr })
    })
  })
}
