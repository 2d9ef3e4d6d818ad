import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const main = fileURLToPath(new URL('./main.js', import.meta.url))

t.setTimeout(600_000)

for (const [where, options] of [
  ['on hosts of their own', []],
  ['on one host', ['--one-host']],
] as const)
  t.test(
    `soak: some seconds of faults with all processes ${where}, and everything holds`,
    { timeout: 300_000 },
    async t => {
      const dir = mkdtempSync(join(tmpdir(), 'blockmesh-soak-'))
      t.teardown(() => rmSync(dir, { recursive: true, force: true }))
      const result = await new Promise<{ exit: number; output: string }>(resolve => {
        const args = [main, '--minutes', '0.3', '--seed', '3', '--dir', dir, ...options]
        execFile(process.execPath, args, { timeout: 280_000 }, (error, stdout, stderr) =>
          resolve({ exit: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr }),
        )
      })
      t.equal(result.exit, 0, result.output)
      t.match(result.output, /Verdict: everything held/)
      t.match(readFileSync(join(dir, 'soak.log'), 'utf8'), /SIG/, 'faults were injected')
    },
  )
