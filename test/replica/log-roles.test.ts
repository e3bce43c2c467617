/**
 * Logs that lead and logs that follow: what appends may do in which role, how many replicas acks=-1
 * waits for, and cutting a log off, also while the slow lane holds it.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildBatch } from '../../src/log/record-format.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import {
  expireParked,
  failParked,
  follow,
  lead,
  moveHighWatermark,
  setInSync,
  stepDown,
} from '../../src/shard/log-commands.ts'
import { Harness } from './harness.ts'

const PLAIN = { 'cleanup.policy': 'delete' }

function batch(key: string, codec = 0): Buffer {
  return buildBatch([{ timestamp: 1, key: Buffer.from(key), value: Buffer.alloc(50, key) }], codec)
}

for (const threaded of [false, true]) {
  const where = threaded ? 'on a shard thread' : 'on the main thread'

  test(`a log takes appends of the epoch that it leads in ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const { log } = await harness.open('p', PLAIN)
    const connection = harness.transport.openInternal()
    const append = async (leaderEpoch: number): Promise<number> => {
      const options = { leaderEpoch, acks: 1, nowMs: 1 } as const
      return (await connection.append(log, batch('a'), options)).errorCode
    }
    assert.equal(await append(0), 0)
    assert.ok(lead(log, { leaderEpoch: 4, followers: 0 }))
    assert.equal(await append(0), ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert.equal(await append(4), 0)
    assert.ok(follow(log, 5))
    assert.equal(await append(4), ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert.ok(stepDown(log))
    assert.equal(await append(5), ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert.ok(lead(log, { leaderEpoch: 6, followers: 0 }))
    // As OffsetForLeaderEpoch tells a follower of epoch 5: what it has from offset 2 on is not here.
    const end = (epoch: number) => harness.shard.run('epochEndOffset', { log, epoch })
    assert.deepEqual(await end(5), [4, 2])
    assert.deepEqual(await end(6), [6, 2])
    assert.ok(!lead(12345, { leaderEpoch: 1, followers: 0 }))
  })

  test(`acks=-1 waits for the high watermark, and for replicas enough, ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const partition = await harness.open('p', PLAIN)
    const { log } = partition
    const connection = harness.transport.openInternal()
    const append = (acks: 1 | -1) =>
      connection.append(log, batch('a'), { leaderEpoch: 1, acks, nowMs: 1 })
    lead(log, { leaderEpoch: 1, followers: 2 })
    setInSync(log, { inSync: 1, required: 2 })
    assert.equal((await append(-1)).errorCode, ErrorCode.NOT_ENOUGH_REPLICAS)
    assert.deepEqual(await append(1), { errorCode: 0, baseOffset: 0 })
    setInSync(log, { inSync: 2, required: 2 })

    const confirmed = append(-1)
    await append(1)
    moveHighWatermark(log, 2, 1)
    assert.deepEqual(await confirmed, { errorCode: 0, baseOffset: 1 })
    assert.equal(partition.highWatermark, 2)

    const unconfirmed = append(-1)
    await append(1)
    setInSync(log, { inSync: 1, required: 2 })
    moveHighWatermark(log, 5, 1)
    const { NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT } = ErrorCode
    assert.equal((await unconfirmed).errorCode, NOT_ENOUGH_REPLICAS_AFTER_APPEND)

    setInSync(log, { inSync: 2, required: 2 })
    const failed = append(-1)
    await append(1)
    failParked(log, REQUEST_TIMED_OUT)
    assert.equal((await failed).errorCode, REQUEST_TIMED_OUT)
    const waiting = append(-1)
    expireParked(log, harness.clock.nowMs())
    await append(1)
    // It has no deadline; a new leader is what it must hear of.
    follow(log, 2)
    assert.equal((await waiting).errorCode, ErrorCode.NOT_LEADER_OR_FOLLOWER)
  })

  test(`a log that follows is cut off, one that leads is not, ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const partition = await harness.open('p')
    await harness.append('p', ['a', 'b', 'a', 'b', 'c'])
    const { logs } = harness
    const stored = harness.log('p')
    await assert.rejects(logs.truncate(stored, 3), /p-0 .* at offset 3: EPERM/)
    follow(partition.log, 1)
    await assert.rejects(logs.truncate(stored, 3, { leaderEpoch: 0 }), /at offset 3: ESTALE/)
    await logs.truncate(stored, 3, { leaderEpoch: 1 })
    assert.deepEqual([partition.logStart, partition.logEnd, partition.highWatermark], [0, 3, 3])
    assert.deepEqual(await harness.read('p'), ['0:a', '1:b', '2:a'])
    await logs.truncate(stored, 100, { fully: true })
    assert.deepEqual([partition.logStart, partition.logEnd], [100, 100])
    lead(partition.log, { leaderEpoch: 0, followers: 0 })
    await harness.append('p', ['d'])
    assert.deepEqual(await harness.read('p'), ['100:d'])
  })

  test(`what is in the slow lane comes before a cut that follows it, ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const partition = await harness.open('p', PLAIN)
    const connection = harness.transport.openInternal()
    const options = { leaderEpoch: 0, acks: 1, nowMs: 1 } as const
    const slow = Array.from({ length: 20 }, () =>
      connection.append(partition.log, batch('z', 1), options),
    )
    follow(partition.log, 1)
    await harness.logs.truncate(harness.log('p'), 5)
    for (const [i, result] of (await Promise.all(slow)).entries()) {
      assert.deepEqual(result, { errorCode: 0, baseOffset: i })
    }
    assert.equal(partition.logEnd, 5)
    assert.equal((await harness.read('p')).length, 5)
  })
}
