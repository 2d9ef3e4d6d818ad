import { type ChildProcess, execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const execute = promisify(execFile)
const timeoutMs = 300_000

/** Runs a program to its end; its stdout, or an error with its stderr. */
export async function runToEnd(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  const options = { timeout: timeoutMs, maxBuffer: 16 * 2 ** 20, env: { ...process.env, ...env } }
  const running = execute(program, args, options)
  runs.add(running.child)
  try {
    return (await running).stdout
  } finally {
    runs.delete(running.child)
  }
}

const runs = new Set<ChildProcess>()

/** Ends what `runToEnd` has under way, as Ctrl-C would, and waits for it: what sets something up takes it down again. */
export async function interruptRuns(): Promise<void> {
  await Promise.all([...runs].map(endProcess))
}

/** True if the program can be found. */
export async function isInstalled(program: string): Promise<boolean> {
  return runToEnd('sh', ['-c', `command -v ${program}`]).then(
    () => true,
    () => false,
  )
}

export async function waitForFile(path: string, withinMs = 10_000): Promise<void> {
  for (const endMs = Date.now() + withinMs; !existsSync(path); await sleep(50))
    if (Date.now() > endMs) throw new Error(`${path} did not appear`)
}

/** Ends a process that we started: asks it, and after a while does not ask. */
export async function endProcess(child: ChildProcess): Promise<void> {
  const exited = new Promise<void>(resolve => child.once('exit', () => resolve()))
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
  await exited
  clearTimeout(timer)
}
