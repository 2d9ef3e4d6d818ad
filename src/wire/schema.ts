/** What the schemas of messages and files are made of, and how what does not fit them is told. */
import * as v from 'valibot'

export const hexId = v.pipe(v.string(), v.regex(/^[0-9a-f]{16}$/, 'an id is 16 lower-case hexadecimal digits'))
export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0))
/** Neither infinite nor NaN. */
export const finite = v.pipe(v.number(), v.finite())

export const text = (lengthMin: number, lengthMax: number) =>
  v.pipe(v.string(), v.minLength(lengthMin), v.maxLength(lengthMax))

export const list = <Item extends v.GenericSchema>(item: Item, lengthMax: number) =>
  v.pipe(v.array(item), v.maxLength(lengthMax))

/** Of a text that was received, a sentence quotes at most so many characters. */
const quotedMax = 80

/** The sentence about one thing that does not fit; its place is told beside it. For `message` of valibot's calls. */
export function sentence({ input, expected, received, message }: v.BaseIssue<unknown>): string {
  if (expected === 'never') return 'there is no such field'
  if (input === undefined) return 'it is missing'
  // Valibot's sentences end with what was received, a text as it came, however long.
  if (typeof input !== 'string' || !received.startsWith('"')) return message
  const quoted = input.length > quotedMax ? `${input.slice(0, quotedMax)}…` : input
  return message.slice(0, message.length - received.length) + JSON.stringify(quoted)
}
