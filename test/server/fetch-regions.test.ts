/**
 * Answers that are made of pieces of files, small ones that are copied and large ones that are not,
 * many of them on one connection whose reader is slow: every byte is that of the log.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { buildBatch } from '../../src/log/record-format.ts'
import { decodeResponse } from '../../src/protocol/codec.ts'
import { readResponseHeader, writeRequestFrame } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { connectTo, createTopic, produce, startBroker } from '../support/broker-in-process.ts'
import { seededRandom, testSeed } from '../support/seed.ts'

/** Regions up to that many bytes are copied: native/transport.cc. */
const COPIED_BYTES_MAX = 16 << 10
const PARTITIONS = 4
const BATCHES = 12
const REQUESTS = 300
const VERSION = 12

/** A value that makes a batch of one record have that size. */
function valueFor(batchBytes: number): string {
  let length = batchBytes
  for (;;) {
    const bytes = buildBatch([{ timestamp: 1, key: null, value: Buffer.alloc(length) }], 0).length
    if (bytes === batchBytes) return 'v'.repeat(length)
    length -= bytes - batchBytes
  }
}

test('files and the bytes around them arrive whole, whatever their sizes', async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const random = seededRandom(seed)
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
  const sizes = [100, 3000, COPIED_BYTES_MAX / 2, 60_000]
  sizes.push(COPIED_BYTES_MAX - 1, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1)
  const directory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  const broker = await startBroker(t, { 'log.dirs': directory })
  t.after(() => rm(directory, { recursive: true }))
  const client = await connectTo(t, broker)
  await createTopic(client, 'mixed', { partitions: PARTITIONS })
  for (let partition = 0; partition < PARTITIONS; partition += 1) {
    for (let i = 0; i < BATCHES; i += 1) {
      const value = Buffer.from(valueFor(pick(sizes)))
      await produce(client, 'mixed', partition, [{ timestamp: 1, key: null, value }])
    }
  }
  const files = await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) =>
      readFile(join(directory, `mixed-${partition}`, '00000000000000000000.log')),
    ),
  )
  /** Of each batch, by its offset. */
  const positions = files.map((file) => {
    const starts: number[] = []
    for (let at = 0; starts.length < BATCHES; at += 12 + file.readInt32BE(at + 8)) starts.push(at)
    return starts
  })

  const writer = new MessageWriter()
  const asked = Array.from({ length: REQUESTS }, (_, correlationId) => {
    const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({
      partition,
      fetchOffset: Math.floor(random() * (BATCHES + 1)),
      partitionMaxBytes: pick([1, 5000, COPIED_BYTES_MAX, 40_000, 1_000_000]),
    })).filter(() => random() < 0.7)
    writeRequestFrame(
      writer,
      Fetch,
      { apiVersion: VERSION, correlationId, clientId: 'slow' },
      {
        ...{ maxWaitMs: 0, minBytes: 0, maxBytes: pick([1, 50_000, 2_000_000]) },
        topics: partitions.length === 0 ? [] : [{ topic: 'mixed', partitions }],
      },
    )
    return partitions
  })
  const socket = connect(broker.listeners[0]?.port ?? 0, '127.0.0.1')
  t.after(() => socket.destroy())
  await once(socket, 'connect')
  socket.write(Buffer.from(writer.written))
  let received = Buffer.alloc(0)
  let answered = 0
  // This loop and the broker share a thread: while one works, the other's buffers fill up.
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    received = Buffer.concat([received, chunk as Buffer])
    while (received.length >= 4 && received.length >= 4 + received.readInt32BE(0)) {
      const frame = received.subarray(4, 4 + received.readInt32BE(0))
      received = received.subarray(4 + frame.length)
      const reader = new MessageReader().reset(frame, 0, frame.length, false)
      assert.equal(readResponseHeader(reader, Fetch, VERSION), answered)
      const { responses } = decodeResponse(Fetch, VERSION, reader)
      reader.expectEnd()
      for (const one of responses.flatMap(({ partitions }) => partitions)) {
        const { partitionIndex, records } = one
        const wanted = asked[answered]?.find(({ partition }) => partition === partitionIndex)
        assert.ok(wanted !== undefined && records !== null && one.errorCode === 0)
        const from = positions[partitionIndex]?.[wanted.fetchOffset] ?? 0
        assert.deepEqual(
          frame.subarray(records.position, records.position + records.bytes),
          files[partitionIndex]?.subarray(from, from + records.bytes),
        )
      }
      answered += 1
    }
    if (answered === REQUESTS) break
  }
  assert.equal(received.length, 0)
})
