/** Leaders and followers of one process, over sockets: the production classes of both sides. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildBatch } from '../../src/log/record-format.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { until } from '../support/until.ts'
import { DataPath } from './data-path.ts'

for (const threaded of [false, true]) {
  const where = threaded ? 'with shard threads' : 'on one thread'

  test(`acks=-1 is answered when all have it, ${where}`, async (t) => {
    const leader = await DataPath.start(t, { threaded, highWatermarkDelayMs: 5 })
    const peers = new Map([[1, leader.port]])
    const followers = [
      await DataPath.start(t, { brokerId: 2, peers, threaded }),
      await DataPath.start(t, { brokerId: 3, peers, threaded }),
    ]
    const partitions = 3
    await leader.open('t', { partitions })
    for (const follower of followers) await follower.open('t', { partitions, leader: 1 })
    const client = await leader.connect()
    for (let i = 0; i < 60; i += 1) {
      const records = buildBatch([{ timestamp: 1, key: null, value: Buffer.from(`v${i}`) }], 0)
      const answer = await client.send(Produce, 9, {
        ...{ acks: -1, timeoutMs: 10_000 },
        topicData: [{ name: 't', partitionData: [{ index: i % partitions, records }] }],
      })
      const one = answer.responses[0]?.partitionResponses[0]
      assert.deepEqual([one?.errorCode, one?.baseOffset], [0, Math.floor(i / partitions)])
      for (const follower of followers) {
        assert.ok(follower.partition('t', i % partitions).logEnd > (one?.baseOffset ?? 0))
      }
    }
    await until('the followers to know what is committed', () =>
      followers.every((follower) =>
        [0, 1, 2].every((partition) => follower.partition('t', partition).highWatermark === 20),
      ),
    )
  })
}
