import { StorageError } from '../base/errors.js'
import { isId, type SystemId } from '../base/ids.js'
import { checkStateFormat } from '../base/state-format.js'
import type { Random, StateDirectory } from '../ports/index.js'

/** Files guid, system, kernel-devices, flush-*. A later format brings its own upgrade from this one. */
const stateFormat = 1
const formatFile = 'format'
const guidFile = 'guid'
const systemFile = 'system'

/** Who this SDC is, over all its processes: from its state directory. */
export class SdcIdentity {
  readonly guid: string
  /** Names this process. */
  readonly processId: string
  #systemId: SystemId | null

  constructor(
    readonly state: StateDirectory,
    random: Random,
    { directory, systemId: configuredSystemId }: { directory: string; systemId: string | null },
  ) {
    const format = state.read(formatFile)?.toString().trim()
    checkStateFormat(format, stateFormat, directory)
    const guid = state.read(guidFile)?.toString().trim()
    this.guid = guid || random.hex(16)
    if (!guid) state.write(guidFile, `${this.guid}\n`)
    if (format === undefined) state.write(formatFile, `${stateFormat}\n`)
    this.processId = random.hex(16)
    const learned = state.read(systemFile)?.toString().trim()
    this.#systemId = isId(learned) ? (learned as SystemId) : null
    if (configuredSystemId === null) return
    if (this.#systemId !== null && this.#systemId !== configuredSystemId)
      throw new StorageError('WRONG_SYSTEM', {
        detail: 'this SDC has taken part in another system than its configuration names',
        have: this.#systemId,
        want: configuredSystemId,
        remedy: 'correct system.id, or give the SDC an empty directory',
      })
    this.#systemId = configuredSystemId as SystemId
  }

  /** null: not yet part of a system. */
  get systemId(): SystemId | null {
    return this.#systemId
  }

  /** Takes part in this system, and in no other from now on. */
  join(systemId: SystemId): void {
    this.#systemId = systemId
    if (this.state.read(systemFile)?.toString().trim() !== systemId) this.state.write(systemFile, `${systemId}\n`)
  }
}
