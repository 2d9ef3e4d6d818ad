import { StorageError } from '../../base/errors.js'
import { nameLengthMax } from '../../base/limits.js'
import { type Volume, volumeIndexOf } from '../../model/index.js'

/** Throws BAD_ARGUMENT unless `name` is one that ScaleIO would take and that cannot be mistaken for an id. */
export function checkName(what: string, name: string): void {
  const refuse = (rule: string): never => {
    throw new StorageError('BAD_ARGUMENT', {
      detail: `the name of a ${what} ${rule}`,
      name: name.length > 64 ? `${name.slice(0, 64)}…` : name,
      remedy: `choose 1 to ${nameLengthMax} letters, digits and punctuation marks, without spaces`,
    })
  }
  if (name.length === 0) refuse('may not be empty')
  if (name.length > nameLengthMax) refuse(`has at most ${nameLengthMax} characters`)
  if (!/^[\x21-\x7e]+$/.test(name)) refuse('consists of letters, digits and punctuation marks')
  if (/^[0-9a-fA-F]{16}$/.test(name)) refuse('may not look like an id')
}

/** Throws ALREADY_EXISTS if another object among `others` has the name. */
export function checkUnique(
  what: string,
  name: string,
  others: Iterable<{ id: string; name: string }>,
  ownId?: string,
): void {
  for (const other of others)
    if (other.name === name && other.id !== ownId)
      throw new StorageError('ALREADY_EXISTS', {
        detail: `a ${what} of this name exists already`,
        name,
        id: other.id,
        remedy: 'choose another name',
      })
}

/** The same for volumes, of which there are many. */
export function checkVolumeName(table: ReadonlyMap<string, Volume>, name: string, ownId?: string): void {
  const id = volumeIndexOf(table).byName.get(name)
  const other = id && id !== ownId ? table.get(id) : undefined
  checkUnique('volume', name, other ? [other] : [])
}

/** A name for something that brings its own, made acceptable and unique. */
export function acceptableName(want: string, fallback: string, others: Iterable<{ name: string }>): string {
  const taken = new Set([...others].map(({ name }) => name))
  const cleaned = want.replace(/[^\x21-\x7e]/g, '-').slice(0, nameLengthMax)
  const usable = cleaned.length > 0 && !/^[0-9a-fA-F]{16}$/.test(cleaned)
  if (usable && !taken.has(cleaned)) return cleaned
  for (let suffix = 0; ; suffix++) {
    const name = suffix === 0 ? fallback : `${fallback}-${suffix}`
    if (!taken.has(name)) return name
  }
}
