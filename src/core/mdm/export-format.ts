import { createHash } from 'node:crypto'
import { z } from 'zod'
import { parseDurationMs, parseEndpoint, parseSizeBytes } from '../../config/parse.js'
import { ioPolicySchema } from '../../wire/control.js'
import { sortedJson } from './state.js'

/**
 * The file of an exported configuration: JSON, one object a line, in the order of the ids. Objects are named by their
 * names, sizes and times have units, and slices with the same copies in the same epoch stand together. Each older
 * version keeps a small `upgrade` to the next one.
 */
export const exportFormat = 'blockmesh configuration'
export const exportVersion = 1

const id = z.string().regex(/^[0-9a-f]{16}$/, 'an id is 16 lower-case hexadecimal digits')
const count = z.number().int().nonnegative()
const limit = count.nullable()

/** A text that one of the configuration files' parsers reads; its own sentence says what is acceptable. */
const readBy = <Value>(parse: (text: string) => Value) =>
  z.string().transform((text, context): Value => {
    try {
      return parse(text)
    } catch (error) {
      context.addIssue({ code: 'custom', message: `${JSON.stringify(text)}: ${(error as Error).message}` })
      return z.NEVER
    }
  })
const bytes = readBy(parseSizeBytes)
const slices = readBy(parseRanges)

export const documentSchema = z.strictObject({
  format: z.literal(exportFormat),
  version: z.literal(exportVersion),
  digest: z.string(),
  system: z.strictObject({ id, name: z.string() }),
  /** How many changes the system had seen: tells an older export from a newer one. */
  mapVersion: count,
  /** The number that the next object gets. */
  nextNumber: count,
  protectionDomains: z.array(z.strictObject({ id, name: z.string() })),
  faultSets: z.array(z.strictObject({ id, name: z.string(), protectionDomain: z.string() })),
  pools: z.array(
    z.strictObject({
      id,
      name: z.string(),
      protectionDomain: z.string(),
      zeroPadding: z.boolean(),
      sparePercent: z.number().nullable(),
      sliceCount: count,
      limitPolicy: z.strictObject({ iops: count, bandwidthKbPerSecPerGb: count }).nullable(),
      rebuildPolicy: ioPolicySchema.optional(),
      rebalancePolicy: ioPolicySchema.optional(),
      gracePeriod: readBy(parseDurationMs).optional(),
      /** The highest epoch that any of its slices ever had. */
      epochHigh: count,
    }),
  ),
  sdss: z.array(
    z.strictObject({
      id,
      name: z.string(),
      protectionDomain: z.string(),
      faultSet: z.string().nullable(),
      address: readBy(parseEndpoint),
      guid: z.string(),
      incarnation: count,
      processId: z.string(),
      maintenance: z.literal(true).optional(),
      removing: z.literal(true).optional(),
    }),
  ),
  devices: z.array(
    z.strictObject({
      id,
      name: z.string(),
      sds: z.string(),
      pool: z.string(),
      path: z.string(),
      originalPath: z.string(),
      capacity: bytes,
      state: z.enum(['pending', 'ready', 'failed', 'removing']),
      waiting: z.strictObject({ slices, sameBoot: z.boolean() }).optional(),
      incarnation: count.optional(),
    }),
  ),
  volumes: z.array(
    z.strictObject({
      id,
      name: z.string(),
      protectionDomain: z.string(),
      pool: z.string(),
      size: bytes,
      type: z.enum(['thin', 'thick']),
      sliceOffset: count,
    }),
  ),
  sdcs: z.array(z.strictObject({ id, name: z.string(), guid: z.string(), incarnation: count, processId: z.string() })),
  mappings: z.array(
    z.strictObject({
      id,
      volume: z.string(),
      sdc: z.string(),
      accessMode: z.enum(['ReadWrite', 'ReadOnly']),
      iopsLimit: limit,
      bandwidthLimitKbPerSec: limit,
    }),
  ),
  /** Where the data are: per pool, its slices by the devices of their copies. */
  slices: z.array(
    z.strictObject({
      protectionDomain: z.string(),
      pool: z.string(),
      copies: z.array(
        z.strictObject({
          primary: z.string(),
          secondary: z.string().nullable(),
          joining: z.string().optional(),
          left: z.string().optional(),
          epoch: count,
          lossEpoch: count.optional(),
          slices,
        }),
      ),
    }),
  ),
})

/** As written, and as read. */
export type Document = z.input<typeof documentSchema>
export type ReadDocument = z.output<typeof documentSchema>

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
