/**
 * Random messages made from a table, their codec without static types, and the walk that compares
 * them with what was decoded: a `records` field goes in as bytes and comes out as a place.
 */
import fc from 'fast-check'
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  type ApiSchema,
  type Field,
  type Fields,
  inVersions,
  type Primitive,
  parseVersions,
  type UnknownTaggedField,
  ZERO_UUID,
} from '../../src/protocol/schema.ts'

export type Value = unknown
export type Struct = { [name: string]: Value }

export const DIRECTIONS = ['request', 'response'] as const
export type Direction = (typeof DIRECTIONS)[number]

/** Every version of a table, ascending. */
export function versionsOf(schema: { readonly versions: string }): number[] {
  const { min, max } = parseVersions(schema.versions)
  return Array.from({ length: max - min + 1 }, (_, index) => min + index)
}

/** `flexible` of an API in a version. */
export function flexibleIn(api: Pick<ApiSchema, 'flexible'>, version: number): boolean {
  return inVersions(version, api.flexible)
}

const text = fc.string({ unit: 'binary', maxLength: 8 })
const buffer = fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes))

/** All within what a number holds exactly, as saturation is tested by itself. */
const primitives: { readonly [P in Primitive]: fc.Arbitrary<Value> } = {
  bool: fc.boolean(),
  int8: fc.integer({ min: -128, max: 127 }),
  int16: fc.integer({ min: -32_768, max: 32_767 }),
  uint16: fc.integer({ min: 0, max: 65_535 }),
  int32: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  uint32: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  int64: fc.maxSafeInteger(),
  int64exact: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  float64: fc.double({ noNaN: true }),
  uuid: fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString('base64url')),
  string: text,
  bytes: buffer,
  records: buffer,
}

/** The value of a field that a version lacks. */
export function defaultOf(field: Field): Value {
  if (field.default !== undefined) return field.default
  switch (field.type) {
    case 'bool':
      return false
    case 'string':
      return ''
    case 'uuid':
      return ZERO_UUID
    case 'bytes':
      return Buffer.alloc(0)
    case 'records':
      return null
    case 'int64exact':
      return 0n
    case 'array':
      return []
    case 'struct':
      return Object.fromEntries(
        Object.entries(field.fields ?? {}).map(([name, member]) => [name, defaultOf(member)]),
      )
    default:
      return 0
  }
}

function arbitraryField(field: Field, version: number, flexible: boolean): fc.Arbitrary<Value> {
  let value: fc.Arbitrary<Value>
  if (field.type === 'array') {
    const of = field.of as Primitive | Fields
    const element = typeof of === 'string' ? primitives[of] : arbitraryStruct(of, version, flexible)
    value = fc.array(element, { maxLength: 3 })
  } else if (field.type === 'struct') {
    value = arbitraryStruct(field.fields as Fields, version, flexible)
  } else {
    value = primitives[field.type]
  }
  if (inVersions(version, field.nullable)) value = fc.option(value, { freq: 4 })
  if (inVersions(version, field.tagged)) {
    value = fc.oneof({ weight: 3, arbitrary: value }, fc.constant(defaultOf(field)))
  }
  return value
}

function unknownFields(fields: Fields, version: number): fc.Arbitrary<UnknownTaggedField[]> {
  const known = new Set(
    Object.values(fields)
      .filter((field) => inVersions(version, field.tagged))
      .map((field) => field.tag),
  )
  const tag = fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 2 ** 31 - 1 }))
  return fc
    .uniqueArray(fc.record({ tag, bytes: buffer }), { maxLength: 2, selector: ({ tag }) => tag })
    .map((list) => list.filter((one) => !known.has(one.tag)).sort((a, b) => a.tag - b.tag))
}

/** Any value that a table of fields can have in a version, complete as a decoder gives it. */
export function arbitraryStruct(
  fields: Fields,
  version: number,
  flexible: boolean,
): fc.Arbitrary<Struct> {
  const members: { [name: string]: fc.Arbitrary<Value> } = {}
  for (const [name, field] of Object.entries(fields)) {
    members[name] = inVersions(version, field.versions)
      ? arbitraryField(field, version, flexible)
      : fc.constant(defaultOf(field))
  }
  const struct: fc.Arbitrary<Struct> = fc.record(members, { noNullPrototype: true })
  if (!flexible) return struct
  const unknown = fc.option(unknownFields(fields, version), { nil: [], freq: 1 })
  return fc.tuple(struct, unknown).map(([value, unknownTaggedFields]) => {
    return unknownTaggedFields.length === 0 ? value : { ...value, unknownTaggedFields }
  })
}

/** A decoded value with the bytes of its records in the place of their places. */
export function withRecordsRead(fields: Fields, value: Struct, frame: Buffer): Struct {
  const read: Struct = { ...value }
  for (const [name, field] of Object.entries(fields)) {
    const member = value[name]
    if (member === null || member === undefined) continue
    if (field.type === 'records') {
      const { position, bytes } = member as { position: number; bytes: number }
      read[name] = frame.subarray(position, position + bytes)
    } else if (field.type === 'array' && typeof field.of === 'object') {
      const of = field.of
      read[name] = (member as Struct[]).map((element) => withRecordsRead(of, element, frame))
    } else if (field.type === 'struct') {
      read[name] = withRecordsRead(field.fields as Fields, member as Struct, frame)
    }
  }
  return read
}

const writer = new MessageWriter()
const reader = new MessageReader()

/** The body of a message whose type is known at run time only. */
export function encodeAny(
  api: ApiSchema,
  direction: Direction,
  version: number,
  value: Struct,
): Buffer {
  writer.reset()
  // The value was made from the same table.
  if (direction === 'request') encodeRequest(api, version, writer, value as never)
  else encodeResponse(api, version, writer, value as never)
  return Buffer.from(writer.written)
}

/** Decodes a body that fills `bytes`. */
export function decodeAny(
  api: ApiSchema,
  direction: Direction,
  version: number,
  bytes: Buffer,
): Struct {
  reader.reset(bytes, 0, bytes.length, false)
  const decoder = direction === 'request' ? decodeRequest : decodeResponse
  const value = decoder(api, version, reader)
  reader.expectEnd()
  return value
}
