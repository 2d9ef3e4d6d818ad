import { readFileSync } from 'node:fs'
import { StorageError } from '../../../base/errors.js'
import { parseConfiguration } from '../../../core/mdm/index.js'
import { writeAtomically } from '../../format/atomic.js'
import { Mistakes } from '../../format/failure.js'
import { defineCommand, required } from '../command.js'
import { flag, text } from '../values.js'

/** The configuration as a whole: kept in a file, put in place on new MDMs, and gone on with where it is an older one. */
export const configurationCommands = [
  defineCommand({
    noun: 'configuration',
    action: 'export',
    verb: 'export_configuration',
    summary: 'Writes the whole configuration into a readable file',
    options: { file: text('FILE', 'the file to write; one that exists is replaced') },
    choices: [required('file')],
    async run(values, { mdm }) {
      const { text: content } = await mdm.request('exportConfiguration', {})
      writeExport(values.file!, content)
      const bytes = Buffer.byteLength(content)
      return { text: `Successfully exported the configuration to ${values.file}`, data: { file: values.file, bytes } }
    },
  }),
  defineCommand({
    noun: 'configuration',
    action: 'import',
    verb: 'import_configuration',
    summary: 'Puts an exported configuration in place on a new, empty MDM',
    options: { file: text('FILE', 'the exported file') },
    choices: [required('file')],
    async run(values, { mdm }) {
      const content = readExport(values.file!)
      const parsed = parseConfiguration(content)
      if ('mistakes' in parsed) throw new Mistakes(parsed.mistakes.map(mistake => `${values.file}: ${mistake}`))
      const { systemId, mapVersion } = await mdm.request('importConfiguration', { text: content })
      const lines = [
        `Successfully imported the configuration of system ${systemId}, as it was after ${mapVersion} changes.`,
        'Nothing is served until all of its SDSs have connected. If none of them knows a newer configuration the system',
        'then goes on by itself; --query_recovery shows what is missing.',
      ]
      return { text: lines.join('\n'), data: { systemId, mapVersion } }
    },
  }),
  defineCommand({
    noun: 'configuration',
    action: 'query-recovery',
    verb: 'query_recovery',
    summary: 'Shows whether the system stands still, and why',
    options: {},
    async run(_values, { mdm }) {
      const { recovery } = await mdm.request('queryRecovery', {})
      if (recovery === null) return { text: 'The system does not stand still.', data: null }
      const why = recovery.why === 'imported' ? 'its configuration was imported' : 'its MDM has gone back in time'
      const lines = [
        `The system stands still: ${why}.`,
        ...recovery.missing.map(device => `    missing: ${device}`),
        ...recovery.newer.map(({ sds, detail }) => `    newer:   SDS ${sds}, ${detail}`),
        recovery.newer.length > 0
          ? 'Bring back the newest MDM directory, or go on from here with --accept_older_configuration.'
          : 'It goes on by itself when nothing is missing.',
      ]
      return { text: lines.join('\n'), data: recovery }
    },
  }),
  defineCommand({
    noun: 'configuration',
    action: 'accept-older',
    verb: 'accept_older_configuration',
    summary: 'Goes on with a configuration that is older than what SDSs know',
    options: { force: flag('also without the devices that have not said what they know') },
    confirm:
      'What SDSs know that is newer than this configuration becomes void: volumes that it does not have are deleted. Go on?',
    async run(values, { mdm }) {
      const voided = await mdm.request('acceptConfiguration', values.force ? { force: true } : {})
      const lines = [
        'The system goes on with this configuration. What became void:',
        `    ${voided.volumes.length} volumes that it does not know${listOf(voided.volumes)}`,
        `    ${voided.copiesDropped} copies that may be out of date: they are filled again`,
        `    ${voided.slicesMoved} slices go on from another copy than it says`,
        `    ${voided.slicesUnproven} slices go on from a copy that may not be the newest: the rest is lost`,
        `    ${voided.unheard.length} devices were not heard${listOf(voided.unheard)}`,
      ]
      return { text: lines.join('\n'), data: voided }
    },
  }),
]

function writeExport(file: string, content: string): void {
  try {
    writeAtomically(file, content)
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new StorageError('BAD_ARGUMENT', { detail: `${file} cannot be written: ${why}` }, { cause })
  }
}

function readExport(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new StorageError('NOT_FOUND', { detail: `${file} cannot be read: ${why}` }, { cause })
  }
}

const listOf = (items: readonly (string | number)[]): string =>
  items.length === 0 ? '' : `: ${items.slice(0, 10).join(', ')}${items.length > 10 ? ', …' : ''}`
