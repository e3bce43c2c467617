/** What records hold, as values to compare. */
import { Codec } from '../../src/compression/codec.ts'
import { MessageCursor, RecordCursor, timestampOf } from '../../src/log/record-cursor.ts'
import { type RecordPlace, readBatch } from '../../src/log/record-format.ts'

const LIMIT = 64 << 20

export interface RecordContent {
  readonly offset: number
  readonly timestamp: number
  readonly key: Buffer | null
  readonly value: Buffer | null
}

/** Copies, because a cursor's bytes are only good until it moves. */
function fieldsOf(place: RecordPlace): { key: Buffer | null; value: Buffer | null } {
  const { bytes, keyAt, keyBytes, valueAt, valueBytes } = place
  return {
    key: keyBytes < 0 ? null : Buffer.from(bytes.subarray(keyAt, keyAt + keyBytes)),
    value: valueBytes < 0 ? null : Buffer.from(bytes.subarray(valueAt, valueAt + valueBytes)),
  }
}

/** The records of a batch of format 2. */
export function batchContent(bytes: Buffer): RecordContent[] {
  const header = readBatch(bytes)
  const cursor = new RecordCursor(header, bytes, LIMIT)
  const content: RecordContent[] = []
  while (cursor.next()) {
    const offset = header.baseOffset + cursor.offsetDelta
    content.push({ offset, timestamp: timestampOf(header, cursor), ...fieldsOf(cursor) })
  }
  cursor.close()
  return content
}

/** The messages of a set of format 0 or 1, those in wrappers with their offsets in the log. */
export function messageSetContent(bytes: Buffer): RecordContent[] {
  const content: RecordContent[] = []
  const outer = new MessageCursor([bytes])
  while (outer.next()) {
    if (outer.codec === Codec.NONE) {
      content.push({ offset: outer.offset, timestamp: outer.timestamp, ...fieldsOf(outer) })
      continue
    }
    const inner = outer.inner(LIMIT)
    const messages: RecordContent[] = []
    while (inner.next()) {
      const { timestamp } = outer.isLogAppendTime ? outer : inner
      messages.push({ offset: inner.offset, timestamp, ...fieldsOf(inner) })
    }
    inner.close()
    // In format 1 the wrapper has the offset of the last message, the others count up to it.
    const base = outer.magic === 1 ? outer.offset - (messages.at(-1)?.offset ?? 0) : 0
    for (const message of messages) content.push({ ...message, offset: base + message.offset })
  }
  return content
}
