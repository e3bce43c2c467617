/** OffsetCommit and OffsetFetch of the 0.8 era, which keep offsets in the registry. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createBroker } from '../../src/index.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { OffsetCommit } from '../../src/protocol/messages/offset-commit.ts'
import { OffsetFetch } from '../../src/protocol/messages/offset-fetch.ts'
import { WireClient } from '../support/wire-client.ts'

async function commit(client: WireClient, topic: string, partition: number, metadata: string) {
  const answer = await client.send(OffsetCommit, 0, {
    groupId: 'old',
    topics: [
      {
        name: topic,
        partitions: [
          { partitionIndex: partition, committedOffset: 42, committedMetadata: metadata },
        ],
      },
    ],
  })
  return answer.topics[0]?.partitions[0]?.errorCode
}

async function fetch(client: WireClient, topic: string, partition: number) {
  const answer = await client.send(OffsetFetch, 0, {
    groupId: 'old',
    topics: [{ name: topic, partitionIndexes: [partition] }],
  })
  const one = answer.topics[0]?.partitions[0]
  return [one?.errorCode, one?.committedOffset]
}

test('offsets of the 0.8 era are kept apart from those of groups, over a restart', async (t) => {
  const dataDirectory = await mkdtemp(join(tmpdir(), 'shardlog-'))
  const first = await createBroker({ dataDirectory, topics: ['t'] })
  const client = await WireClient.connect(first.port)
  assert.deepEqual(await fetch(client, 't', 0), [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1])
  assert.equal(await commit(client, 't', 0, ''), 0)
  assert.equal(await commit(client, 't', 9, ''), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  assert.equal(await commit(client, 'none', 0, ''), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  assert.equal(await commit(client, 't', 0, 'x'.repeat(4097)), ErrorCode.OFFSET_METADATA_TOO_LARGE)
  assert.deepEqual(await fetch(client, 't', 0), [0, 42])
  client.close()
  await first.close()
  const second = await createBroker({ dataDirectory })
  t.after(async () => {
    await second.close()
    await rm(dataDirectory, { recursive: true })
  })
  const again = await WireClient.connect(second.port)
  assert.deepEqual(await fetch(again, 't', 0), [0, 42])
  const groups = await again.send(OffsetFetch, 1, {
    groupId: 'old',
    topics: [{ name: 't', partitionIndexes: [0] }],
  })
  assert.notEqual(groups.topics[0]?.partitions[0]?.committedOffset, 42)
  again.close()
})
