/**
 * Codecs made from the tables: one function per message, version and direction, compiled with
 * `new Function` on first use. Names in the source come from our own tables only. The source ends
 * in a `sourceURL`, so that profiles and stack traces name it.
 */
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

/** A tagged field that no table knows; kept so that it can be written again. */
export interface UnknownTaggedField {
  readonly tag: number
  readonly bytes: Buffer
}

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
      if (field.nullable !== undefined) return 'null'
      const members = Object.entries(field.fields ?? {})
      return `{ ${members.map(([name, member]) => `${name}: ${defaultSource(member)}`).join(', ')} }`
    }
    default:
      return '0'
  }
}

/** Whether a field is in a version, and as a tagged field. */
function placeOf(field: Field, version: number): 'absent' | 'plain' | 'tagged' {
  if (!inVersions(version, field.versions)) return 'absent'
  return field.tag !== undefined && inVersions(version, field.tagged) ? 'tagged' : 'plain'
}

class Source {
  readonly #version: number
  readonly #flexible: boolean
  #variables = 0

  constructor(version: number, flexible: boolean) {
    this.#version = version
    this.#flexible = flexible
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
        return `r.records(${compact})`
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
        `const ${count} = r.arrayLength(${this.#flexible});` +
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
          `default: (${unknown} ??= []).push({ tag, bytes: Buffer.from(r.buffer.subarray(from, ${end})) });` +
          ` r.at = ${end}; }` +
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
    const hole = field.hole ? 'w.hole();' : ''
    if (nullable || field.nullable === undefined) {
      return hole + this.#writePrimitive(field.type, value)
    }
    const empty = field.type === 'string' ? "''" : 'EMPTY'
    return hole + this.#writePrimitive(field.type, `(${value} ?? ${empty})`)
  }

  #isDefault(field: Field, value: string): string {
    if (field.type === 'array') {
      return field.default === null
        ? `${value} === null`
        : `(${value} !== null && ${value}.length === 0)`
    }
    if (field.type === 'struct') {
      if (field.nullable !== undefined) return `${value} === null`
      return `(${value} === null || isDefaultStruct(${value}, ${JSON.stringify(this.#defaults(field.fields ?? {}))}))`
    }
    if (field.type === 'bytes' && field.default === undefined) {
      return `(${value} !== null && ${value}.length === 0)`
    }
    return `${value} === ${defaultSource(field)}`
  }

  #defaults(fields: Fields): Record<string, unknown> {
    const defaults: Record<string, unknown> = {}
    for (const [name, field] of Object.entries(fields)) {
      if (field.type === 'array') defaults[name] = []
      else if (field.default !== undefined) defaults[name] = field.default
      else if (field.type === 'string') defaults[name] = ''
      else if (field.type === 'bool') defaults[name] = false
      else defaults[name] = 0
    }
    return defaults
  }

  #writeStruct(fields: Fields, value: string): string {
    const lines: string[] = []
    const tagged: [number, string][] = []
    for (const [name, field] of Object.entries(fields)) {
      const place = placeOf(field, this.#version)
      if (place === 'absent') continue
      const variable = this.#variable('v')
      const read = `const ${variable} = ${value}.${name} === undefined ? ${defaultSource(field)} : ${value}.${name};`
      if (place === 'plain') {
        lines.push(`${read}${this.#writeField(field, variable)}`)
      } else {
        const start = this.#variable('s')
        lines.push(read)
        tagged.push([
          field.tag as number,
          `if (!(${this.#isDefault(field, variable)})) { w.unsignedVarint(${field.tag}); const ${start} = w.at;` +
            `${this.#writeField(field, variable)} w.prefixSize(${start}); }`,
        ])
        lines.push(`if (!(${this.#isDefault(field, variable)})) COUNT += 1;`)
      }
    }
    if (!this.#flexible) return lines.join('\n')
    const count = this.#variable('c')
    const extra = `${value}.unknownTaggedFields`
    tagged.sort((a, b) => a[0] - b[0])
    const body = lines.join('\n').replaceAll('COUNT', count)
    return (
      `let ${count} = ${extra} === undefined ? 0 : ${extra}.length;${body}` +
      `w.unsignedVarint(${count});${tagged.map(([, source]) => source).join('')}` +
      `if (${extra} !== undefined) for (const field of ${extra}) {` +
      ` w.unsignedVarint(field.tag); w.unsignedVarint(field.bytes.length); w.raw(field.bytes); }`
    )
  }

  decoder(fields: Fields): string {
    return `'use strict'; return function decode(r) { let value; ${this.#readStruct(fields, 'value')} return value; }`
  }

  encoder(fields: Fields): string {
    return `'use strict'; return function encode(w, value) { ${this.#writeStruct(fields, 'value')} }`
  }
}

