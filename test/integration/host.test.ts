import { execFileSync } from 'node:child_process'
import t from 'tap'
import { cpusOf } from '../../src/cli/local/process-table.js'
import { parseCpus } from '../../src/config/parse.js'
import { bootTimeMs, readBootId } from '../../src/io/host.js'

const host = JSON.stringify(new URL('../../src/io/host.js', import.meta.url).href)
/** What a program of its own prints: flags and locks are for the rest of a process's life. */
const run = (body: string): string[] =>
  execFileSync(
    process.execPath,
    ['--expose-gc', '--input-type=module', '-e', `import * as host from ${host};${body}`],
    {
      encoding: 'utf8',
    },
  )
    .trim()
    .split('\n')

t.test('the boot id stays the same, boot time goes on', async t => {
  t.match(readBootId(), /^[0-9a-f]{8}-[0-9a-f]{4}-/)
  t.equal(readBootId(), readBootId())
  const startMs = bootTimeMs()
  await new Promise(resolve => setTimeout(resolve, 20))
  const elapsedMs = bootTimeMs() - startMs
  t.ok(elapsedMs >= 19 && elapsedMs < 10_000, `${elapsedMs} ms`)
})

t.test('a process with locked memory compiles, collects garbage and exits as ever', async t => {
  const said = run(`
    const why = host.lockMemory()
    for (let round = 0; round < 5; round++) {
      let garbage = Array.from({ length: 200_000 }, (_, i) => ({ i }))
      for (let i = 0; i < 50; i++) new Function('a', 'return a * ' + (round * 50 + i))(2)
      garbage = null
      globalThis.gc()
      await new Promise(resolve => setTimeout(resolve, 5))
    }
    console.log(why === null || why)
    console.log('alive')`)
  if (said[0] !== 'true') {
    t.comment(`not locked here: ${said[0]}`)
    t.match(said[0], /remedy|needs|set MemorySwapMax/)
  }
  t.equal(said.at(-1), 'alive')
})

t.test('the event loop is kept on a CPU, or it is said why it cannot be', async t => {
  const [cpu] = cpusOf('self')
  const said = run(`
    import { readFileSync } from 'node:fs'
    const cpus = () => /Cpus_allowed_list:\\s*(.*)/.exec(readFileSync('/proc/thread-self/status', 'utf8'))[1]
    console.log(host.keepLoopOn([1023]))
    console.log(cpus())
    console.log(host.keepLoopOn([${cpu}, 1023]))
    console.log(cpus())`)
  t.equal(said[0], 'sched_setaffinity: EINVAL')
  t.same(parseCpus(said[1]!), cpusOf('self'), 'and all is as it was')
  t.same(said.slice(2), ['null', String(cpu)])
})

t.test('a process is an IO flusher with all its threads, or says what it lacks', async t => {
  const said = run(`
    import { stat } from 'node:fs/promises'
    await stat('/')
    console.log(host.becomeIoFlusher() ?? 'all threads')
    await stat('/')`)
  if (said[0] !== 'all threads') t.comment(`not here: ${said[0]}`)
  t.match(said[0], /^all threads$|CAP_SYS_RESOURCE/)
})
