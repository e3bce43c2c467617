/** What UpdateMetadata does to the metadata cache: topics that come, change, go, and come anew. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MetadataCache } from '../../../src/metadata/metadata-cache.ts'
import type { UpdateMetadataRequest } from '../../../src/protocol/messages/update-metadata.ts'
import { applyUpdateMetadata } from '../../../src/server/cluster/metadata-update.ts'
import { ManualClock } from '../../../src/util/clock.ts'

type State = UpdateMetadataRequest['topicStates'][number]['partitionStates'][number]

const ID = 'AAAAAAAAAAAAAAAAAAAAAQ'
const OTHER_ID = 'AAAAAAAAAAAAAAAAAAAAAg'

function stateOf(partitionIndex: number, more: Partial<State> = {}): State {
  return {
    topicName: '',
    partitionIndex,
    controllerEpoch: 3,
    leader: 1,
    leaderEpoch: 5,
    isr: [1, 2],
    zkVersion: 7,
    replicas: [1, 2],
    offlineReplicas: [],
    ...more,
  }
}

function requestOf(
  topics: readonly { name: string; id: string; states: State[] }[],
  brokerIds: readonly number[] = [1, 2],
): UpdateMetadataRequest {
  return {
    controllerId: 2,
    isKRaftController: false,
    type: 0,
    controllerEpoch: 3,
    brokerEpoch: 9,
    ungroupedPartitionStates: [],
    topicStates: topics.map(({ name, id, states }) => ({
      topicName: name,
      topicId: id,
      partitionStates: states,
    })),
    liveBrokers: brokerIds.map((id) => ({
      id,
      v0Host: '',
      v0Port: 0,
      endpoints: [
        { port: 9092 + id, host: `broker-${id}`, listener: 'PLAINTEXT', securityProtocol: 0 },
      ],
      rack: `rack-${id}`,
    })),
  }
}

function update(metadata: MetadataCache, request: UpdateMetadataRequest): string[] {
  return applyUpdateMetadata(request, {
    metadata,
    epochOf: (id) => 100 + id,
    configsOf: (topic) => new Map([['topic', topic]]),
  })
}

test('brokers, the controller and topics are what the controller says', () => {
  const metadata = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  const states = [stateOf(0), stateOf(1, { leader: 2, isr: [2] })]
  assert.deepEqual(update(metadata, requestOf([{ name: 't', id: ID, states }])), [])
  assert.equal(metadata.controllerId, 2)
  assert.deepEqual(metadata.endpoint(2, 'PLAINTEXT'), { host: 'broker-2', port: 9094 })
  assert.equal(metadata.broker(1)?.brokerEpoch, 101)
  assert.equal(metadata.broker(1)?.rack, 'rack-1')
  const topic = metadata.topic('t')
  assert.equal(topic?.topicId, ID)
  assert.deepEqual(topic?.configs, new Map([['topic', 't']]))
  assert.deepEqual(
    topic?.partitions.map(({ leader, leaderEpoch, partitionEpoch, isr }) => [
      ...[leader, leaderEpoch, partitionEpoch],
      isr,
    ]),
    [
      [1, 5, 7, [1, 2]],
      [2, 5, 7, [2]],
    ],
  )
})

test('single partitions change, the others stay', () => {
  const metadata = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  const states = [stateOf(0), stateOf(1), stateOf(2)]
  update(metadata, requestOf([{ name: 't', id: ID, states }]))
  const changed = [stateOf(1, { leader: 2, leaderEpoch: 6 })]
  update(metadata, requestOf([{ name: 't', id: ID, states: changed }], [2]))
  const leaders = metadata.topic('t')?.partitions.map(({ leader }) => leader)
  assert.deepEqual(leaders, [1, 2, 1])
  assert.deepEqual(metadata.partition('t', 0)?.offlineReplicas, [1])
})

test('partitions that come out of order leave none undefined', () => {
  const metadata = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  update(metadata, requestOf([{ name: 't', id: ID, states: [stateOf(2)] }]))
  const leaders = metadata.topic('t')?.partitions.map(({ leader }) => leader)
  assert.deepEqual(leaders, [-1, -1, 1])
})

test('a deleted topic goes, and one of the same name that came after it stays', () => {
  const metadata = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  const deleted = [stateOf(0, { leader: -2 })]
  update(metadata, requestOf([{ name: 't', id: ID, states: [stateOf(0)] }]))
  assert.deepEqual(update(metadata, requestOf([{ name: 't', id: ID, states: deleted }])), ['t'])
  assert.equal(metadata.topic('t'), undefined)
  assert.deepEqual(update(metadata, requestOf([{ name: 't', id: ID, states: deleted }])), [])

  update(metadata, requestOf([{ name: 't', id: OTHER_ID, states: [stateOf(0), stateOf(1)] }]))
  assert.deepEqual(update(metadata, requestOf([{ name: 't', id: ID, states: deleted }])), [])
  assert.equal(metadata.topic('t')?.topicId, OTHER_ID)
  assert.equal(metadata.topicById(ID), undefined)
})

test('a topic of the same name with another id has nothing of the old one', () => {
  const metadata = new MetadataCache({ clusterId: 'c', clock: new ManualClock() })
  update(metadata, requestOf([{ name: 't', id: ID, states: [stateOf(0), stateOf(1)] }]))
  update(metadata, requestOf([{ name: 't', id: OTHER_ID, states: [stateOf(0)] }]))
  assert.equal(metadata.topic('t')?.partitions.length, 1)
  assert.equal(metadata.partitionCount, 1)
})