function isDefaultStruct(
  value: Record<string, unknown>,
  defaults: Record<string, unknown>,
): boolean {
  for (const [name, normal] of Object.entries(defaults)) {
    const actual = value[name]
    if (actual === undefined) continue
    if (Array.isArray(normal)) {
      if (!Array.isArray(actual) || actual.length > 0) return false
    } else if (actual !== normal) {
      return false
    }
  }
  return true
}

const EMPTY = Buffer.alloc(0)

function compileDecoder(name: string, fields: Fields, version: number, flexible: boolean) {
  const source = new Source(version, flexible).decoder(fields)
  const make = new Function(
    'Malformed',
    'EMPTY',
    'Buffer',
    `${source}\n//# sourceURL=protocol/${name}.v${version}.decode.js`,
  )
  return make(MalformedMessageError, EMPTY, Buffer) as DecodeFunction
}

function compileEncoder(name: string, fields: Fields, version: number, flexible: boolean) {
  const source = new Source(version, flexible).encoder(fields)
  const make = new Function(
    'EMPTY',
    'isDefaultStruct',
    `${source}\n//# sourceURL=protocol/${name}.v${version}.encode.js`,
  )
  return make(EMPTY, isDefaultStruct) as EncodeFunction
}

const decoders = new WeakMap<Fields, DecodeFunction[]>()
const encoders = new WeakMap<Fields, EncodeFunction[]>()

function cached<F>(
  cache: WeakMap<Fields, F[]>,
  fields: Fields,
  version: number,
  compile: () => F,
): F {
  let versions = cache.get(fields)
  if (versions === undefined) {
    versions = []
    cache.set(fields, versions)
  }
  let compiled = versions[version]
  if (compiled === undefined) {
    compiled = compile()
    versions[version] = compiled
  }
  return compiled
}

/** Source of a codec, for `npm run protocol:dump`. */
export function codecSource(
  api: ApiSchema,
  direction: 'request' | 'response',
  version: number,
): string {
  const source = new Source(version, isFlexible(api, version))
  return `${source.decoder(api[direction])}\n\n${source.encoder(api[direction])}\n`
}

export function isFlexible(schema: { readonly flexible: string }, version: number): boolean {
  return inVersions(version, schema.flexible)
}

const sharedReader = new MessageReader()

/** Decodes from `reader.at` on; what follows the message stays unread. Throws MalformedMessageError. */
export function decodeRequest<A extends ApiSchema>(
  api: A,
  version: number,
  reader: MessageReader,
): RequestOf<A> {
  const decode = cached(decoders, api.request, version, () =>
    compileDecoder(`${api.name}Request`, api.request, version, isFlexible(api, version)),
  )
  return decode(reader) as RequestOf<A>
}

export function decodeResponse<A extends ApiSchema>(
  api: A,
  version: number,
  reader: MessageReader,
): ResponseOf<A> {
  const decode = cached(decoders, api.response, version, () =>
    compileDecoder(`${api.name}Response`, api.response, version, isFlexible(api, version)),
  )
  return decode(reader) as ResponseOf<A>
}

export function encodeRequest<A extends ApiSchema>(
  api: A,
  version: number,
  writer: MessageWriter,
  value: RequestInput<A>,
): void {
  const encode = cached(encoders, api.request, version, () =>
    compileEncoder(`${api.name}Request`, api.request, version, isFlexible(api, version)),
  )
  encode(writer, value)
}

export function encodeResponse<A extends ApiSchema>(
  api: A,
  version: number,
  writer: MessageWriter,
  value: ResponseInput<A>,
): void {
  const encode = cached(encoders, api.response, version, () =>
    compileEncoder(`${api.name}Response`, api.response, version, isFlexible(api, version)),
  )
  encode(writer, value)
}

/** Decodes a bare message that fills `bytes`. Throws MalformedMessageError. */
export function decodeMessage<M extends MessageSchema>(
  message: M,
  version: number,
  bytes: Buffer,
): MessageOf<M> {
  const decode = cached(decoders, message.fields, version, () =>
    compileDecoder(message.name, message.fields, version, isFlexible(message, version)),
  )
  return decode(sharedReader.reset(bytes, 0, bytes.length, false)) as MessageOf<M>
}

export function encodeMessage<M extends MessageSchema>(
  message: M,
  version: number,
  writer: MessageWriter,
  value: MessageInput<M>,
): void {
  const encode = cached(encoders, message.fields, version, () =>
    compileEncoder(message.name, message.fields, version, isFlexible(message, version)),
  )
  encode(writer, value)
}
