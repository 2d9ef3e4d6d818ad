import type { z } from 'zod'
import { StorageError } from '../base/errors.js'

/** The parameters, checked; the error names the field. */
export function check<Schema extends z.ZodType>(schema: Schema, params: unknown, name: string): z.infer<Schema> {
  const checked = schema.safeParse(params ?? {})
  if (checked.success) return checked.data
  const issue = checked.error.issues[0]
  throw new StorageError('BAD_ARGUMENT', {
    detail: issue?.message ?? 'malformed',
    request: name,
    field: issue?.path.join('.') || 'params',
  })
}
