/** What keys and values are printed as. */
import { ToolError } from '../kit/tool.ts'
import type { DumpedRecord } from './batches.ts'

/** Null where nothing is printed. */
export interface DecodedRecord {
  readonly key: string | null
  readonly payload: string | null
}

export type RecordDecoder = (record: DumpedRecord) => DecodedRecord

function sized(bytes: Buffer, count: number, type: string): Buffer {
  if (bytes.length !== count) return failSize(bytes, type)
  return bytes
}

function failSize(bytes: Buffer, type: string): never {
  throw new ToolError(`${bytes.length} bytes are no ${type}`, 'choose another decoder')
}

const DECODERS: Readonly<Record<string, (bytes: Buffer) => string>> = {
  StringDecoder: (bytes) => bytes.toString('utf8'),
  LongDecoder: (bytes) => String(sized(bytes, 8, 'long').readBigInt64BE()),
  IntegerDecoder: (bytes) => String(sized(bytes, 4, 'integer').readInt32BE()),
  DefaultDecoder: (bytes) => bytes.toString('hex'),
}

/** A decoder by the name of Apache's class, in full or the last part. Throws ToolError. */
function decoderNamed(name: string): (bytes: Buffer) => string {
  const short = name.split('.').at(-1) as string
  const decoder = DECODERS[short]
  if (decoder !== undefined) return decoder
  const known = Object.keys(DECODERS).join(', ')
  throw new ToolError(`no decoder ${JSON.stringify(name)}`, `there are ${known}`)
}

/** Decodes keys and values by the classes named. Throws ToolError. */
export function classDecoder(keyClass: string, valueClass: string): RecordDecoder {
  const keyOf = decoderNamed(keyClass)
  const payloadOf = decoderNamed(valueClass)
  return ({ key, value }) => ({
    key: key === null ? null : keyOf(key),
    payload: value === null ? null : payloadOf(value),
  })
}
