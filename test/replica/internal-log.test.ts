/** Appends and reads of the broker itself: order, refusal, whole batches, with and without threads. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { buildBatch, readBatch } from '../../src/log/record-format.ts'
import type { Transport } from '../../src/network/transport.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { createInternalLog, type InternalLog } from '../../src/replica/internal-log.ts'
import { systemClock } from '../../src/util/clock.ts'
import { Harness } from './harness.ts'

interface Setting {
  readonly log: InternalLog
  readonly harness: Harness
  readonly transport: Transport
}

async function start(t: TestContext, threaded: boolean): Promise<Setting> {
  const harness = await Harness.start(t, { threaded })
  await harness.open('__consumer_offsets', { 'cleanup.policy': 'compact' })
  const { replicas, transport } = harness
  const log = createInternalLog({
    replicas,
    connection: transport.openInternal(),
    clock: systemClock,
  })
  return { log, harness, transport }
}

function batchOf(key: string): Buffer {
  return buildBatch([{ timestamp: 1, key: Buffer.from(key), value: Buffer.alloc(100) }], 0)
}

function offsetsIn(bytes: Buffer): number[] {
  const offsets: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const batch = readBatch(bytes.subarray(at))
    offsets.push(batch.baseOffset)
    at += batch.size
  }
  return offsets
}

for (const threaded of [false, true]) {
  const where = threaded ? 'through a shard thread' : 'on the main thread'

  test(`the broker's own appends are ordered, committed and readable ${where}`, async (t) => {
    const { log } = await start(t, threaded)
    const count = 10_000
    const results = await Promise.all(
      Array.from({ length: count }, (_, i) => log.append('__consumer_offsets', 0, batchOf(`${i}`))),
    )
    for (const [i, result] of results.entries()) {
      assert.deepEqual(result, { errorCode: 0, baseOffset: i })
    }
    let next = log.logStart('__consumer_offsets', 0)
    assert.equal(next, 0)
    for (;;) {
      const { errorCode, bytes } = await log.read('__consumer_offsets', 0, next, 64 * 1024)
      assert.equal(errorCode, 0)
      if (bytes.length === 0) break
      assert.ok(bytes.length <= 64 * 1024)
      for (const offset of offsetsIn(bytes)) {
        assert.equal(offset, next)
        next += 1
      }
    }
    assert.equal(next, count)
    const one = await log.read('__consumer_offsets', 0, 7, 1)
    assert.deepEqual(offsetsIn(one.bytes), [7], 'at least one batch')
  })

  test(`what cannot be appended is refused with its error ${where}`, async (t) => {
    const { log, harness, transport } = await start(t, threaded)
    const damaged = batchOf('a')
    damaged[damaged.length - 1] = 1
    assert.equal(
      (await log.append('__consumer_offsets', 0, damaged)).errorCode,
      ErrorCode.CORRUPT_MESSAGE,
    )
    assert.equal(
      (await log.append('nowhere', 0, batchOf('a'))).errorCode,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    )
    const beyond = await log.read('__consumer_offsets', 0, 5, 1000)
    assert.equal(beyond.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE)
    await transport.stop()
    assert.equal(
      (await log.append('__consumer_offsets', 0, batchOf('b'))).errorCode,
      0,
      'a coordinator may still write while clients are being sent away',
    )
    await harness.delete('__consumer_offsets')
    assert.equal(
      (await log.append('__consumer_offsets', 0, batchOf('a'))).errorCode,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    )
  })
}
