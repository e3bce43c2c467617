/** A message as JSON, in the form that Apache's own converters give it. */
import { type Field, type Fields, inVersions, type MessageSchema } from '../../protocol/schema.ts'

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json }

function valueJson(field: Field, value: unknown, version: number): Json {
  if (value === null || value === undefined) return null
  if (field.type === 'array') {
    const { of } = field
    return (value as readonly unknown[]).map((item) =>
      typeof of === 'string'
        ? valueJson({ versions: '0+', type: of }, item, version)
        : fieldsJson(of as Fields, item as Record<string, unknown>, version),
    )
  }
  if (field.type === 'struct') {
    return fieldsJson(field.fields as Fields, value as Record<string, unknown>, version)
  }
  if (field.type === 'bytes') return (value as Buffer).toString('base64')
  if (typeof value === 'bigint') return Number(value)
  return value as Json
}

function fieldsJson(
  fields: Fields,
  message: Readonly<Record<string, unknown>>,
  version: number,
): { [name: string]: Json } {
  const json: { [name: string]: Json } = {}
  for (const [name, field] of Object.entries(fields)) {
    if (!inVersions(version, field.versions)) continue
    const value = message[name]
    // A tagged field is only there when it says something.
    if (inVersions(version, field.tagged) && value === (field.default ?? undefined)) continue
    json[name] = valueJson(field, value, version)
  }
  return json
}

/** The fields that the version has, by name; bytes are base64. */
export function messageJson(
  schema: MessageSchema,
  message: unknown,
  version: number,
): { [name: string]: Json } {
  return fieldsJson(schema.fields, message as Record<string, unknown>, version)
}
