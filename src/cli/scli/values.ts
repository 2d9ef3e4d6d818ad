import { isId } from '../../base/ids.js'
import { GiB } from '../../base/units.js'
import type { Endpoint } from '../../model/objects.js'
import { parseSize } from '../format/size.js'
import type { FlagOption, ValueOption } from './command.js'

/** The kinds of values that scli's options take. Parsers throw an Error that says what is acceptable. */

export const flag = (help: string): FlagOption => ({ placeholder: null, help })

export const text = (placeholder: string, help: string): ValueOption<string> => ({
  placeholder,
  help,
  parse: given => {
    if (given === '') throw new Error('must not be empty')
    return given
  },
})

export const nameValue = (help: string): ValueOption<string> => text('NAME', help)

export const idValue = (help: string): ValueOption<string> => ({
  placeholder: 'ID',
  help,
  parse: given => {
    const id = given.toLowerCase().replace(/^0x/, '')
    if (!isId(id)) throw new Error('an id is 16 hexadecimal digits')
    return id
  },
})

export const wholeNumber = (
  placeholder: string,
  help: string,
  range: { min: number; max: number },
): ValueOption<number> => ({
  placeholder,
  help,
  parse: given => {
    const value = Number(given)
    if (!/^\d+$/.test(given) || value < range.min || value > range.max)
      throw new Error(`must be a whole number from ${range.min} to ${range.max}`)
    return value
  },
})

/** GB, also written with a unit (`1.5T`, `8GB`). The answer is in bytes. */
export const sizeGb = (help: string): ValueOption<number> => ({
  placeholder: 'GB',
  help,
  parse: given => {
    const bytes = /^\d+$/.test(given) ? Number(given) * GiB : parseSize(given, 'the size')
    if (bytes <= 0 || !Number.isSafeInteger(bytes)) throw new Error('must be more than 0 GB')
    return bytes
  },
})

/** A limit: a whole number, 0 for none, or `policy` (null) for what the storage pool's policy says. */
export const limitValue = (placeholder: string, help: string): ValueOption<number | null> => ({
  placeholder,
  help,
  parse: given => {
    if (given === 'policy') return null
    if (!/^\d+$/.test(given)) throw new Error('must be a whole number, 0 for unlimited, or "policy"')
    return Number(given)
  },
})

export const oneOf = <const T extends string>(choices: readonly T[], help: string): ValueOption<T> => ({
  placeholder: choices.join('|'),
  help,
  parse: given => {
    const found = choices.find(choice => choice.toLowerCase() === given.toLowerCase())
    if (!found) throw new Error(`must be one of ${choices.join(', ')}`)
    return found
  },
})

export function parseAddress(given: string, portDefault: number): Endpoint {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d+))?$/.exec(given.trim())
  const port = match?.[3] === undefined ? portDefault : Number(match[3])
  if (!match || port < 1 || port > 65535) throw new Error('must be HOST, HOST:PORT or [IPV6]:PORT')
  return { host: match[1] ?? match[2]!, port }
}

export const addressList = (help: string, portDefault: number): ValueOption<Endpoint[]> => ({
  placeholder: 'HOST[:PORT],…',
  help,
  parse: given => given.split(',').map(part => parseAddress(part, portDefault)),
})
