/**
 * Codecs made from the tables: one function per message, version and direction, compiled with
 * `new Function` on first use. Names in the source come from our own tables only. The source ends
 * in a `sourceURL`, so that profiles and stack traces name it.
 */
import { ErrorCode, KafkaError } from './error-codes.ts'
import { MalformedMessageError, MessageReader } from './message-reader.ts'
import type { MessageWriter } from './message-writer.ts'
import type {
  ApiSchema,
  Field,
  Fields,
  MessageInput,
  MessageOf,
  MessageSchema,
  Primitive,
  RequestInput,
  RequestOf,
  ResponseInput,
  ResponseOf,
} from './schema.ts'
import { inVersions, ZERO_UUID } from './schema.ts'

type DecodeFunction = (reader: MessageReader) => unknown
type EncodeFunction = (writer: MessageWriter, value: unknown) => void

function defaultSource(field: Field): string {
  if (field.default !== undefined) {
    return typeof field.default === 'bigint' ? `${field.default}n` : JSON.stringify(field.default)
  }
  switch (field.type) {
    case 'bool':
      return 'false'
    case 'string':
      return "''"
    case 'uuid':
      return `'${ZERO_UUID}'`
    case 'bytes':
      return 'EMPTY'
    case 'records':
      return 'null'
    case 'int64exact':
      return '0n'
    case 'array':
      return '[]'
    case 'struct': {
      const members = Object.entries(field.fields ?? {})
      return `{ ${members.map(([name, member]) => `${name}: ${defaultSource(member)}`).join(', ')} }`
    }
    default:
      return '0'
  }
}

/** Bytes that a value takes at the least, so that an announced count can be held against what is left. */
function bytesMin(of: Primitive | Fields, version: number, flexible: boolean): number {
  if (typeof of === 'string') {
    switch (of) {
      case 'bool':
      case 'int8':
        return 1
      case 'int16':
      case 'uint16':
        return 2
      case 'int32':
      case 'uint32':
        return 4
      case 'int64':
      case 'int64exact':
      case 'float64':
        return 8
      case 'uuid':
        return 16
      case 'string':
        return flexible ? 1 : 2
      default:
        return flexible ? 1 : 4
    }
  }
  // The tagged-field section is a byte at least.
  let bytes = flexible ? 1 : 0
  for (const field of Object.values(of)) {
    if (placeOf(field, version) !== 'plain') continue
    if (field.type === 'array') bytes += flexible ? 1 : 4
    else if (field.type !== 'struct') bytes += bytesMin(field.type, version, flexible)
    else if (inVersions(version, field.nullable)) bytes += 1
    else bytes += bytesMin(field.fields ?? {}, version, flexible)
  }
  return bytes
}

/** Whether a field is in a version, and as a tagged field. */
function placeOf(field: Field, version: number): 'absent' | 'plain' | 'tagged' {
  if (!inVersions(version, field.versions)) return 'absent'
  return field.tag !== undefined && inVersions(version, field.tagged) ? 'tagged' : 'plain'
}

interface TaggedField {
  readonly tag: number
  /** Name of the variable that says whether it is written. */
  readonly present: string
  readonly write: string
}

/** Writes the source of one message in one version. */
class Source {
  readonly #version: number
  readonly #flexible: boolean
  /** Refuse to encode what the version cannot carry, instead of leaving it out. */
  readonly #strict: boolean
  #variables = 0
  #insideTag = false

  constructor(options: { version: number; flexible: boolean; strict: boolean }) {
    this.#version = options.version
    this.#flexible = options.flexible
    this.#strict = options.strict
  }

