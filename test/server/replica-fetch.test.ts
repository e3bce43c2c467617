/**
 * Fetch as replicas send it, on real logs behind a socket: what it commits, what it reads, when it
 * is answered, and what a session of thousands of partitions costs.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fetch, type FetchResponse } from '../../src/protocol/messages/fetch.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { DataPath, position, type ReplicaFetch, replicaFetch } from './data-path.ts'

const VERSION = 17

function ask(client: WireClient, fetch: ReplicaFetch): Promise<FetchResponse> {
  return client.send(Fetch, VERSION, replicaFetch(fetch))
}

/** `partition:bytes>0` and what is wrong, of each partition of an answer. */
function told(answer: FetchResponse): [number, number, boolean][] {
  return answer.responses.flatMap((topic) =>
    topic.partitions.map((one): [number, number, boolean] => [
      one.partitionIndex,
      one.errorCode,
      (one.records?.bytes ?? 0) > 0,
    ]),
  )
}

for (const threaded of [false, true]) {
  const where = threaded ? 'with a shard thread' : 'on one thread'

  test(`replicas read up to the log end, and what they have is committed, ${where}`, async (t) => {
    const path = await DataPath.start(t, { threaded })
    const [partition] = await path.open('t')
    assert.ok(partition)
    const [second, third] = [await path.connect(), await path.connect()]
    const created = await ask(second, { partitions: [position(0)] })
    const other = await ask(third, { partitions: [position(0)], replicaId: 3 })
    assert.notEqual(created.sessionId, 0)
    assert.deepEqual(told(created), [[0, 0, false]])
    const parked = ask(second, { sessionId: created.sessionId, sessionEpoch: 1 })
    await path.append(partition, 'a')
    const woken = await parked
    assert.deepEqual(told(woken), [[0, 0, true]])
    assert.equal(woken.responses[0]?.partitions[0]?.highWatermark, 0)
    assert.equal(partition.highWatermark, 0)
    // Nobody waits for the answer of this one.
    const atEnd = ask(second, {
      sessionId: created.sessionId,
      sessionEpoch: 2,
      partitions: [position(1)],
    })
    const late = await ask(third, {
      sessionId: other.sessionId,
      sessionEpoch: 1,
      replicaId: 3,
    })
    assert.deepEqual(told(late), [[0, 0, true]])
    assert.equal(partition.highWatermark, 0)
    const behind = ask(third, {
      sessionId: other.sessionId,
      sessionEpoch: 2,
      replicaId: 3,
      partitions: [position(1)],
    })
    await until('what both have to be committed', () => partition.highWatermark === 1)
    await path.append(partition, 'b')
    const [one, two] = await Promise.all([atEnd, behind])
    assert.deepEqual(told(one), [[0, 0, true]])
    assert.deepEqual(told(two), [[0, 0, true]])
    assert.equal(one.responses[0]?.partitions[0]?.highWatermark, 1)
    assert.equal(two.responses[0]?.partitions[0]?.highWatermark, 1)
  })
}
