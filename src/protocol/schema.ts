/**
 * How a message is declared: one table per API, all versions, both directions. The types of
 * requests and responses are inferred from the table and their codecs generated from it
 * (`codec.ts`), so that a field is written down once.
 */

/** A range of versions: `0+`, `3-5`, `2` or `none`. */
export type Versions = string

export type Primitive =
  | 'bool'
  | 'int8'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'int64exact'
  | 'float64'
  | 'uuid'
  | 'string'
  | 'bytes'
  | 'records'

export interface Field {
  readonly versions: Versions
  readonly type: Primitive | 'array' | 'struct'
  /** Of an array: what it holds. */
  readonly of?: Primitive | Fields
  /** Of a struct. */
  readonly fields?: Fields
  readonly nullable?: Versions
  /** Value in versions that lack the field. Without it: 0, false, '', [] or the zero uuid. */
  readonly default?: number | boolean | string | bigint | null
  /** In flexible versions the field is written as a tagged field with this number. */
  readonly tag?: number
  readonly tagged?: Versions
  /** May be dropped silently when a version lacks it. */
  readonly ignorable?: true
  /** The writer notes where it put this fixed-width field, so that it can be patched later. */
  readonly hole?: true
}

export interface Fields {
  readonly [name: string]: Field
}

export interface MessageSchema {
  readonly name: string
  readonly versions: Versions
  readonly flexible: Versions
  readonly fields: Fields
}

export interface ApiSchema {
  readonly key: number
  readonly name: string
  /** What is served and advertised. */
  readonly versions: Versions
  readonly flexible: Versions
  readonly request: Fields
  readonly response: Fields
}

/** Where a `records` field is: bytes in the frame it was read from, or bytes yet to be inserted. */
export interface RecordsPlace {
  /** Of the first byte, in the frame. */
  readonly position: number
  readonly bytes: number
}

/** What a `records` field is written from: a payload that is inserted later, or bytes. */
export type RecordsInput = { readonly bytes: number } | Uint8Array

/** A tagged field that no table knows; kept so that it can be written again. */
export interface UnknownTaggedField {
  readonly tag: number
  readonly bytes: Buffer
}

interface PrimitiveTypes {
  bool: boolean
  int8: number
  int16: number
  uint16: number
  int32: number
  uint32: number
  int64: number
  int64exact: bigint
  float64: number
  uuid: string
  string: string
  bytes: Buffer
  records: RecordsPlace
}

type Nullable<F> = F extends { readonly nullable: string } ? null : never

type Decoded<F> = F extends { readonly type: 'array'; readonly of: infer O }
  ? O extends Primitive
    ? PrimitiveTypes[O][]
    : StructOf<O>[]
  : F extends { readonly type: 'struct'; readonly fields: infer S }
    ? StructOf<S>
    : F extends { readonly type: infer P }
      ? P extends Primitive
        ? PrimitiveTypes[P]
        : never
      : never

/** The value that a table of fields decodes to: the same type in every version. */
export type StructOf<S> = { -readonly [K in keyof S]: Decoded<S[K]> | Nullable<S[K]> } & {
  /** In the order of their tags; only in flexible versions. */
  unknownTaggedFields?: UnknownTaggedField[] | undefined
}

interface InputTypes extends Omit<PrimitiveTypes, 'bytes' | 'records'> {
  bytes: Uint8Array
  records: RecordsInput
}

type Input<F> = F extends { readonly type: 'array'; readonly of: infer O }
  ? O extends Primitive
    ? readonly InputTypes[O][]
    : readonly InputOf<O>[]
  : F extends { readonly type: 'struct'; readonly fields: infer S }
    ? InputOf<S>
    : F extends { readonly type: infer P }
      ? P extends Primitive
        ? InputTypes[P]
        : never
      : never

type OptionalKeys<S> = {
  [K in keyof S]: S[K] extends { readonly versions: '0+' }
    ? S[K] extends { readonly default: unknown } | { readonly tag: number }
      ? K
      : never
    : K
}[keyof S]

/** What can be encoded: fields that have a default or are not in every version may be left out. */
export type InputOf<S> = {
  readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Input<S[K]> | Nullable<S[K]>
} & { readonly [K in OptionalKeys<S>]?: Input<S[K]> | Nullable<S[K]> | undefined } & {
  readonly unknownTaggedFields?: readonly UnknownTaggedField[] | undefined
}

export type RequestOf<A extends ApiSchema> = StructOf<A['request']>
export type ResponseOf<A extends ApiSchema> = StructOf<A['response']>
export type RequestInput<A extends ApiSchema> = InputOf<A['request']>
export type ResponseInput<A extends ApiSchema> = InputOf<A['response']>
export type MessageOf<M extends MessageSchema> = StructOf<M['fields']>
export type MessageInput<M extends MessageSchema> = InputOf<M['fields']>

/** Declares an API. */
export function defineApi<const A extends ApiSchema>(api: A): A {
  return api
}

/** Declares a message that is no request or response, such as a record of a group's log. */
export function defineMessage<const M extends MessageSchema>(message: M): M {
  return message
}

export interface VersionRange {
  readonly min: number
  readonly max: number
}

/** Of every range that has been asked for: the tables have a few dozen, and each request asks. */
const parsed = new Map<Versions, VersionRange>()

/** Parses `3+`, `3-5`, `3` or `none`; `none` is a range that holds nothing. */
export function parseVersions(versions: Versions): VersionRange {
  let range = parsed.get(versions)
  if (range === undefined) {
    range = rangeOf(versions)
    parsed.set(versions, range)
  }
  return range
}

function rangeOf(versions: Versions): VersionRange {
  if (versions === 'none') return { min: 0, max: -1 }
  const match = /^(\d+)(?:-(\d+)|(\+))?$/.exec(versions)
  if (!match) throw new Error(`not a version range: ${versions}`)
  const min = Number(match[1])
  if (match[3] !== undefined) return { min, max: 32767 }
  return { min, max: match[2] === undefined ? min : Number(match[2]) }
}

export function inVersions(version: number, versions: Versions | undefined): boolean {
  if (versions === undefined) return false
  const range = parseVersions(versions)
  return version >= range.min && version <= range.max
}

/** 22 characters of URL-safe base64: 16 zero bytes, which mean "no id". */
export const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA'
