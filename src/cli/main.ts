import { Command, CommanderError } from 'commander'
import { errorTable, StorageError } from '../base/errors.js'
import { printFailure } from './format/failure.js'

/** Runs one command line of `blockmesh` and returns the exit code. */
export async function runBlockmesh(argv: readonly string[]): Promise<number> {
  const json = argv.includes('--json')
  try {
    await (await program(argv[2])).parseAsync(argv as string[])
    return Number(process.exitCode ?? 0)
  } catch (error) {
    if (!(error instanceof CommanderError)) return printFailure(error, { json })
    // Commander has said it already; help is no mistake.
    return error.exitCode === 0 ? 0 : errorTable.BAD_ARGUMENT.exit
  }
}

const daemons = ['mdm', 'sds', 'sdc'] as const

/** A daemon loads its own part alone, and the other commands start faster without the daemons. */
async function program(wanted: string | undefined): Promise<Command> {
  const blockmesh = new Command('blockmesh')
    .description('software-defined block storage: daemons, local clusters, checks')
    .showSuggestionAfterError(true)
  for (const role of daemons)
    blockmesh
      .command(role)
      .description(`run one ${role.toUpperCase()} daemon in the foreground`)
      .requiredOption('--config <FILE>', 'its configuration file')
      .option('--check', 'only check the file')
      .action(async (options: { config: string; check?: boolean }) => {
        const { readConfig, runDaemon } = await import('./daemon.js')
        if (options.check) {
          readConfig(role, options.config)
          process.stdout.write(`${options.config}: no mistakes\n`)
          return
        }
        process.exit(await runDaemon(role, options.config))
      })
  for (const role of ['gateway', 'lia'])
    blockmesh
      .command(role)
      .description('not part of this version')
      .allowUnknownOption()
      .option('--config <FILE>', 'its configuration file')
      .action(() => {
        throw new StorageError('UNREACHABLE', {
          detail: `this version has no ${role}`,
          remedy: 'use scli, which speaks to the MDM itself',
        })
      })
  if (!daemons.some(role => role === wanted)) {
    blockmesh.addCommand((await import('./local/command.js')).localCommand())
    blockmesh.addCommand((await import('./check/command.js')).checkCommand())
  }
  throwOnExit(blockmesh)
  return blockmesh
}

function throwOnExit(command: Command): void {
  command.exitOverride()
  for (const child of command.commands) throwOnExit(child)
}
