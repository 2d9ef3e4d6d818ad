import * as v from 'valibot'
import { StorageError } from '../base/errors.js'
import { sentence } from './schema.js'

/** The parameters, checked; the error names the field. */
export function check<Schema extends v.GenericSchema>(
  schema: Schema,
  params: unknown,
  name: string,
): v.InferOutput<Schema> {
  const refusal = (detail: string, field: string) => new StorageError('BAD_ARGUMENT', { detail, request: name, field })
  // To valibot, a list is an object without the fields.
  if (Array.isArray(params)) throw refusal('they are a list', 'params')
  const checked = v.safeParse(schema, params ?? {}, { abortEarly: true, message: sentence })
  if (checked.success) return checked.output
  const [issue] = checked.issues
  throw refusal(issue.message, v.getDotPath(issue) ?? 'params')
}
