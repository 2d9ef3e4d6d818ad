import { StorageError } from './errors.js'

declare const kind: unique symbol

/**
 * An id knows what it identifies. Every id is 16 lower-case hexadecimal digits, as ScaleIO's clients expect. The lower
 * eight are the object's *number*, which the MDM counts up per system over all kinds and never uses again; the wire and
 * the devices use the number alone.
 */
export type Id<Kind extends string> = string & { readonly [kind]: Kind }

export type SystemId = Id<'system'>
export type ProtectionDomainId = Id<'protectionDomain'>
export type FaultSetId = Id<'faultSet'>
export type PoolId = Id<'pool'>
export type SdsId = Id<'sds'>
export type DeviceId = Id<'device'>
export type VolumeId = Id<'volume'>
export type SdcId = Id<'sdc'>
export type MappingId = Id<'mapping'>
export type MdmId = Id<'mdm'>

/** Volume numbers stay below this, so that (volume, chunk) is one safe integer: see `chunkKey`. */
export const objectNumberMax = 2 ** 22 - 1

/** The number in the lower half of an id. */
export const numberOfId = (id: Id<string>): number => Number.parseInt(id.slice(8), 16)

/** The id of object `number` in `systemId`'s system: upper half from the system, lower half the number. */
export function idOfNumber<Kind extends string>(systemId: SystemId, number: number): Id<Kind> {
  if (number > objectNumberMax)
    throw new StorageError('LIMIT_REACHED', { what: 'object numbers', max: objectNumberMax })
  return (systemId.slice(0, 8) + number.toString(16).padStart(8, '0')) as Id<Kind>
}

const known = new Map<string, string>()

/**
 * The same id as the one string that everybody has who asks here. Strings that were cut from a message keep all of it in
 * memory, and are compared letter by letter; ids that are kept and compared for each request should not be.
 */
export function sameId<Kind extends string>(id: Id<Kind>): Id<Kind> {
  let same = known.get(id)
  if (same === undefined) {
    same = Buffer.from(id).toString('latin1')
    known.set(same, same)
  }
  return same as Id<Kind>
}

export const isId = (text: unknown): text is Id<string> => typeof text === 'string' && /^[0-9a-f]{16}$/.test(text)

/** One safe integer for (volume number, chunk index): 22 bits and 30 bits. */
export const chunkKey = (volume: number, chunk: number): number => volume * 2 ** 30 + chunk
