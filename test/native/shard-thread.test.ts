/** A shard's thread that ends without a word: what it had queued is answered, its files live on. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Worker } from 'node:worker_threads'
import { buildBatch } from '../../src/log/record-format.ts'
import { addon, type LogOpenResult } from '../../src/native/addon.ts'
import { EventKind } from '../../src/native/events.ts'
import { EventLog, logOptions } from './event-log.ts'

interface Owner {
  readonly worker: Worker
  readonly shard: number
  readonly log: LogOpenResult
  readonly gate: SharedArrayBuffer
}

async function startOwner(shard: number, directory: string): Promise<Owner> {
  const gate = new SharedArrayBuffer(4)
  const worker = new Worker(new URL('./shard-thread.js', import.meta.url), {
    workerData: { shard, options: logOptions(directory), gate },
  })
  const [log] = (await once(worker, 'message')) as [LogOpenResult & { attached: boolean }]
  assert.equal(log.attached, true)
  assert.equal(log.error, 0)
  return { worker, shard, log, gate }
}

const records = [{ timestamp: 1, key: null, value: Buffer.from('value') }]
/** JavaScript must look into it: it stays in the slow lane, and what comes behind it waits. */
const compressed = buildBatch(records, 1)
const plain = buildBatch(records, 0)

function open(gate: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(gate), 0, 1)
  Atomics.notify(new Int32Array(gate), 0)
}

/** Feeds one frame that is nothing but `slices` times a batch, and posts them to the log. */
async function produce(
  events: EventLog,
  connection: number,
  log: number,
  batch: Buffer,
  slices: number,
): Promise<number> {
  const frame = Buffer.concat([Buffer.alloc(12), ...Array<Buffer>(slices).fill(batch)])
  frame.writeInt32BE(frame.length - 4, 0)
  assert.equal(addon.feed(events.id, connection, frame), 1)
  const [, , sequence] = (await events.next(EventKind.FRAME)) as [number, number, number]
  const rows = new Float64Array(11 * slices).fill(-1)
  for (let i = 0; i < slices; i += 1) {
    rows.set([log, 8 + i * batch.length, batch.length, -1, 1_700_000_000_000, i], i * 11)
  }
  const head = Buffer.alloc(8)
  assert.equal(
    addon.produce(events.id, connection, sequence, 1, head, 0, head.length, rows, slices),
    true,
  )
  // A second time is refused, as is giving the frame back twice.
  assert.equal(
    addon.produce(events.id, connection, sequence, 1, head, 0, head.length, rows, slices),
    false,
  )
  addon.releaseFrame(events.id, connection, sequence)
  return sequence
}

async function setUp(t: TestContext): Promise<{ events: EventLog; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(async () => await rm(directory, { recursive: true }))
  const events = new EventLog()
  t.after(() => addon.closeTransport(events.id))
  return { events, directory: join(directory, 't-0') }
}

test('a thread that is terminated while it owns a shard answers what is queued', async (t) => {
  const { events, directory } = await setUp(t)
  const shard = addon.createShard(events.id)
  const connection = addon.attach(events.id)
  for (let round = 0; round < 5; round += 1) {
    const owner = await startOwner(shard, directory)
    const sequences = [
      await produce(events, connection, owner.log.handle, compressed, 3),
      await produce(events, connection, owner.log.handle, plain, 1),
    ]
    // Once queued, once on its way through the shard.
    if (round % 2 === 1) open(owner.gate)
    await owner.worker.terminate()
    for (const sequence of sequences) {
      const row = await events.next(EventKind.RESULT)
      assert.equal(row[2], sequence)
      const results = new Float64Array(6 * 3)
      const count = addon.requestResults(events.id, connection, sequence, results)
      assert.equal(count, sequence === sequences[0] ? 3 : 1)
      for (let i = 0; i < count; i += 1) assert.equal(results[i * 6 + 1], 6)
      assert.equal(addon.respond(events.id, connection, sequence, Buffer.alloc(4), 0, 4), true)
    }
    assert.equal(addon.pull(events.id, connection, Buffer.alloc(100)), 8)
    assert.equal(addon.heldFrameBytes(), 0)
    // Its handle is stale: an answer, not a crash.
    assert.equal(addon.postToLog(owner.log.handle, 2, 0, 0), false)
    assert.equal(addon.locate(events.id, owner.log.handle, 0, 100, 0, true), -1006)
    const late = await produce(events, connection, owner.log.handle, plain, 1)
    assert.equal((await events.next(EventKind.RESULT))[2], late)
    assert.equal(addon.respond(events.id, connection, late, Buffer.alloc(4), 0, 4), true)
    addon.pull(events.id, connection, Buffer.alloc(100))
  }
  addon.removeShard(shard)
})

test('a thread that goes on after its transport is closed harms nobody', async (t) => {
  const { events, directory } = await setUp(t)
  const shard = addon.createShard(events.id)
  const connection = addon.attach(events.id)
  const owner = await startOwner(shard, directory)
  await produce(events, connection, owner.log.handle, plain, 2)
  addon.closeTransport(events.id)
  // Now it works off its queue: the slices are appended, their connection is gone.
  open(owner.gate)
  await owner.worker.terminate()
  assert.equal(addon.heldFrameBytes(), 0)
  assert.equal(addon.feed(events.id, connection, Buffer.alloc(1)), -1)
  addon.removeShard(shard)
})
