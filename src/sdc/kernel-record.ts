import type { StateDirectory } from '../ports/index.js'

const fileName = 'kernel-devices'

/**
 * Which volumes this SDC has attached to the kernel in this boot. Written before a device is attached, so that the next
 * process knows which of the attached devices are its own to take over, and touches no other SDC's.
 */
export class KernelRecord {
  readonly #volumes: Set<string>

  constructor(
    readonly state: StateDirectory,
    readonly bootId: string,
  ) {
    this.#volumes = new Set(readVolumes(state, bootId))
  }

  get volumeIds(): string[] {
    return [...this.#volumes]
  }

  has(volumeId: string): boolean {
    return this.#volumes.has(volumeId)
  }

  add(volumeId: string): void {
    if (this.#volumes.has(volumeId)) return
    this.#volumes.add(volumeId)
    this.#write()
  }

  remove(volumeId: string): void {
    if (this.#volumes.delete(volumeId)) this.#write()
  }

  #write(): void {
    this.state.write(fileName, JSON.stringify({ bootId: this.bootId, volumes: this.volumeIds }))
  }
}

/** After a reboot no device is attached; a file that cannot be read says nothing. */
function readVolumes(state: StateDirectory, bootId: string): string[] {
  try {
    const found = JSON.parse(state.read(fileName)?.toString() ?? '{}') as { bootId?: string; volumes?: unknown }
    if (found.bootId !== bootId || !Array.isArray(found.volumes)) return []
    return found.volumes.filter(id => typeof id === 'string')
  } catch {
    return []
  }
}
