import { StorageError } from '../../../base/errors.js'
import { objectNumberMax } from '../../../base/ids.js'
import type { MapChange, Recovery, Sdc, Sds, System } from '../../../model/index.js'
import { checkSlices, holdingDevices } from '../../placement/index.js'
import type { CommandKind } from '../commands.js'
import { changesOf } from '../configuration.js'
import { type Deciders, done, drop, find, kindOf, put, rows } from '../decider.js'
import { checkConfiguration } from '../export-check.js'
import type { MdmState } from '../state.js'

/** Numbers left out where objects may have been made that this configuration does not know. */
export const numbersSkipped = 65_536
/** Likewise incarnations: processes may have been registered. */
export const incarnationsSkipped = 2 ** 20

/** Configurations that take the place of a newer one: imports, and MDMs that had gone back in time. */
export const configurationDeciders: Deciders<'importConfiguration' | 'suspectConfiguration' | 'acceptConfiguration'> = {
  importConfiguration(state, { configuration, era }) {
    checkEmpty(state)
    const mistakes = checkConfiguration(configuration)
    if (mistakes.length > 0)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `the configuration is not sound: ${mistakes[0]}`,
        mistakes: mistakes.length,
      })
    const { system, nextNumber, epochHigh, tables } = configuration
    const epochs = new Map(epochHigh)
    const recovering = {
      ...configuration,
      tables: {
        ...tables,
        pools: tables.pools.map(pool => ({ ...pool, epochsFrom: epochs.get(pool.id) ?? 0 })),
        sdss: tables.sdss.map(withoutProcess),
        sdcs: tables.sdcs.map(withoutProcess),
      },
    }
    const forgotten = [...rows(state, 'sdcs'), ...rows(state, 'systems')]
    return done(
      ...forgotten.map(({ id }) => drop(state.map.tables.sdcs.has(id) ? 'sdcs' : 'systems', id)),
      put('systems', standingStill(system, nextNumber, era, 'imported')),
      ...changesOf(recovering),
    )
  },

  suspectConfiguration(state, { era }) {
    const system = theSystem(state)
    if (system.recovery) return done()
    const processes: MapChange[] = [
      ...rows(state, 'sdss').map(sds => put('sdss', withoutProcess(sds))),
      ...rows(state, 'sdcs').map(sdc => put('sdcs', withoutProcess(sdc))),
    ]
    return done(put('systems', standingStill(system, state.nextNumber, era, 'behind')), ...processes)
  },

  acceptConfiguration(state, { numbersFrom, pools }) {
    const { recovery, ...system } = theSystem(state)
    if (!recovery)
      throw new StorageError('BAD_ARGUMENT', {
        detail: 'there is nothing to accept: no SDS has been seen that knows a newer configuration',
      })
    const changes: MapChange[] = []
    for (const { poolId, epochsFrom, slices } of pools) {
      const pool = find(state, 'pools', poolId)
      const known = state.epochHigh.get(poolId) ?? 0
      if (epochsFrom <= known || slices?.some(({ epoch }) => epoch <= known))
        throw new StorageError('PLACEMENT', { detail: 'every epoch goes above all that were seen', pool: pool.name })
      if ((slices === null) === state.map.slices.has(poolId))
        throw new StorageError('PLACEMENT', { detail: 'a pool keeps its slice table', pool: pool.name })
      changes.push(put('pools', { ...pool, epochsFrom }))
      if (slices === null) continue
      checkSlices(holdingDevices(state.map, poolId), pool.sliceCount, slices)
      changes.push({ kind: 'slices', poolId, slices })
    }
    return done(put('systems', { ...system, numbersFrom: Math.max(state.nextNumber, numbersFrom) }), ...changes)
  },
}

/** Throws CONFIGURATION where the system stands still: nobody may rely on a configuration that may be an older one. */
export function checkNotRecovering(state: MdmState, kind: CommandKind): void {
  const recovery = recoveryOf(state)
  if (!recovery || Object.hasOwn(configurationDeciders, kind)) return
  const why = recovery.why === 'imported' ? 'it was imported' : 'an SDS knows a newer one'
  throw new StorageError('CONFIGURATION', {
    detail: `the system stands still, as its configuration may be an older one: ${why}`,
    remedy:
      'bring back the newest MDM directory, or let all SDSs connect; scli --accept_older_configuration goes on from here',
  })
}

/** Set while the system stands still. */
export const recoveryOf = (state: MdmState): Recovery | undefined => rows(state, 'systems')[0]?.recovery

function standingStill(system: System, nextNumber: number, era: string, why: Recovery['why']): System {
  const numbersFrom = Math.min(nextNumber + numbersSkipped, objectNumberMax)
  return { ...system, era, recovery: { why, unknownFrom: nextNumber }, numbersFrom }
}

/** The next process to register, whichever that is, gets an incarnation above all that there may have been. */
const withoutProcess = <Process extends Sds | Sdc>(process: Process): Process => ({
  ...process,
  processId: '',
  incarnation: process.incarnation + incarnationsSkipped,
})

function theSystem(state: MdmState): System {
  const [system] = rows(state, 'systems')
  if (!system) throw new StorageError('NOT_FOUND', { detail: 'there is no system yet' })
  return system
}

/** SDCs come by themselves and come again; everything else was made by people. */
function checkEmpty(state: MdmState): void {
  if (rows(state, 'mdms').length > 1)
    throw new StorageError('IN_USE', {
      detail: 'a configuration is imported only into a single MDM',
      mdms: rows(state, 'mdms').length,
      remedy: 'import it into the first one, and attach the others afterwards',
    })
  for (const table of ['protectionDomains', 'sdss', 'pools', 'devices', 'volumes'] as const) {
    const [first] = rows(state, table)
    if (first)
      throw new StorageError('IN_USE', {
        detail: `a configuration is imported only into a new MDM; this one has a ${kindOf(table)} already`,
        name: first.name,
        remedy: 'start the MDM in an empty directory, and import before anything else',
      })
  }
}
