import { resolve } from 'node:path'
import { Command } from 'commander'
import { errorTable } from '../../base/errors.js'
import { chunkBytes } from '../../base/units.js'
import { tcpLink } from '../../io/tcp-link.js'
import { Mistakes } from '../format/failure.js'
import { formatSize } from '../format/size.js'
import { addressOfCluster } from '../local/cluster-file.js'
import { withMdm } from '../mdm-session.js'
import { type CheckResult, runCheck } from './run.js'

const linesMax = 50

/** `blockmesh check`: exit code 0 only if every chunk has two equal copies in different fault sets. */
export function checkCommand(): Command {
  return new Command('check')
    .description('compare both copies of every chunk of a running cluster, byte by byte')
    .requiredOption('--dir <DIR>', 'the directory of the local cluster')
    .option('--wait <SECONDS>', 'how long to wait for copies that are being filled (default 60)', '60')
    .option('--json', 'for programs')
    .action(async (options: { dir: string; wait: string; json?: boolean }) => {
      if (!/^\d{1,6}$/.test(options.wait)) throw new Mistakes([`--wait ${options.wait}: must be a number of seconds`])
      const settleMs = Number(options.wait) * 1000
      const tell = (sentence: string): void => void process.stderr.write(`blockmesh: ${sentence}\n`)
      const result = await withMdm(addressOfCluster(options.dir), mdm =>
        runCheck({ mdm, link: tcpLink, settleMs, progress: tell }),
      )
      process.stdout.write(`${options.json ? JSON.stringify(result, null, 2) : formatCheck(options.dir, result)}\n`)
      if (result.equal) return
      const differs = result.differenceCount > 0 || result.placement.some(fault => fault.kind !== 'missing')
      process.stderr.write(
        `Error: ${differs ? 'the copies are not as they must be' : 'not every slice could be compared'}` +
          `; what is wrong: ${JSON.stringify(worstOf(result))}\n`,
      )
      process.exitCode = differs ? errorTable.MEDIA_ERROR.exit : errorTable.NOT_READY.exit
    })
}

const worstOf = (result: CheckResult): unknown => result.differences[0] ?? result.placement[0] ?? result.notCompared[0]

export function formatCheck(dir: string, result: CheckResult): string {
  const lines = [
    `Compared ${result.slices} slices of ${resolve(dir)}: ${result.chunksCompared} chunks, ` +
      `${formatSize(result.bytesCompared)} of two copies each.`,
  ]
  const list = (title: string, count: number, sentences: string[]) => {
    if (count === 0) return
    lines.push(`${title}: ${count}`, ...sentences.slice(0, linesMax).map(sentence => `    ${sentence}`))
    if (count > linesMax) lines.push(`    … and ${count - linesMax} more`)
  }
  list(
    'Differences',
    result.differenceCount,
    result.differences.map(
      ({ volume, chunk, offsetBytes, deviceId, what }) =>
        `volume ${volume}, chunk ${chunk}, offset ${chunk * chunkBytes + offsetBytes}: ${what} (device ${deviceId})`,
    ),
  )
  list(
    'Slices that are placed wrongly',
    result.placement.length,
    result.placement.map(({ pool, slice, what }) => `pool ${pool}, slice ${slice} ${what}`),
  )
  list(
    'Slices that could not be compared',
    result.notCompared.length,
    result.notCompared.map(({ pool, slice, reason }) => `pool ${pool}, slice ${slice}: ${reason}`),
  )
  if (result.equal) lines.push('Every chunk has two equal copies, in different fault sets.')
  return lines.join('\n')
}
