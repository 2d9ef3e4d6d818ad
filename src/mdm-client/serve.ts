import { StorageError } from '../base/errors.js'
import { check } from '../wire/check.js'
import { type ControlMessage, sdsRequests } from '../wire/control.js'
import type { MdmClientOptions } from './client.js'
import { errorToWire, type Send } from './request-table.js'

type Request = Extract<ControlMessage, { kind: 'request' }>

/** Answers what the MDM asks of this process. */
export async function serve(options: MdmClientOptions, { id, name, params }: Request, send: Send): Promise<void> {
  try {
    const result = await handle(options, name, params)
    send({ kind: 'answer', id, result: result ?? {} })
  } catch (error) {
    options.log.warn('mdm.requestFailed', { request: name, error: String(error) })
    send({ kind: 'answer', id, error: errorToWire(error) })
  }
}

async function handle({ onRequest }: MdmClientOptions, name: string, params: unknown): Promise<unknown> {
  if (onRequest === undefined || !Object.hasOwn(sdsRequests, name))
    throw new StorageError('BAD_REQUEST', { request: name, detail: 'this process does not answer such requests' })
  const known = name as keyof typeof sdsRequests
  return onRequest(known, check(sdsRequests[known], params, name) as never)
}
