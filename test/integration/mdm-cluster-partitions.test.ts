import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const program = fileURLToPath(new URL('../soak/mdm-partitions.js', import.meta.url))

t.setTimeout(600_000)

t.test('MDM cluster: in every partition of three the majority goes on and the minority says why', async t => {
  const { exit, output } = await new Promise<{ exit: number; output: string }>(resolve => {
    execFile(process.execPath, [program], { timeout: 580_000 }, (error, stdout, stderr) =>
      resolve({ exit: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr }),
    )
  })
  if (exit === 69) {
    t.comment(output)
    return
  }
  t.equal(exit, 0, output)
  t.equal(output.match(/no majority/g)?.length, 6, 'three partitions, with either manager as master before')
  t.match(output, /12 acknowledged changes are there, each once/)
})
