import { GiB, KiB, MiB, TiB } from '../base/units.js'
import type { Endpoint } from '../model/objects.js'
import { ConfigMistake, type ConfigValue } from './keys.js'

function oneText(value: ConfigValue): string {
  if (typeof value === 'string') return value
  throw new ConfigMistake('one value is wanted, not a list')
}

const manyTexts = (value: ConfigValue): readonly string[] =>
  typeof value === 'string'
    ? value
        .split(',')
        .map(item => item.trim())
        .filter(item => item !== '')
    : value

export function parseText(value: ConfigValue): string {
  const text = oneText(value)
  if (text === '') throw new ConfigMistake('is empty')
  return text
}

export function parseBoolean(value: ConfigValue): boolean {
  const text = oneText(value)
  if (text === 'true' || text === 'on' || text === 'yes') return true
  if (text === 'false' || text === 'off' || text === 'no') return false
  throw new ConfigMistake('write true or false')
}

export function parseInteger(value: ConfigValue): number {
  const text = oneText(value)
  const number = Number(text)
  if (!/^[+-]?\d+$/.test(text) || !Number.isSafeInteger(number)) throw new ConfigMistake('a whole number is wanted')
  return number
}

/** The kernel's cpu_set_t has so many. */
const cpusMax = 1024

/** `2`, `0-3,8`: CPUs as taskset(1) and /proc spell them, each once and in order. */
export function parseCpus(value: ConfigValue): number[] {
  const cpus = new Set<number>()
  for (const range of manyTexts(value)) {
    const match = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(range)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? first)
    if (match === null || last < first || last >= cpusMax)
      throw new ConfigMistake(`"${range}" is no CPU or range of CPUs; write for example "2" or "0-3,8"`)
    for (let cpu = first; cpu <= last; cpu++) cpus.add(cpu)
  }
  if (cpus.size === 0) throw new ConfigMistake('is empty; write for example "2" or "0-3,8"')
  return [...cpus].sort((a, b) => a - b)
}

/** A parser that takes only these words. */
export const oneOf =
  <Word extends string>(...words: readonly Word[]) =>
  (value: ConfigValue): Word => {
    const word = words.find(word => word === value)
    if (word === undefined) throw new ConfigMistake(`write one of ${words.join(', ')}`)
    return word
  }

const sizeUnits: Record<string, number> = { B: 1, K: KiB, M: MiB, G: GiB, T: TiB }

/** `16 GiB`, `16G`, `512 B`; powers of 1024 whatever the spelling, as everywhere in ScaleIO. */
export function parseSizeBytes(value: ConfigValue): number {
  const text = oneText(value)
  const match = /^(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?|(B))?$/i.exec(text)
  if (match === null) throw new ConfigMistake('not a size, write for example "16 GiB" or "512 MiB"')
  const unit = (match[2] ?? match[3])?.toUpperCase()
  if (unit === undefined) throw new ConfigMistake(`missing unit, write "${text} GiB" or "${text} MiB"`)
  const bytes = Number(match[1]) * sizeUnits[unit]!
  if (!Number.isSafeInteger(bytes)) throw new ConfigMistake('not a whole number of bytes')
  return bytes
}

const durationUnits: Record<string, number> = { ms: 1, s: 1000, min: 60_000, h: 3_600_000 }

/** `5 s`, `250 ms`, `1 min`, `2 h`. */
export function parseDurationMs(value: ConfigValue): number {
  const text = oneText(value)
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|min|h)?$/.exec(text)
  if (match === null) throw new ConfigMistake('not a duration, write for example "5 s" or "250 ms"')
  if (match[2] === undefined)
    throw new ConfigMistake(`missing unit, write "${text} s" or "${Number(match[1]) * 1000} ms"`)
  return Number(match[1]) * durationUnits[match[2]]!
}

/** `127.0.0.1:9011`, `host.example:9011`, `[::1]:9011`. Port 0 lets the system pick one. */
export function parseEndpoint(value: ConfigValue): Endpoint {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/.exec(oneText(value))
  const port = Number(match?.[3])
  if (match === null || port > 65_535) throw new ConfigMistake('write host:port, for example "192.168.1.10:9011"')
  return { host: (match[1] ?? match[2])!, port }
}

export function parseEndpointList(value: ConfigValue): Endpoint[] {
  const endpoints = manyTexts(value).map(parseEndpoint)
  if (endpoints.length === 0) throw new ConfigMistake('at least one host:port is wanted')
  return endpoints
}

export function parsePath(value: ConfigValue): string {
  const path = parseText(value)
  if (!path.startsWith('/')) throw new ConfigMistake('an absolute path is wanted')
  return path
}

export const parsePathList = (value: ConfigValue): string[] => manyTexts(value).map(parsePath)
