/**
 * A log that follows a real broker's: fetched over an outbound connection, batches go into it without
 * entering JavaScript, byte by byte as the leader has them; what does not belong there is refused.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { addon } from '../../src/native/addon.ts'
import { EventKind } from '../../src/native/events.ts'
import { decodeResponse } from '../../src/protocol/codec.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { readResponseHeader, writeRequestFrame } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { follow } from '../../src/shard/log-commands.ts'
import { published } from '../../src/shard/published.ts'
import { ShardOwner } from '../../src/shard/shard-owner.ts'
import { connectTo, createTopic, produce, startBroker } from '../support/broker-in-process.ts'
import { EventLog, logOptions } from './event-log.ts'

const VERSION = 12
const EPOCH = 3

class Follower {
  readonly events: EventLog
  readonly log: number
  readonly row: number
  readonly #connection: number
  #correlationId = 0

  private constructor(events: EventLog, opened: { handle: number; row: number }, to: number) {
    this.events = events
    this.log = opened.handle
    this.row = opened.row
    this.#connection = to
  }

  static async start(t: TestContext, directory: string, port: number): Promise<Follower> {
    const events = new EventLog()
    const shard = addon.createShard(events.id)
    const owner = new ShardOwner({ shard, decompressionMaxBytes: 1e7 }, true)
    t.after(() => {
      owner.detach()
      addon.removeShard(shard)
      addon.closeTransport(events.id)
    })
    const options = { ...logOptions(directory), leaderEpoch: -1 }
    const opened = addon.openLog(shard, options)
    assert.equal(opened.error, 0)
    const connection = addon.connect(events.id, '127.0.0.1', port)
    assert.ok(connection > 0)
    const [, id, listener] = await events.next(EventKind.OPENED)
    assert.deepEqual([id, listener], [connection, -1])
    return new Follower(events, opened, connection)
  }

  /** Sends a fetch; the answer with the places of its records, and its sequence. */
  async fetch(topic: string, fetchOffset: number) {
    const writer = new MessageWriter()
    this.#correlationId += 1
    const header = { apiVersion: VERSION, correlationId: this.#correlationId, clientId: 'follower' }
    writeRequestFrame(writer, Fetch, header, {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1000,
      topics: [{ topic, partitions: [{ partition: 0, fetchOffset, partitionMaxBytes: 1000 }] }],
    })
    const bytes = Buffer.from(writer.written)
    assert.ok(addon.send(this.events.id, this.#connection, bytes, 0, bytes.length))
    const [, , sequence] = await this.events.next(EventKind.FRAME)
    const out = Buffer.alloc(4096)
    const connection = this.#connection
    const n = addon.readFetchHead(this.events.id, connection, sequence as number, out, VERSION)
    assert.ok(n > 0, `${n}`)
    const reader = new MessageReader().reset(out, 0, n, true)
    assert.equal(readResponseHeader(reader, Fetch, VERSION), this.#correlationId)
    const answer = decodeResponse(Fetch, VERSION, reader).responses[0]?.partitions[0]
    assert.ok(answer !== undefined && answer.records !== null)
    return { sequence: sequence as number, answer, records: answer.records }
  }

  /** Appends what a fetch brought: [error code, next offset]. */
  async append(
    sequence: number,
    options: { position: number; bytes: number; leaderEpoch: number; highWatermark: number },
  ): Promise<[number, number]> {
    const { position, bytes, leaderEpoch, highWatermark } = options
    const rows = Float64Array.of(this.log, position, bytes, leaderEpoch, 1, highWatermark)
    assert.ok(addon.appendFetched(this.events.id, this.#connection, sequence, rows, 1))
    const [, , done] = await this.events.next(EventKind.RESULT)
    assert.equal(done, sequence)
    const results = new Float64Array(6)
    assert.equal(addon.takeResults(this.events.id, this.#connection, sequence, results), 1)
    return [results[1] as number, results[2] as number]
  }

  drop(sequence: number): void {
    addon.dropFrame(this.events.id, this.#connection, sequence)
  }
}

test('a follower gets what its leader has, byte by byte', { timeout: 60_000 }, async (t) => {
  const broker = await startBroker(t)
  const client = await connectTo(t, broker)
  await createTopic(client, 'topic')
  for (let i = 0; i < 60; i += 1) {
    const records = [{ timestamp: i, key: Buffer.from(`${i}`), value: Buffer.alloc(100, i) }]
    await produce(client, 'topic', 0, [...records, ...records], i % 5)
  }
  const directory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(() => rm(directory, { recursive: true }))
  const port = broker.listeners[0]?.port ?? 0
  const follower = await Follower.start(t, join(directory, 'topic-0'), port)

  // Nobody follows yet, then another leader is followed.
  for (const [epoch, told] of [
    [EPOCH, null],
    [EPOCH, EPOCH + 1],
  ] as const) {
    if (told !== null) follow(follower.log, told)
    const { sequence, records } = await follower.fetch('topic', 0)
    const refused = await follower.append(sequence, {
      ...{ position: records.position, bytes: records.bytes },
      ...{ leaderEpoch: epoch, highWatermark: 120 },
    })
    assert.equal(refused[0], ErrorCode.FENCED_LEADER_EPOCH)
    assert.equal(published.logEnd(follower.row), 0)
  }

  follow(follower.log, EPOCH)
  let next = 0
  let fetches = 0
  while (next < 120) {
    const { sequence, answer, records } = await follower.fetch('topic', next)
    const highWatermark = Math.min(answer.highWatermark, next + 1)
    const [error, end] = await follower.append(sequence, {
      ...{ position: records.position, bytes: records.bytes },
      ...{ leaderEpoch: EPOCH, highWatermark },
    })
    assert.equal(error, 0)
    assert.ok(end > next)
    assert.equal(published.logEnd(follower.row), end)
    assert.equal(published.highWatermark(follower.row), highWatermark)
    next = end
    fetches += 1
  }
  assert.ok(fetches > 3)

  // What it has already, and what would leave a frame, is refused.
  const again = await follower.fetch('topic', 0)
  const { position, bytes } = again.records
  const rest = { leaderEpoch: EPOCH, highWatermark: 120 }
  const rows = Float64Array.of(follower.log, position, bytes + 1e6, EPOCH, 1, 120)
  assert.equal(addon.appendFetched(follower.events.id, 1, again.sequence, rows, 1), false)
  const repeated = await follower.append(again.sequence, { position, bytes, ...rest })
  assert.equal(repeated[0], ErrorCode.OFFSET_OUT_OF_RANGE)
  const empty = await follower.fetch('topic', 120)
  assert.equal(empty.records.bytes, 0)
  follower.drop(empty.sequence)

  assert.equal(addon.closeLog(follower.log, true), 0)
  const name = '00000000000000000000.log'
  const [mine, its] = await Promise.all([
    readFile(join(directory, 'topic-0', name)),
    readFile(join(broker.dataDirectory, 'topic-0', name)),
  ])
  assert.ok(mine.length > 60 * 61)
  assert.deepEqual(mine, its.subarray(0, mine.length))
})
