import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const scli = fileURLToPath(new URL('../../src/cli/scli.js', import.meta.url))

/** Runs one scli command line, whatever comes of it. */
export function runScli(
  dir: string,
  commandLine: string,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-c', `node ${scli} ${commandLine} --dir ${dir}`], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const out = { stdout: '', stderr: '' }
    child.stdout.on('data', bytes => {
      out.stdout += bytes
    })
    child.stderr.on('data', bytes => {
      out.stderr += bytes
    })
    child.on('error', reject)
    child.on('close', code => resolve({ code, ...out }))
  })
}
