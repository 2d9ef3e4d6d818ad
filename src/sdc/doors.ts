import { StorageError } from '../base/errors.js'
import type { SdcConfig } from '../config/sdc.js'
import type { Clock, Log } from '../ports/index.js'
import type { BlockBackend, ExportTable, listenNbd, NbdListener } from './nbd/index.js'

/** What contradicts itself between keys. */
export function checkDoors(config: SdcConfig): void {
  const wrong = (detail: string, remedy: string) => new StorageError('CONFIGURATION', { detail, remedy })
  if (config.nbdListen !== null && !config.nbdInsecure)
    throw wrong(
      'nbd.listen serves volumes to whoever reaches the address, and nbd.insecure is not true',
      'write nbd.insecure: true if that is meant, or use nbd.socket',
    )
  if (config.nbdSocket === null && config.nbdListen === null && config.kernel === 'off')
    throw wrong('the SDC would have no door', 'set nbd.socket, or kernel: auto')
}

/** The socket doors. */
export class Doors {
  readonly #listeners: NbdListener[] = []
  #port = 0

  constructor(readonly config: SdcConfig) {}

  async open(listen: typeof listenNbd, exports: ExportTable, options: { clock: Clock; log: Log }): Promise<void> {
    const { nbdSocket, nbdListen } = this.config
    if (nbdSocket !== null) this.#listeners.push(await listen({ socketPath: nbdSocket }, exports, options))
    if (nbdListen !== null) {
      const listener = await listen(nbdListen, exports, options)
      this.#listeners.push(listener)
      this.#port = listener.port
    }
  }

  /** What a client is given to open the export; empty without a socket door. */
  uriOf(name: string): string {
    const { nbdSocket, nbdListen } = this.config
    const path = encodeURIComponent(name)
    if (nbdSocket !== null)
      return `nbd+unix:///${path}?socket=${encodeURI(nbdSocket).replace(/[?#&+]/g, encodeURIComponent)}`
    if (nbdListen === null) return ''
    const host = nbdListen.host.includes(':') ? `[${nbdListen.host}]` : nbdListen.host
    return `nbd://${host}:${this.#port || nbdListen.port}/${path}`
  }

  async closeExport(backend: BlockBackend): Promise<void> {
    await Promise.all(this.#listeners.map(listener => listener.closeExport(backend)))
  }

  async close(): Promise<void> {
    await Promise.all(this.#listeners.splice(0).map(listener => listener.close()))
  }
}
