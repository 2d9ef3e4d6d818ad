import { randomInt } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import type { ClusterMode } from '../../src/model/objects.js'
import { faultKinds } from './faults.js'
import { isInside, namespacesUnavailable, runInside } from './network.js'
import { removeSoak, runSoak } from './run.js'

interface Given {
  minutes: string
  seed?: string
  dir?: string
  faults?: string
  powerCuts?: string
  singly?: boolean
  mdms: string
  oneHost?: boolean
  pauseMax?: string
}

const command = new Command('soak')
  .description('a local cluster under stamped load while everything around it fails')
  .option('--minutes <M>', 'how long faults are injected', '2')
  .option('--seed <N>', 'draws the same faults and requests again, as far as real time lets them repeat')
  .option('--dir <DIR>', 'where cluster and logs are kept (default: a fresh one, removed if all is well)')
  .option('--faults <KINDS>', `only these, separated by commas: ${faultKinds.map(({ name }) => name).join(', ')}`)
  .option('--mdms <COUNT>', 'MDMs: 1, 3 or 5', '3')
  .option('--one-host', 'no links to cut: data goes through memory that the processes share, and not by TCP')
  .option('--singly', 'one fault at a time, each healed before the next: the table then shows what each one costs')
  .option('--pause-max <S>', 'it is a failure if a request waits longer than this for its answer')
  .option('--power-cuts <N>', 'instead: end a whole guest under load with SIGKILL, so many times')
  .action(async (given: Given) => {
    process.exitCode = await main(given)
  })

async function main(given: Given): Promise<number> {
  const minutes = numberOf('--minutes', given.minutes, 1440)
  const seed = given.seed === undefined ? randomInt(2 ** 31) : numberOf('--seed', given.seed, 2 ** 32 - 1)
  const kinds = given.faults?.split(',').map(name => name.trim()) ?? null
  for (const name of kinds ?? [])
    if (!faultKinds.some(kind => kind.name === name)) throw new Error(`--faults: there is no kind "${name}"`)
  if (given.powerCuts !== undefined) {
    const { runPowerCuts } = await import('../kernel/power-cut.js')
    return (await runPowerCuts({ count: numberOf('--power-cuts', given.powerCuts, 10_000), seed })) ? 0 : 1
  }
  if (!['1', '3', '5'].includes(given.mdms)) throw new Error(`--mdms ${given.mdms}: must be 1, 3 or 5`)
  const pauseMsMax = given.pauseMax === undefined ? null : numberOf('--pause-max', given.pauseMax, 3600) * 1000
  const unavailable = isInside() ? null : namespacesUnavailable()
  if (unavailable === null && !isInside()) return runInside()
  const linksUnavailable = given.oneHost ? 'all processes are on one host' : unavailable
  const dir = given.dir === undefined ? mkdtempSync(join(tmpdir(), 'blockmesh-soak-')) : resolve(given.dir)
  const held = await runSoak({
    minutes,
    seed,
    dir,
    mdms: Number(given.mdms) as ClusterMode,
    kinds,
    linksUnavailable,
    isSingly: given.singly === true,
    pauseMsMax,
  })
  if (held && given.dir === undefined) removeSoak(dir)
  return held ? 0 : 1
}

function numberOf(option: string, given: string, max: number): number {
  const value = Number(given)
  if (!Number.isFinite(value) || value < 0 || value > max) throw new Error(`${option} ${given}: must be 0 to ${max}`)
  return value
}

await command.parseAsync().catch((error: Error) => {
  process.stderr.write(`soak: ${error.message}\n`)
  process.exitCode = 64
})