  #variable(name: string): string {
    this.#variables += 1
    return `${name}${this.#variables}`
  }

  #readPrimitive(type: Primitive, nullable: boolean): string {
    const compact = String(this.#flexible)
    switch (type) {
      case 'string':
        return nullable ? `r.nullableString(${compact})` : `r.string(${compact})`
      case 'bytes':
        return nullable ? `r.nullableBytes(${compact})` : `r.bytes(${compact})`
      case 'records':
        return nullable ? `r.nullableRecords(${compact})` : `r.records(${compact})`
      default:
        return `r.${type}()`
    }
  }

  /** Statements that set `target` to the field's value. */
  #readField(field: Field, target: string): string {
    const nullable = inVersions(this.#version, field.nullable)
    if (field.type === 'array') {
      const count = this.#variable('n')
      const index = this.#variable('i')
      const element = this.#variable('e')
      const list = this.#variable('a')
      const of = field.of
      if (of === undefined) throw new Error('an array of nothing')
      const read =
        typeof of === 'string'
          ? `const ${element} = ${this.#readPrimitive(of, false)};`
          : `let ${element};${this.#readStruct(of, element)}`
      const none = nullable
        ? `${target} = null`
        : `throw new Malformed('null where an array must be')`
      return (
        `const ${count} = r.arrayLength(${this.#flexible}, ${bytesMin(of, this.#version, this.#flexible)});` +
        `if (${count} < 0) { ${none}; } else { const ${list} = [];` +
        `for (let ${index} = 0; ${index} < ${count}; ${index} += 1) {${read}${list}.push(${element});}` +
        `${target} = ${list}; }`
      )
    }
    if (field.type === 'struct') {
      const fields = field.fields
      if (fields === undefined) throw new Error('a struct of nothing')
      if (!nullable) return this.#readStruct(fields, target)
      return `if (r.int8() < 0) { ${target} = null; } else { ${this.#readStruct(fields, target)} }`
    }
    return `${target} = ${this.#readPrimitive(field.type, nullable)};`
  }

  #readStruct(fields: Fields, target: string): string {
    const lines: string[] = []
    const names: [string, string][] = []
    const tagged: string[] = []
    for (const [name, field] of Object.entries(fields)) {
      const place = placeOf(field, this.#version)
      const variable = this.#variable('v')
      names.push([name, variable])
      if (place === 'plain') {
        lines.push(`let ${variable};{${this.#readField(field, variable)}}`)
      } else {
        lines.push(`let ${variable} = ${defaultSource(field)};`)
        if (place === 'tagged') {
          tagged.push(`case ${field.tag}: {${this.#readField(field, variable)} break; }`)
        }
      }
    }
    let unknown = ''
    if (this.#flexible) {
      unknown = this.#variable('u')
      const count = this.#variable('n')
      const end = this.#variable('z')
      lines.push(
        `let ${unknown}; for (let ${count} = r.unsignedVarint(); ${count} > 0; ${count} -= 1) {` +
          `const tag = r.unsignedVarint(), size = r.unsignedVarint(), from = r.need(size);` +
          `const ${end} = r.at; r.at = from; switch (tag) { ${tagged.join('')}` +
          `default: (${unknown} ??= []).push(r.unknownTaggedField(tag, from, ${end})); }` +
          `if (r.at !== ${end}) throw new Malformed('a tagged field of another size than it says'); }`,
      )
    }
    const members = names.map(([name, variable]) => `${name}: ${variable}`).join(', ')
    lines.push(`${target} = { ${members} };`)
    if (unknown) {
      lines.push(`if (${unknown} !== undefined) ${target}.unknownTaggedFields = ${unknown};`)
    }
    return lines.join('\n')
  }

  #writePrimitive(type: Primitive, value: string): string {
    switch (type) {
      case 'string':
      case 'bytes':
      case 'records':
        return `w.${type}(${value}, ${this.#flexible});`
      default:
        return `w.${type}(${value});`
    }
  }

  #writeField(field: Field, value: string): string {
    const nullable = inVersions(this.#version, field.nullable)
    if (field.type === 'array') {
      const element = this.#variable('e')
      const of = field.of
      if (of === undefined) throw new Error('an array of nothing')
      const write =
        typeof of === 'string' ? this.#writePrimitive(of, element) : this.#writeStruct(of, element)
      const none = nullable
        ? `w.arrayLength(-1, ${this.#flexible})`
        : `throw new TypeError('null where an array must be')`
      return (
        `if (${value} === null) { ${none}; } else { w.arrayLength(${value}.length, ${this.#flexible});` +
        `for (const ${element} of ${value}) {${write}} }`
      )
    }
    if (field.type === 'struct') {
      const fields = field.fields
      if (fields === undefined) throw new Error('a struct of nothing')
      if (!nullable) return this.#writeStruct(fields, value)
      return `if (${value} === null) { w.int8(-1); } else { w.int8(1); ${this.#writeStruct(fields, value)} }`
    }
    if (this.#insideTag && (field.hole || field.type === 'records')) {
      // What is noted in a tagged field would move when its size is put in front of it.
      throw new Error('a tagged field with holes or records')
    }
    const hole = field.hole ? 'w.hole();' : ''
    if (nullable || field.nullable === undefined) {
      return hole + this.#writePrimitive(field.type, value)
    }
    // Nullable in other versions only: a null here is the empty value.
    const empty = field.type === 'string' ? "''" : 'EMPTY'
    return hole + this.#writePrimitive(field.type, `(${value} ?? ${empty})`)
  }

  /** An expression that tells whether a value that is not undefined is the field's default. */
  #isDefault(field: Field, value: string): string {
    if (field.default === null) return `${value} === null`
    switch (field.type) {
      case 'array':
      case 'bytes':
        return `(${value} !== null && ${value}.length === 0)`
      case 'struct': {
        const members = Object.entries(field.fields ?? {}).map(([name, member]) => {
          const of = `${value}.${name}`
          return `(${of} === undefined || ${this.#isDefault(member, of)})`
        })
        return `(${value} !== null && ${members.join(' && ')})`
      }
      case 'records':
        return `${value} === null`
      default:
        return `${value} === ${defaultSource(field)}`
    }
  }

  #refuseUnlessDefault(name: string, field: Field, value: string): string {
    const of = `${value}.${name}`
    return (
      `if (${of} !== undefined && !(${this.#isDefault(field, of)})) ` +
      `throw new UnsupportedField('${name}', ${this.#version});`
    )
  }

  #writeTaggedFields(tagged: readonly TaggedField[], value: string): string {
    const count = this.#variable('c')
    const written = this.#variable('u')
    const extra = `${value}.unknownTaggedFields`
    const lines = [`let ${count} = ${extra} === undefined ? 0 : ${extra}.length;`]
    for (const { present } of tagged) lines.push(`if (${present}) ${count} += 1;`)
    lines.push(`w.unsignedVarint(${count});`)
    if (tagged.length === 0) {
      lines.push(`if (${count} > 0) w.unknownTaggedFields(${extra}, 0, Infinity);`)
      return lines.join('\n')
    }
    lines.push(`if (${count} > 0) { let ${written} = 0;`)
    for (const { tag, present, write } of tagged) {
      const start = this.#variable('s')
      lines.push(
        `if (${present}) { ${written} = w.unknownTaggedFields(${extra}, ${written}, ${tag});` +
          `w.unsignedVarint(${tag}); const ${start} = w.at; ${write} w.prefixSize(${start}); }`,
      )
    }
    lines.push(`w.unknownTaggedFields(${extra}, ${written}, Infinity); }`)
    return lines.join('\n')
  }

  #writeStruct(fields: Fields, value: string): string {
    const lines: string[] = []
    const tagged: TaggedField[] = []
    for (const [name, field] of Object.entries(fields)) {
      const place = placeOf(field, this.#version)
      if (place === 'absent') {
        if (this.#strict && !field.ignorable) {
          lines.push(this.#refuseUnlessDefault(name, field, value))
        }
        continue
      }
      const variable = this.#variable('v')
      if (place === 'plain') {
        lines.push(
          `const ${variable} = ${value}.${name} === undefined ? ${defaultSource(field)} : ${value}.${name};` +
            this.#writeField(field, variable),
        )
        continue
      }
      const present = this.#variable('p')
      lines.push(
        `const ${variable} = ${value}.${name}, ` +
          `${present} = ${variable} !== undefined && !(${this.#isDefault(field, variable)});`,
      )
      const outer = this.#insideTag
      this.#insideTag = true
      tagged.push({ tag: field.tag as number, present, write: this.#writeField(field, variable) })
      this.#insideTag = outer
    }
    if (!this.#flexible) return lines.join('\n')
    tagged.sort((a, b) => a.tag - b.tag)
    lines.push(this.#writeTaggedFields(tagged, value))
    return lines.join('\n')
  }

  decoder(fields: Fields): string {
    return `'use strict'; return function decode(r) { let value; ${this.#readStruct(fields, 'value')} return value; }`
  }

  encoder(fields: Fields): string {
    return `'use strict'; return function encode(w, value) { ${this.#writeStruct(fields, 'value')} }`
  }
}

const EMPTY = Buffer.alloc(0)

class UnsupportedField extends KafkaError {
  constructor(field: string, version: number) {
    super(ErrorCode.UNSUPPORTED_VERSION, `version ${version} cannot carry the field ${field}`)
  }
}

/** One direction of an API, or a bare message. */
interface Target {
  readonly name: string
  readonly fields: Fields
  readonly strict: boolean
}

function sourceOf(target: Target, flexible: string, version: number): Source {
  return new Source({
    version,
    flexible: inVersions(version, flexible),
    strict: target.strict,
  })
}

function compileDecoder(target: Target, flexible: string, version: number): DecodeFunction {
  const source = sourceOf(target, flexible, version).decoder(target.fields)
  const make = new Function(
    'Malformed',
    'EMPTY',
    `${source}\n//# sourceURL=protocol/${target.name}.v${version}.decode.js`,
  )
  return make(MalformedMessageError, EMPTY) as DecodeFunction
}

function compileEncoder(target: Target, flexible: string, version: number): EncodeFunction {
  const source = sourceOf(target, flexible, version).encoder(target.fields)
  const make = new Function(
    'EMPTY',
    'UnsupportedField',
    `${source}\n//# sourceURL=protocol/${target.name}.v${version}.encode.js`,
  )
  return make(EMPTY, UnsupportedField) as EncodeFunction
}

function requestOf(api: ApiSchema): Target {
  return { name: `${api.name}Request`, fields: api.request, strict: true }
}

/** A broker fills in what it knows; what an old version lacks is left out. */
function responseOf(api: ApiSchema): Target {
  return { name: `${api.name}Response`, fields: api.response, strict: false }
}

function messageOf(message: MessageSchema): Target {
  return { name: message.name, fields: message.fields, strict: true }
}

const decoders = new WeakMap<Fields, DecodeFunction[]>()
const encoders = new WeakMap<Fields, EncodeFunction[]>()

function remember<F>(cache: WeakMap<Fields, F[]>, fields: Fields, version: number, made: F): F {
  let versions = cache.get(fields)
  if (versions === undefined) {
    versions = []
    cache.set(fields, versions)
  }
  versions[version] = made
  return made
}

/** Versions come off the wire: a codec of a version that the table lacks is never made. */
function checkVersion(schema: ApiSchema | MessageSchema, version: number): void {
  if (!inVersions(version, schema.versions)) {
    throw new KafkaError(ErrorCode.UNSUPPORTED_VERSION, `${schema.name} has no version ${version}`)
  }
}

/** Source of a decoder and an encoder, for `npm run protocol:dump`. */
export function codecSource(
  api: ApiSchema,
  direction: 'request' | 'response',
  version: number,
): string {
  checkVersion(api, version)
  const target = direction === 'request' ? requestOf(api) : responseOf(api)
  const source = sourceOf(target, api.flexible, version)
  return `${source.decoder(target.fields)}\n\n${source.encoder(target.fields)}\n`
}

/** Whether a version has compact lengths and tagged fields (KIP-482). */
export function isFlexible(schema: { readonly flexible: string }, version: number): boolean {
  return inVersions(version, schema.flexible)
}

const sharedReader = new MessageReader()

/**
 * Decodes the body of a request from `reader.at` on; what follows it stays unread.
 * Throws MalformedMessageError, or KafkaError for a version that the table lacks.
 */
export function decodeRequest<A extends ApiSchema>(
  api: A,
  version: number,
  reader: MessageReader,
): RequestOf<A> {
  let decode = decoders.get(api.request)?.[version]
  if (decode === undefined) {
    checkVersion(api, version)
    const made = compileDecoder(requestOf(api), api.flexible, version)
    decode = remember(decoders, api.request, version, made)
  }
  return decode(reader) as RequestOf<A>
}

/** Decodes the body of a response, with the same rules as `decodeRequest`. */
export function decodeResponse<A extends ApiSchema>(
  api: A,
  version: number,
  reader: MessageReader,
): ResponseOf<A> {
  let decode = decoders.get(api.response)?.[version]
  if (decode === undefined) {
    checkVersion(api, version)
    const made = compileDecoder(responseOf(api), api.flexible, version)
    decode = remember(decoders, api.response, version, made)
  }
  return decode(reader) as ResponseOf<A>
}

/**
 * Encodes the body of a request behind what the writer holds. Throws KafkaError
 * (UNSUPPORTED_VERSION) for a field that the version lacks, unless it has its default or is
 * ignorable, and RangeError for a number or string that its type cannot hold.
 */
export function encodeRequest<A extends ApiSchema>(
  api: A,
  version: number,
  writer: MessageWriter,
  value: RequestInput<A>,
): void {
  let encode = encoders.get(api.request)?.[version]
  if (encode === undefined) {
    checkVersion(api, version)
    const made = compileEncoder(requestOf(api), api.flexible, version)
    encode = remember(encoders, api.request, version, made)
  }
  encode(writer, value)
}

/**
 * Encodes the body of a response behind what the writer holds. Fields that the version lacks are
 * left out. Throws RangeError for a number or string that its type cannot hold.
 */
export function encodeResponse<A extends ApiSchema>(
  api: A,
  version: number,
  writer: MessageWriter,
  value: ResponseInput<A>,
): void {
  let encode = encoders.get(api.response)?.[version]
  if (encode === undefined) {
    checkVersion(api, version)
    const made = compileEncoder(responseOf(api), api.flexible, version)
    encode = remember(encoders, api.response, version, made)
  }
  encode(writer, value)
}

/**
 * Decodes a bare message that fills `bytes`. Throws as `decodeRequest`, also for bytes left over
 * unless `mayGoOn` says that a later version may have written more than this table knows.
 */
export function decodeMessage<M extends MessageSchema>(
  message: M,
  version: number,
  bytes: Buffer,
  mayGoOn = false,
): MessageOf<M> {
  let decode = decoders.get(message.fields)?.[version]
  if (decode === undefined) {
    checkVersion(message, version)
    const made = compileDecoder(messageOf(message), message.flexible, version)
    decode = remember(decoders, message.fields, version, made)
  }
  const value = decode(sharedReader.reset(bytes, 0, bytes.length, false))
  if (!mayGoOn) sharedReader.expectEnd()
  return value as MessageOf<M>
}

/** Encodes a bare message behind what the writer holds. Throws as `encodeRequest`. */
export function encodeMessage<M extends MessageSchema>(
  message: M,
  version: number,
  writer: MessageWriter,
  value: MessageInput<M>,
): void {
  let encode = encoders.get(message.fields)?.[version]
  if (encode === undefined) {
    checkVersion(message, version)
    const made = compileEncoder(messageOf(message), message.flexible, version)
    encode = remember(encoders, message.fields, version, made)
  }
  encode(writer, value)
}
