import { join } from 'node:path'
import { StorageError } from '../base/errors.js'
import { isId } from '../base/ids.js'
import { checkStateFormat } from '../base/state-format.js'
import type { MetaStore, MetaValue, Ports } from '../ports/index.js'

/** guid, systemId, leaseMs, device + path. A later format brings its own upgrade from this one. */
const stateFormat = 1

/** What an SDS keeps about itself in its state directory; opening it also keeps a second process out. */
export interface SdsState {
  /** Names this installation for ever. */
  guid: string
  /** The system that it takes part in, once it has met it. */
  systemId: string | null
  learnSystem(systemId: string): Promise<void>
  /** Notes the lease that this process grants; returns the longest one that it or an earlier process may have granted. */
  noteLease(leaseMs: number): Promise<number>
  /** Where devices were last opened: looked at first, so that they are there when the SDS registers. */
  readonly devicePaths: readonly string[]
  noteDevicePath(path: string): void
  forgetDevicePath(path: string): void
  close(): Promise<void>
}

export async function openState(ports: Ports, directory: string, wantSystemId: string | null): Promise<SdsState> {
  const store = await ports.metaStores.open(join(directory, 'state'))
  try {
    checkStateFormat(store.get(['format']), stateFormat, directory)
    let guid = store.get(['guid'])
    if (typeof guid !== 'string') {
      guid = ports.random.hex(16)
      await keep(store, 'guid', guid)
    }
    if (store.get(['format']) === undefined) await keep(store, 'format', stateFormat)
    const have = store.get(['systemId'])
    if (isId(have) && wantSystemId !== null && have !== wantSystemId)
      throw new StorageError('WRONG_SYSTEM', {
        detail: 'system.id names another system than the one that this SDS belongs to',
        directory,
        have,
        want: wantSystemId,
        remedy: 'correct system.id, or name a new directory',
      })
    return new State(store, guid as string, isId(have) ? have : wantSystemId)
  } catch (error) {
    await store.close()
    throw error
  }
}

class State implements SdsState {
  constructor(
    readonly store: MetaStore,
    readonly guid: string,
    public systemId: string | null,
  ) {}

  async learnSystem(systemId: string): Promise<void> {
    if (this.store.get(['systemId']) !== systemId) await keep(this.store, 'systemId', systemId)
    this.systemId = systemId
  }

  async noteLease(leaseMs: number): Promise<number> {
    const have = this.store.get(['leaseMs'])
    if (have !== leaseMs) await keep(this.store, 'leaseMs', leaseMs)
    return typeof have === 'number' ? Math.max(have, leaseMs) : leaseMs
  }

  get devicePaths(): string[] {
    return [...this.store.range(['device'])].map(({ key }) => String(key[1]))
  }

  /** A hint: whether it is kept decides nothing. */
  noteDevicePath(path: string): void {
    this.store.commit([{ put: ['device', path], value: true }], () => {})
  }

  forgetDevicePath(path: string): void {
    this.store.commit([{ drop: ['device', path] }], () => {})
  }

  close(): Promise<void> {
    return this.store.close()
  }
}

async function keep(store: MetaStore, name: string, value: MetaValue): Promise<void> {
  const done = (resolve: () => void, reject: (error: Error) => void) => (error: string | null) =>
    error === null ? resolve() : reject(new StorageError('MEDIA_ERROR', { detail: `the state directory: ${error}` }))
  await new Promise<void>((resolve, reject) => store.commit([{ put: [name], value }], done(resolve, reject)))
  await new Promise<void>((resolve, reject) => store.flush(done(resolve, reject)))
}
