/** The batches and requests that the micro-benchmarks work on. */
import { addon } from '../../src/native/addon.ts'
import { writeRequestFrame } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { type RecordBatchOptions, writeRecordBatch } from '../../src/protocol/record-batch.ts'

export const TOPIC = 'bench'

/** A batch of `count` records with values of `size` bytes that compress about 3 to 1. */
export function sampleBatch(
  count: number,
  size: number,
  compression?: RecordBatchOptions['compression'],
): Buffer {
  const value = Buffer.alloc(size)
  let state = 1
  for (let i = 0; i < size; i += 1) {
    state = (state * 1103515245 + 12345) & 0x7fffffff
    value[i] = i % 3 === 0 ? state >> 16 : 97
  }
  const timestamp = Date.now()
  const records = Array.from({ length: count }, () => ({ value, timestamp }))
  const options = { crc32c: (bytes: Uint8Array, seed: number) => addon.crc32c(bytes, seed) }
  return writeRecordBatch(records, compression ? { ...options, compression } : options)
}

/** A whole Produce request of version 9 with one partition, size first. */
export function produceFrame(batch: Buffer): Buffer {
  const writer = new MessageWriter()
  const header = { apiVersion: 9, correlationId: 1, clientId: 'bench' }
  writeRequestFrame(writer, Produce, header, {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: TOPIC, partitionData: [{ index: 0, records: batch }] }],
  })
  return Buffer.from(writer.written)
}

/** A whole Fetch request of version 11, outside of sessions, for partition 0 from offset 0. */
export function fetchFrame(maxBytes: number): Buffer {
  const writer = new MessageWriter()
  const header = { apiVersion: 11, correlationId: 1, clientId: 'bench' }
  writeRequestFrame(writer, Fetch, header, {
    maxWaitMs: 0,
    minBytes: 0,
    maxBytes,
    topics: [
      {
        topic: TOPIC,
        partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: maxBytes }],
      },
    ],
  })
  return Buffer.from(writer.written)
}
