/** How the console consumer prints a record, by Apache's names of formatters and properties. */
import type { ConsumerRecord } from '../../client/records.ts'
import { nearestName } from '../kit/nearest-name.ts'
import { ToolError } from '../kit/tool.ts'

/** The text of a record with its line end, or nothing. */
export type Formatter = (record: ConsumerRecord) => Buffer | string

type Deserializer = (bytes: Buffer) => Buffer | string

function fixed(name: string, size: number, read: (bytes: Buffer) => string): Deserializer {
  return (bytes) => {
    if (bytes.length !== size) {
      throw new ToolError(`${name} wants ${size} bytes, and there are ${bytes.length}`)
    }
    return read(bytes)
  }
}

/** Java prints a whole number as `1.0`. */
function javaDouble(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e7 ? `${value}.0` : String(value)
}

const DESERIALIZERS: Readonly<Record<string, Deserializer>> = {
  StringDeserializer: (bytes) => bytes,
  ByteArrayDeserializer: (bytes) => bytes,
  BytesDeserializer: (bytes) => bytes,
  ByteBufferDeserializer: (bytes) => bytes,
  ShortDeserializer: fixed('ShortDeserializer', 2, (bytes) => String(bytes.readInt16BE(0))),
  IntegerDeserializer: fixed('IntegerDeserializer', 4, (bytes) => String(bytes.readInt32BE(0))),
  LongDeserializer: fixed('LongDeserializer', 8, (bytes) => String(bytes.readBigInt64BE(0))),
  FloatDeserializer: fixed('FloatDeserializer', 4, (bytes) => javaDouble(bytes.readFloatBE(0))),
  DoubleDeserializer: fixed('DoubleDeserializer', 8, (bytes) => javaDouble(bytes.readDoubleBE(0))),
  UUIDDeserializer: (bytes) => bytes,
  VoidDeserializer: () => 'null',
}

/** By simple or full class name. Throws ToolError. */
export function deserializerOf(className: string): Deserializer {
  const simple = className.slice(className.lastIndexOf('.') + 1)
  const found = DESERIALIZERS[simple]
  if (found !== undefined) return found
  const nearest = nearestName(simple, Object.keys(DESERIALIZERS))
  throw new ToolError(
    `there is no deserializer ${JSON.stringify(className)}`,
    nearest === null ? undefined : `did you mean ${nearest}?`,
  )
}

function isOn(properties: ReadonlyMap<string, string>, key: string, otherwise: boolean): boolean {
  const text = properties.get(key)
  return text === undefined ? otherwise : text.trim().toLowerCase() === 'true'
}

function timestampOf(record: ConsumerRecord): string {
  return record.timestampType === 'NoTimestampType'
    ? 'NO_TIMESTAMP'
    : `${record.timestampType}:${record.timestamp}`
}

function defaultFormatter(
  properties: ReadonlyMap<string, string>,
  keyDeserializer: string | undefined,
  valueDeserializer: string | undefined,
): Formatter {
  const key = deserializerOf(
    keyDeserializer ?? properties.get('key.deserializer') ?? 'StringDeserializer',
  )
  const value = deserializerOf(
    valueDeserializer ?? properties.get('value.deserializer') ?? 'StringDeserializer',
  )
  const header = deserializerOf(properties.get('headers.deserializer') ?? 'StringDeserializer')
  const separator = properties.get('key.separator') ?? '\t'
  const lineEnd = properties.get('line.separator') ?? '\n'
  const headersSeparator = properties.get('headers.separator') ?? ','
  const nullLiteral = properties.get('null.literal') ?? 'null'
  const prints = {
    timestamp: isOn(properties, 'print.timestamp', false),
    partition: isOn(properties, 'print.partition', false),
    offset: isOn(properties, 'print.offset', false),
    headers: isOn(properties, 'print.headers', false),
    key: isOn(properties, 'print.key', false),
    value: isOn(properties, 'print.value', true),
  }
  const isPlain = !Object.values({ ...prints, value: false }).some(Boolean)
  return (record) => {
    const textOfValue = (): Buffer | string =>
      record.value === null ? nullLiteral : value(record.value)
    if (isPlain) {
      if (!prints.value) return ''
      const text = textOfValue()
      return typeof text === 'string' ? text + lineEnd : Buffer.concat([text, Buffer.from(lineEnd)])
    }
    const parts: (Buffer | string)[] = []
    if (prints.timestamp) parts.push(timestampOf(record))
    if (prints.partition) parts.push(`Partition:${record.partition}`)
    if (prints.offset) parts.push(`Offset:${record.offset}`)
    if (prints.headers) {
      const all = record.headers.map((one) =>
        Buffer.concat([
          Buffer.from(`${one.key}:`),
          one.value === null ? Buffer.from(nullLiteral) : Buffer.from(header(one.value)),
        ]),
      )
      parts.push(all.length === 0 ? 'NO_HEADERS' : joined(all, headersSeparator))
    }
    if (prints.key) parts.push(record.key === null ? nullLiteral : key(record.key))
    if (prints.value) parts.push(textOfValue())
    return Buffer.concat([joined(parts, separator), Buffer.from(lineEnd)])
  }
}

function joined(parts: readonly (Buffer | string)[], separator: string): Buffer {
  const bytes: Buffer[] = []
  for (const [i, part] of parts.entries()) {
    if (i > 0) bytes.push(Buffer.from(separator))
    bytes.push(typeof part === 'string' ? Buffer.from(part) : part)
  }
  return Buffer.concat(bytes)
}

export interface FormatterOptions {
  /** Simple or full class name; the default one if undefined. */
  readonly name: string | undefined
  readonly properties: ReadonlyMap<string, string>
  readonly keyDeserializer: string | undefined
  readonly valueDeserializer: string | undefined
}

const NAMES = [
  'DefaultMessageFormatter',
  'LoggingMessageFormatter',
  'NoOpMessageFormatter',
  'OffsetsMessageFormatter',
  'GroupMetadataMessageFormatter',
]

/** Throws ToolError for a formatter that does not exist. */
export async function formatterOf(options: FormatterOptions): Promise<Formatter> {
  const { name, properties } = options
  const simple = name?.slice(Math.max(name.lastIndexOf('.'), name.lastIndexOf('$')) + 1)
  switch (simple) {
    case undefined:
    case 'DefaultMessageFormatter':
    // Apache's prints the same, and logs it as well.
    case 'LoggingMessageFormatter':
      return defaultFormatter(properties, options.keyDeserializer, options.valueDeserializer)
    case 'NoOpMessageFormatter':
      return () => ''
    case 'OffsetsMessageFormatter':
    case 'GroupMetadataMessageFormatter': {
      const { groupRecordFormatter } = await import('./group-record-formatter.ts')
      return groupRecordFormatter(simple === 'OffsetsMessageFormatter' ? 'offset' : 'group')
    }
    default: {
      const nearest = nearestName(simple, NAMES)
      throw new ToolError(
        `there is no formatter ${JSON.stringify(name)}`,
        nearest === null ? `there are ${NAMES.join(', ')}` : `did you mean ${nearest}?`,
      )
    }
  }
}
