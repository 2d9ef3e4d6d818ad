import { resolve } from 'node:path'
import { Command } from 'commander'
import { errorTable } from '../../base/errors.js'
import type { ClusterFile } from './cluster-file.js'
import { defaultDir, firstVolume, formatFioResult, formatNextSteps, formatVolumes, runFirstJob } from './first-run.js'
import { withDirectoryLock } from './lock.js'
import { parseUpOptions, type UpTexts } from './options.js'
import { bringDown, changeProcess, type ProcessVerb } from './processes.js'
import { readState } from './state.js'
import { formatStatus, statusOf } from './status.js'
import { bringUp } from './up.js'

const tell = (sentence: string): void => void process.stderr.write(`blockmesh: ${sentence}\n`)
const print = (text: string): void => void process.stdout.write(`${text}\n`)
const collect = (value: string, before: string[] | undefined): string[] => [...(before ?? []), value]

/** `blockmesh local …`. Actions return nothing and set the exit code; errors are thrown. */
export function localCommand(): Command {
  const local = new Command('local').description('a whole cluster of separate processes on this host, on loopback')

  local
    .command('up')
    .description('start a cluster, or what is down of the one in DIR, and wait until it is healthy')
    .requiredOption('--dir <DIR>', 'where everything of the cluster is kept')
    .option('--mdms <COUNT>', 'MDMs: 1, 3 (two managers, a tie breaker) or 5 (three and two) (default 1)')
    .option('--sdss <COUNT>', 'SDSs (default 3)')
    .option('--fault-sets <COUNT>', 'fault sets, SDSs dealt out in turn; 0 for none (default 3)')
    .option('--devices <COUNT>', 'devices of each SDS (default 1)')
    .option('--device-size <SIZE>', 'size of each device, a sparse file (default 16G)')
    .option('--slices <COUNT>', 'slices of the storage pool, a power of two (default 1024)')
    .option('--sdcs <COUNT>', 'SDCs (default 1); volumes are mapped to sdc-1')
    .option('--volume <NAME:SIZE[:thick]>', 'a volume to make and map, as vol1:8G; may be repeated', collect)
    .option('--zero-padding <on|off>', 'whether bytes never written read as zero (default on)')
    .option('--buffered', "devices go through the host's page cache")
    .option('--direct', 'devices bypass it (the default where the file system allows it)')
    .option('--rmcache <SIZE|off>', 'RAM read cache of each SDS, with --direct (default 64M)')
    .option('--wait <SECONDS>', 'how long it may take to become healthy (default 120)')
    .option('--json', 'print cluster.json instead of a summary')
    .action(async (options: UpTexts & { dir: string; json?: boolean }) => {
      const up = parseUpOptions(options)
      const dir = resolve(options.dir)
      const { file, started } = await withDirectoryLock(dir, () => bringUp(dir, up, tell))
      print(options.json ? JSON.stringify(file, null, 2) : summary(dir, file, started))
    })

  local
    .command('status')
    .description('processes, health, volumes and capacity')
    .requiredOption('--dir <DIR>', 'the directory of the cluster')
    .option('--json', 'for programs')
    .action(async (options: { dir: string; json?: boolean }) => {
      const status = await statusOf(options.dir)
      print(options.json ? JSON.stringify(status, null, 2) : formatStatus(options.dir, status))
    })

  local
    .command('down')
    .description('stop everything cleanly: clients, then SDSs, then MDMs; data stays')
    .requiredOption('--dir <DIR>', 'the directory of the cluster')
    .option('--json', 'for programs')
    .action(async (options: { dir: string; json?: boolean }) => {
      readState(options.dir)
      const killed = await withDirectoryLock(options.dir, () => bringDown(options.dir, tell))
      if (options.json) print(JSON.stringify({ killed }))
      else print(`The cluster in ${resolve(options.dir)} is down; its data stays.`)
      if (killed.length === 0) return
      tell(`${killed.join(', ')} did not stop in time and had to be killed; copies are checked at the next start`)
      process.exitCode = errorTable.TIMED_OUT.exit
    })

  const verbs: Record<ProcessVerb, string> = {
    kill: 'end a process with SIGKILL, as a power cut would',
    terminate: 'stop a process cleanly with SIGTERM, and wait',
    start: 'start a process again that is down, and wait until it serves',
    stop: 'suspend a process with SIGSTOP: it is there, but silent',
    cont: 'let a suspended process go on with SIGCONT',
  }
  for (const [verb, description] of Object.entries(verbs) as [ProcessVerb, string][])
    local
      .command(`${verb} <NAME>`)
      .description(description)
      .requiredOption('--dir <DIR>', 'the directory of the cluster')
      .action(async (name: string, options: { dir: string }) => {
        readState(options.dir)
        print(await withDirectoryLock(options.dir, () => changeProcess(options.dir, name, verb)))
      })

  local
    .command('first-run')
    .description('a cluster with a volume, a first fio job on it, and how to go on')
    .option(
      '--dir <DIR>',
      'where to keep it (default: $XDG_STATE_HOME/blockmesh/local, ~/.local/state/blockmesh/local)',
    )
    .action(async (options: { dir?: string }) => firstRun(resolve(options.dir ?? defaultDir(process.env))))

  return local
}

async function firstRun(dir: string): Promise<void> {
  const { file } = await withDirectoryLock(dir, () =>
    bringUp(dir, { wanted: {}, volumes: [firstVolume], waitMs: 120_000 }, tell),
  )
  const volume = file.volumes.find(candidate => candidate.name === firstVolume.name)
  tell(`running fio for 10 s on ${volume?.uri}`)
  const result = await runFirstJob(volume?.uri ?? '')
  print(
    [
      `A cluster of ${file.processes.length} processes runs in ${dir}: ${file.processes.map(one => one.name).join(', ')}.`,
      `Volume ${firstVolume.name}: 8 GB, thin, two copies of every chunk in different fault sets.`,
      '',
      'First fio job (10 s, 45% reads, 16 in flight):',
      formatFioResult(result),
      '',
      formatNextSteps(dir, file),
    ].join('\n'),
  )
  if (result.errors > 0) {
    tell(`fio saw error ${result.errors}`)
    process.exitCode = errorTable.MEDIA_ERROR.exit
  }
}

function summary(dir: string, file: ClusterFile, started: string[]): string {
  const first = started.length > 0 ? `started ${started.join(', ')}` : 'everything was running already'
  return [
    `The cluster in ${dir} is healthy (system ${file.systemId}); ${first}.`,
    'Volumes:',
    formatVolumes(file),
    '',
    formatNextSteps(dir, file),
  ].join('\n')
}
