import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import t from 'tap'
import {
  parseStat,
  runStateOf,
  signalProcess,
  thisBootId,
  waitUntilDown,
} from '../../../src/cli/local/process-table.js'

const identityOf = (child: ChildProcess) => {
  const { startTicks } = parseStat(readFileSync(`/proc/${child.pid}/stat`, 'utf8'))
  return { pid: child.pid!, startTicks, bootId: thisBootId() }
}

t.test('processes: a name with blanks and brackets does not shift the fields', async t => {
  const fields = ['S', ...Array.from({ length: 18 }, (_, index) => String(index)), '4711', '0']
  t.same(parseStat(`12 (a b) (c) ${fields.join(' ')}`), { letter: 'S', startTicks: 4711 })
})

t.test('processes: running, suspended, going on and down are told apart', async t => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const identity = identityOf(child)
  t.equal(runStateOf(identity), 'running')
  t.ok(signalProcess(identity, 'SIGSTOP'))
  while (runStateOf(identity) === 'running') await new Promise(setImmediate)
  t.equal(runStateOf(identity), 'suspended')
  t.ok(signalProcess(identity, 'SIGCONT'))
  t.ok(signalProcess(identity, 'SIGKILL'))
  t.ok(await waitUntilDown(identity, 10_000))
  t.equal(runStateOf(identity), 'down')
  t.notOk(signalProcess(identity, 'SIGKILL'), 'nothing is signalled that is down')
})

t.test('processes: a pid that another process has by now, or that is of another boot, is never signalled', async t => {
  const child = spawn('sleep', ['60'], { stdio: 'ignore' })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'spawn')
  const identity = identityOf(child)
  const older = { ...identity, startTicks: identity.startTicks - 1 }
  const elsewhere = { ...identity, bootId: '00000000-0000-0000-0000-000000000000' }
  for (const other of [older, elsewhere, null]) {
    t.equal(runStateOf(other), 'down')
    t.notOk(signalProcess(other, 'SIGKILL'))
  }
  t.equal(runStateOf(identity), 'running', 'it still lives')
})
