import { AssertionError } from '../../base/assert.js'
import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import { Mistakes, printFailure } from '../format/failure.js'
import { addressOfCluster, refreshClusterFile } from '../local/cluster-file.js'
import { askMdmCluster, withMdm } from '../mdm-session.js'
import { type Invocation, mdmPortDefault, parseCommandLine } from './arguments.js'
import type { Answer, CommandContext } from './command.js'
import { commands } from './commands/index.js'
import { confirm } from './confirm.js'
import { helpOnAll, helpOnCommand, helpOnNoun } from './help.js'
import { parseAddress } from './values.js'

/** Runs one command line and returns the exit code. */
export async function runScli(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<number> {
  const json = argv.includes('--json')
  try {
    const parsed = parseCommandLine(argv, commands)
    if (parsed.kind === 'help') {
      print(helpOn(parsed.topic))
      return 0
    }
    const { command, values, globals } = parsed.invocation
    const where = await findMdm(globals, env)
    if (command.confirm && !globals.i_am_sure) await confirm(command.confirm, command.verb)
    const work = async (mdm: CommandContext['mdm']) => {
      const cluster = () => askMdmCluster(where)
      const context: CommandContext = { mdm, cluster, report: () => mdm.request('query', {}) }
      const answer = await command.run(values as never, context)
      if (typeof globals.dir === 'string' && changesVolumes(parsed.invocation))
        await keepClusterFile(globals.dir, context.report)
      return answer
    }
    printAnswer(await (command.needsNoMaster ? work({ request: noMaster }) : withMdm(where, work)), json)
    return 0
  } catch (error) {
    return printFailure(error, { json })
  }
}

function noMaster(): never {
  throw new AssertionError('a command that needs no master asks it for nothing')
}

function helpOn(topic: Extract<ReturnType<typeof parseCommandLine>, { kind: 'help' }>['topic']): string {
  if (topic === null) return helpOnAll(commands)
  return typeof topic === 'string' ? helpOnNoun(topic, commands) : helpOnCommand(topic)
}

interface Where {
  addresses: Endpoint[]
  systemId?: string
  remedy?: string
}

/** --dir, --mdm_ip, BLOCKMESH_MDM, or this host's default port: the first that is given. */
async function findMdm(globals: Record<string, unknown>, env: NodeJS.ProcessEnv): Promise<Where> {
  if (typeof globals.dir === 'string') return addressOfCluster(globals.dir)
  if (globals.mdm_ip !== undefined) return { addresses: globals.mdm_ip as Endpoint[] }
  if (!env.BLOCKMESH_MDM) return { addresses: [{ host: '127.0.0.1', port: mdmPortDefault }] }
  try {
    return { addresses: env.BLOCKMESH_MDM.split(',').map(part => parseAddress(part, mdmPortDefault)) }
  } catch (error) {
    throw new Mistakes([`BLOCKMESH_MDM ${JSON.stringify(env.BLOCKMESH_MDM)}: ${(error as Error).message}`])
  }
}

/** True for commands after which `cluster.json` must be written again: volumes, mappings and devices are in it. */
const changesVolumes = ({ command }: Invocation): boolean =>
  ['volume', 'device', 'sds', 'sdc'].includes(command.noun) && !command.action.startsWith('query')

/** The command is done; a `cluster.json` that cannot be written now is written by the next one. */
async function keepClusterFile(dir: string, report: CommandContext['report']): Promise<void> {
  try {
    await refreshClusterFile(dir, report)
  } catch (error) {
    process.stderr.write(`Warning: cluster.json is not up to date: ${(error as Error).message}\n`)
  }
}

function printAnswer(answer: Answer, json: boolean): void {
  for (const warning of answer.warnings ?? []) process.stderr.write(`${warning}\n`)
  print(json ? JSON.stringify(answer.data, null, 2) : answer.text)
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Printing into a pipe whose reader has gone is no error of ours. */
process.stdout.on('error', error => {
  if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(0)
  throw new StorageError('INTERNAL', { detail: `cannot print: ${error.message}` })
})
