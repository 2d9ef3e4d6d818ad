import { createHash } from 'node:crypto'
import * as v from 'valibot'
import { parseDurationMs, parseEndpoint, parseSizeBytes } from '../../config/parse.js'
import { ioPolicySchema } from '../../wire/control.js'
import { count, finite, hexId as id } from '../../wire/schema.js'
import { sortedJson } from './state.js'

/**
 * The file of an exported configuration: JSON, one object a line, in the order of the ids. Objects are named by their
 * names, sizes and times have units, and slices with the same copies in the same epoch stand together. Each older
 * version keeps a small `upgrade` to the next one.
 */
export const exportFormat = 'blockmesh configuration'
export const exportVersion = 1

const limit = v.nullable(count)

/** A text that one of the configuration files' parsers reads; its own sentence says what is acceptable. */
const readBy = <Value>(parse: (text: string) => Value) =>
  v.pipe(
    v.string(),
    v.rawTransform(({ dataset: { value: text }, addIssue, NEVER }): Value => {
      try {
        return parse(text)
      } catch (error) {
        addIssue({ message: `${JSON.stringify(text)}: ${(error as Error).message}` })
        return NEVER
      }
    }),
  )
const bytes = readBy(parseSizeBytes)
const slices = readBy(parseRanges)

export const documentSchema = v.strictObject({
  format: v.literal(exportFormat),
  version: v.literal(exportVersion),
  digest: v.string(),
  system: v.strictObject({ id, name: v.string() }),
  /** How many changes the system had seen: tells an older export from a newer one. */
  mapVersion: count,
  /** The number that the next object gets. */
  nextNumber: count,
  protectionDomains: v.array(v.strictObject({ id, name: v.string() })),
  faultSets: v.array(v.strictObject({ id, name: v.string(), protectionDomain: v.string() })),
  pools: v.array(
    v.strictObject({
      id,
      name: v.string(),
      protectionDomain: v.string(),
      zeroPadding: v.boolean(),
      sparePercent: v.nullable(finite),
      sliceCount: count,
      limitPolicy: v.nullable(v.strictObject({ iops: count, bandwidthKbPerSecPerGb: count })),
      rebuildPolicy: v.optional(ioPolicySchema),
      rebalancePolicy: v.optional(ioPolicySchema),
      gracePeriod: v.optional(readBy(parseDurationMs)),
      /** The highest epoch that any of its slices ever had. */
      epochHigh: count,
    }),
  ),
  sdss: v.array(
    v.strictObject({
      id,
      name: v.string(),
      protectionDomain: v.string(),
      faultSet: v.nullable(v.string()),
      address: readBy(parseEndpoint),
      guid: v.string(),
      incarnation: count,
      processId: v.string(),
      maintenance: v.optional(v.literal(true)),
      removing: v.optional(v.literal(true)),
    }),
  ),
  devices: v.array(
    v.strictObject({
      id,
      name: v.string(),
      sds: v.string(),
      pool: v.string(),
      path: v.string(),
      originalPath: v.string(),
      capacity: bytes,
      state: v.picklist(['pending', 'ready', 'failed', 'removing']),
      waiting: v.optional(v.strictObject({ slices, sameBoot: v.boolean() })),
      incarnation: v.optional(count),
    }),
  ),
  volumes: v.array(
    v.strictObject({
      id,
      name: v.string(),
      protectionDomain: v.string(),
      pool: v.string(),
      size: bytes,
      type: v.picklist(['thin', 'thick']),
      sliceOffset: count,
    }),
  ),
  sdcs: v.array(v.strictObject({ id, name: v.string(), guid: v.string(), incarnation: count, processId: v.string() })),
  mappings: v.array(
    v.strictObject({
      id,
      volume: v.string(),
      sdc: v.string(),
      accessMode: v.picklist(['ReadWrite', 'ReadOnly']),
      iopsLimit: limit,
      bandwidthLimitKbPerSec: limit,
    }),
  ),
  /** Where the data are: per pool, its slices by the devices of their copies. */
  slices: v.array(
    v.strictObject({
      protectionDomain: v.string(),
      pool: v.string(),
      copies: v.array(
        v.strictObject({
          primary: v.string(),
          secondary: v.nullable(v.string()),
          joining: v.optional(v.string()),
          left: v.optional(v.string()),
          epoch: count,
          lossEpoch: v.optional(count),
          slices,
        }),
      ),
    }),
  ),
})

/** As written, and as read. */
export type Document = v.InferInput<typeof documentSchema>
export type ReadDocument = v.InferOutput<typeof documentSchema>

/** What stands in the file: over everything but itself, however it is laid out. */
export function documentDigest(document: object): string {
  const { digest: _, ...content } = document as { digest?: unknown }
  return `sha256:${createHash('sha256').update(sortedJson(content)).digest('hex')}`
}

/** `0 3-5 9`: ascending numbers, neighbours joined. */
export function formatRanges(numbers: readonly number[]): string {
  const ranges: string[] = []
  for (let at = 0; at < numbers.length; ) {
    const first = numbers[at]!
    let last = first
    while (numbers[at + 1] === last + 1) last = numbers[++at]!
    at++
    ranges.push(first === last ? `${first}` : `${first}-${last}`)
  }
  return ranges.join(' ')
}

const rangeEndMax = 2 ** 20

export function parseRanges(text: string): number[] {
  const numbers: number[] = []
  for (const range of text.split(' ').filter(part => part !== '')) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(range)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (!match || last < first || last > rangeEndMax) throw new Error(`write ascending numbers as in "0 3-5 9"`)
    if (numbers.length > 0 && first <= numbers.at(-1)!) throw new Error('the numbers ascend')
    for (let number = first; number <= last; number++) numbers.push(number)
  }
  return numbers
}
