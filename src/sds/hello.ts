import { StorageError } from '../base/errors.js'
import { type DeviceId, idOfNumber, isId, objectNumberMax, type SystemId } from '../base/ids.js'
import { decode } from '../wire/codec.js'
import type { DataFrame, DataHello, DataWelcome } from '../wire/data.js'
import type { SdsContext } from './context.js'

const helloBytesMax = 4_096

/** null if it is not a hello. */
export function parseHello(frame: DataFrame): DataHello | null {
  if (frame.bodyBytes > helloBytesMax) return null
  try {
    const hello = decode(Buffer.concat(frame.body)) as DataHello
    const counts = [hello.client, hello.incarnation, hello.counter, hello.mapVersion]
    const isSound =
      isId(hello.systemId) &&
      (hello.kind === 'lease' ? hello.deviceId === '' : isId(hello.deviceId)) &&
      ['sdc', 'sds', 'check', 'lease'].includes(hello.kind) &&
      counts.every(count => Number.isSafeInteger(count) && count >= 0) &&
      hello.client <= objectNumberMax
    return isSound ? hello : null
  } catch {
    return null
  }
}

/** What a hello was answered with; null if it is not that. */
export function parseWelcome(frame: DataFrame): DataWelcome | null {
  try {
    const welcome = decode(Buffer.concat(frame.body)) as DataWelcome
    return isId(welcome.sdsId) && Number.isSafeInteger(welcome.mapVersion) ? welcome : null
  } catch {
    return null
  }
}

/**
 * The highest (incarnation, counter) that each client has shown at each device. Kept when sessions end, so that what an
 * older session left in the network is never served after a newer one.
 */
export class Seniority {
  readonly #highest = new Map<string, { incarnation: number; counter: number }>()

  /** True, and remembered, if the session is newer than all before. */
  admit({ deviceId, kind, client, incarnation, counter }: DataHello): boolean {
    const key = `${deviceId} ${kind} ${client}`
    const have = this.#highest.get(key)
    const isNewer =
      have === undefined ||
      incarnation > have.incarnation ||
      (incarnation === have.incarnation && counter > have.counter)
    if (isNewer) this.#highest.set(key, { incarnation, counter })
    return isNewer
  }
}

/** Why a session is not welcomed, or null. */
export function checkHello(context: SdsContext, seniority: Seniority, hello: DataHello): StorageError | null {
  const { deviceId } = hello
  if (context.systemId !== null && hello.systemId !== context.systemId)
    return new StorageError('WRONG_SYSTEM', { have: hello.systemId, want: context.systemId })
  if (!context.isServing || context.isStopping) return new StorageError('NOT_READY', { sds: context.sdsId ?? 'none' })
  if (hello.kind === 'lease')
    return checkClient(context, hello) ?? (seniority.admit(hello) ? null : noSession(hello, 'a newer session is known'))
  const device = context.devices.get(deviceId as DeviceId)
  if (device === undefined) return new StorageError('NOT_FOUND', { detail: 'this SDS has no such device', deviceId })
  if (!device.registered) return new StorageError('NOT_READY', { deviceId })
  if (hello.kind === 'check') return null
  return checkClient(context, hello) ?? (seniority.admit(hello) ? null : noSession(hello, 'a newer session is known'))
}

/** Incarnations are part of the map: a process that was replaced is refused, also by who never met the new one. */
function checkClient(context: SdsContext, hello: DataHello): StorageError | null {
  const tables = context.tables()
  const id = idOfNumber(context.systemId as SystemId, hello.client)
  const client = hello.kind === 'sdc' ? tables.sdcs.get(id) : tables.sdss.get(id)
  const isAhead = hello.mapVersion > context.view.version
  if (client === undefined) return isAhead ? new StorageError('NOT_READY', {}) : noSession(hello, 'no such client')
  if (hello.incarnation < client.incarnation) return noSession(hello, 'a newer process is registered')
  if (hello.incarnation > client.incarnation) return new StorageError('NOT_READY', { incarnation: hello.incarnation })
  return null
}

const noSession = ({ kind, client, incarnation, counter }: DataHello, detail: string): StorageError =>
  new StorageError('NO_SESSION', { detail, kind, client, incarnation, counter })
