/** From lines of text to records, by the properties of Apache's LineMessageReader. */
import type { ProducerRecord } from '../../client/producer.ts'
import { ToolError } from '../kit/tool.ts'

export interface LineReaderOptions {
  readonly topic: string
  readonly properties: ReadonlyMap<string, string>
}

/** The record of a line; null where there is none. */
export type LineReader = (line: Buffer, number: number) => ProducerRecord | null

function isOn(properties: ReadonlyMap<string, string>, key: string): boolean {
  return properties.get(key)?.trim().toLowerCase() === 'true'
}

/** Throws ToolError for separators that cannot be told apart. */
export function lineReader({ topic, properties }: LineReaderOptions): LineReader {
  const parseKey = isOn(properties, 'parse.key')
  const parseHeaders = isOn(properties, 'parse.headers')
  const ignoreError = isOn(properties, 'ignore.error')
  const keySeparator = Buffer.from(properties.get('key.separator') ?? '\t')
  const headersDelimiter = Buffer.from(properties.get('headers.delimiter') ?? '\t')
  const headersSeparator = properties.get('headers.separator') ?? ','
  const headerKeySeparator = properties.get('headers.key.separator') ?? ':'
  const marker = properties.get('null.marker')
  const nullMarker = marker === undefined ? null : Buffer.from(marker)
  checkSeparators(
    headersDelimiter.toString(),
    headersSeparator,
    headerKeySeparator,
    keySeparator.toString(),
    marker,
  )

  const orNull = (bytes: Buffer): Buffer | null =>
    nullMarker !== null && bytes.equals(nullMarker) ? null : bytes

  /** What is before the separator and what is behind it. */
  const split = (
    bytes: Buffer,
    separator: Buffer,
    what: string,
    number: number,
  ): [Buffer | null, Buffer] => {
    const at = bytes.indexOf(separator)
    if (at >= 0) return [bytes.subarray(0, at), bytes.subarray(at + separator.length)]
    if (ignoreError) return [null, bytes]
    throw new ToolError(`no ${what} found on line number ${number}: '${bytes.toString()}'`)
  }

  const headersOf = (bytes: Buffer, number: number) =>
    bytes
      .toString()
      .split(headersSeparator)
      .flatMap((pair) => {
        const at = pair.indexOf(headerKeySeparator)
        if (at < 0) {
          if (ignoreError) return [{ key: pair, value: null }]
          throw new ToolError(
            `no header key separator found in pair '${pair}' on line number ${number}`,
          )
        }
        const key = pair.slice(0, at)
        if (key === marker) {
          throw new ToolError(`the key of a header is null on line number ${number}`)
        }
        return [{ key, value: orNull(Buffer.from(pair.slice(at + headerKeySeparator.length))) }]
      })

  return (line, number) => {
    let rest = line
    let headers: { key: string; value: Buffer | null }[] | undefined
    if (parseHeaders) {
      const [text, behind] = split(rest, headersDelimiter, 'headers delimiter', number)
      rest = behind
      if (text !== null && orNull(text) !== null) headers = headersOf(text, number)
    }
    let key: Buffer | null = null
    if (parseKey) {
      const [text, behind] = split(rest, keySeparator, 'key separator', number)
      rest = behind
      key = text === null ? null : orNull(text)
    }
    return { topic, key, value: orNull(rest), ...(headers === undefined ? {} : { headers }) }
  }
}

function checkSeparators(
  delimiter: string,
  separator: string,
  keySeparator: string,
  recordKeySeparator: string,
  marker: string | undefined,
): void {
  if (separator === keySeparator) {
    throw new ToolError('headers.separator and headers.key.separator may not be equal')
  }
  if (delimiter === separator) {
    throw new ToolError('headers.delimiter and headers.separator may not be equal')
  }
  if (delimiter === keySeparator) {
    throw new ToolError('headers.delimiter and headers.key.separator may not be equal')
  }
  if (marker === undefined) return
  for (const [name, text] of [
    ['headers.delimiter', delimiter],
    ['headers.separator', separator],
    ['headers.key.separator', keySeparator],
    ['key.separator', recordKeySeparator],
  ] as const) {
    if (marker === text) throw new ToolError(`null.marker and ${name} may not be equal`)
  }
}

/** The lines of a stream as bytes, without their line ends. */
export async function* linesOf(
  stream: AsyncIterable<Buffer | string>,
): AsyncGenerator<Buffer, void, undefined> {
  let parts: Buffer[] = []
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk)
    let from = 0
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      parts.push(bytes.subarray(from, end))
      const line = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
      parts = []
      from = end + 1
      yield line.at(-1) === 13 ? line.subarray(0, -1) : line
    }
    if (from < bytes.length) parts.push(bytes.subarray(from))
  }
  if (parts.length > 0) yield Buffer.concat(parts)
}
