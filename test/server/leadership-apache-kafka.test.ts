/**
 * The data path of a broker that leads one topic, follows in another and has nothing of a third,
 * beside Apache Kafka's: the same requests in every version, and the answers compared.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { buildBatch } from '../../src/log/record-format.ts'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { skipWithoutCluster, startApacheCluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import { WireClient } from '../support/wire-client.ts'
import { DataPath, position, replicaFetch, topicIdOf } from './data-path.ts'
import { versionsOf } from './test-services.ts'

const TOPICS = ['led', 'followed', 'elsewhere', 'unknown', 'out of range'] as const
const records = buildBatch([{ timestamp: 1, key: null, value: Buffer.from('a') }], 0)

function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(records)
  change(bytes)
  return bytes
}

/** What producers may not send as the records of a partition, and batches that are only odd. */
const MALFORMED: Readonly<Record<string, Buffer>> = {
  empty: Buffer.alloc(0),
  'a few bytes': Buffer.from('abc'),
  'no magic': records.subarray(0, 16),
  'only a header': records.subarray(0, 17),
  'cut short': records.subarray(0, records.length - 1),
  'a length of 5': changed((bytes) => bytes.writeInt32BE(5, 8)),
  'a length below 0': changed((bytes) => bytes.writeInt32BE(-5, 8)),
  'format 1': changed((bytes) => bytes.writeInt8(1, 16)),
  'format 3': changed((bytes) => bytes.writeInt8(3, 16)),
  'format -1': changed((bytes) => bytes.writeInt8(-1, 16)),
  'two batches': Buffer.concat([records, records]),
  'a batch and a bit': Buffer.concat([records, records.subarray(0, 20)]),
  'a batch and a wrong length': Buffer.concat([
    records,
    changed((bytes) => bytes.writeInt32BE(5, 8)),
  ]),
  'a wrong checksum': changed((bytes) => bytes.writeInt32BE(1, 17)),
  'a length of 20': changed((bytes) => bytes.writeInt32BE(20, 8)),
  zstd: changed((bytes) => bytes.writeInt16BE(4, 21)),
}

interface Place {
  readonly client: WireClient
  readonly idOf: (topic: string) => string
  /** Id of the other broker. */
  readonly other: number
}

function nameOf(topic: string): { name: string; index: number } {
  return topic === 'out of range' ? { name: 'led', index: 7 } : { name: topic, index: 0 }
}

/** Who leads, as far as the answer says. */
function hint(
  place: Place,
  answer: { currentLeader: { leaderId: number; leaderEpoch: number } },
  { nodeEndpoints }: { nodeEndpoints: readonly { nodeId: number }[] },
): string {
  const { leaderId, leaderEpoch } = answer.currentLeader
  const leader = leaderId < 0 ? 'nobody' : leaderId === place.other ? 'the other' : 'itself'
  const nodes = nodeEndpoints.map(({ nodeId }) => (nodeId === place.other ? 'the other' : nodeId))
  return `${leader} in ${leaderEpoch} at [${nodes}]`
}

async function produced(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(Produce)) {
    for (const topic of TOPICS) {
      const { name, index } = nameOf(topic)
      if (name === 'led' && index === 0) continue
      const answer = await place.client.send(Produce, version, {
        ...{ acks: 1, timeoutMs: 1000 },
        topicData: [{ name, partitionData: [{ index, records }] }],
      })
      const one = answer.responses[0]?.partitionResponses[0]
      assert.ok(one)
      lines.push(`Produce ${version} ${topic}: ${one.errorCode} ${hint(place, one, answer)}`)
    }
  }
  return lines
}

async function refused(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(Produce).filter((one) => one >= 3)) {
    for (const topic of ['followed', 'elsewhere'] as const) {
      for (const [what, bytes] of Object.entries(MALFORMED)) {
        const answer = await place.client.send(Produce, version, {
          ...{ acks: 1, timeoutMs: 1000 },
          topicData: [{ name: topic, partitionData: [{ index: 0, records: bytes }] }],
        })
        const one = answer.responses[0]?.partitionResponses[0]
        assert.ok(one)
        const said = `${one.errorCode} ${hint(place, one, answer)}`
        lines.push(`Produce ${version} ${topic}, ${what}: ${said}`)
      }
    }
  }
  return lines
}

async function fetched(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(Fetch)) {
    for (const topic of TOPICS) {
      for (const replicaId of version < 15 ? [-1, -2] : [-1]) {
        for (const currentLeaderEpoch of version < 9 ? [-1] : [-1, 0, 1]) {
          const { name, index } = nameOf(topic)
          const names = version < 13 ? { topic: name } : { topicId: place.idOf(name) }
          const partitions = [position(1, { partition: index, currentLeaderEpoch })]
          const answer = await place.client.send(Fetch, version, {
            ...{ maxWaitMs: 0, minBytes: 1, topics: [{ ...names, partitions }] },
            ...(version < 15 ? { replicaId } : {}),
          })
          const one = answer.responses[0]?.partitions[0]
          assert.ok(one)
          const found = `${one.errorCode} ${one.highWatermark} ${(one.records?.bytes ?? 0) > 0}`
          // Below version 16 Kafka does not use the field that version 12 has for it.
          const leader = version < 16 ? '' : hint(place, one, answer)
          const asked = `Fetch ${version} ${topic} of ${replicaId} in ${currentLeaderEpoch}`
          lines.push(`${asked}: ${found} ${leader}`)
        }
      }
    }
  }
  return lines
}

async function listed(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(ListOffsets)) {
    for (const topic of TOPICS) {
      for (const replicaId of [-1, -2, place.other]) {
        for (const timestamp of version < 1 ? [-1, -2, -9] : [-1, -2, -3, -9, 1]) {
          const { name, index } = nameOf(topic)
          const more = version === 0 ? { maxNumOffsets: 9 } : {}
          const wanted = { partitionIndex: index, timestamp, ...more }
          const answer = await place.client.send(ListOffsets, version, {
            ...{ replicaId, isolationLevel: 0 },
            topics: [{ name, partitions: [wanted] }],
          })
          const one = answer.topics[0]?.partitions[0]
          assert.ok(one)
          const found = version === 0 ? one.oldStyleOffsets : one.offset
          const who = replicaId === place.other ? 'the other' : replicaId
          const asked = `ListOffsets ${version} ${topic} of ${who} at ${timestamp}`
          lines.push(`${asked}: ${one.errorCode} [${found}] ${one.timestamp} ${one.leaderEpoch}`)
        }
      }
    }
  }
  return lines
}

async function ended(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(OffsetForLeaderEpoch)) {
    for (const topic of TOPICS) {
      for (const replicaId of version < 3 ? [-1] : [-1, -2, place.other]) {
        for (const currentLeaderEpoch of version < 2 ? [-1] : [-1, 0, 1]) {
          const { name, index } = nameOf(topic)
          const partition = { partition: index, leaderEpoch: 0, currentLeaderEpoch }
          const answer = await place.client.send(OffsetForLeaderEpoch, version, {
            ...(version < 3 ? {} : { replicaId }),
            topics: [{ topic: name, partitions: [partition] }],
          })
          const one = answer.topics[0]?.partitions[0]
          assert.ok(one)
          const who = replicaId === place.other ? 'the other' : replicaId
          const asked = `Epoch ${version} ${topic} of ${who} in ${currentLeaderEpoch}`
          lines.push(`${asked}: ${one.errorCode} ${one.leaderEpoch} ${one.endOffset}`)
        }
      }
    }
  }
  return lines
}

async function deleted(place: Place): Promise<string[]> {
  const lines: string[] = []
  for (const version of versionsOf(DeleteRecords)) {
    for (const topic of [...TOPICS, '__consumer_offsets']) {
      for (const offset of topic === 'led' ? [0, 9, -5] : [0]) {
        const { name, index } = nameOf(topic)
        const answer = await place.client.send(DeleteRecords, version, {
          topics: [{ name, partitions: [{ partitionIndex: index, offset }] }],
          timeoutMs: 1000,
        })
        const one = answer.topics[0]?.partitions[0]
        lines.push(`DeleteRecords ${version} ${topic} ${offset}: ${one?.errorCode}`)
      }
    }
  }
  return lines
}

async function all(place: Place): Promise<string[]> {
  return [
    ...(await produced(place)),
    ...(await refused(place)),
    ...(await fetched(place)),
    ...(await listed(place)),
    ...(await ended(place)),
    ...(await deleted(place)),
  ]
}

test('who does not lead answers as Apache Kafka does', async (t) => {
  const skip = skipWithoutCluster('apache')
  if (skip !== false) return t.skip(skip)
  await using cluster = await startApacheCluster({
    brokers: 2,
    config: { 'replica.lag.time.max.ms': '60000', 'zookeeper.session.timeout.ms': '60000' },
  })
  const ids = new Map([['unknown', topicIdOf('unknown')]])
  for (const [name, replicas] of [
    ['led', [0, 1]],
    ['followed', [1, 0]],
    ['elsewhere', [1]],
  ] as const) {
    const { topicId } = await cluster.createTopic({ name, assignments: [[...replicas]] })
    ids.set(name, topicId)
  }
  const [client, theOther] = await Promise.all([
    WireClient.connect(cluster.broker(0).port),
    WireClient.connect(cluster.broker(1).port),
  ])
  t.after(() => client.close())
  t.after(() => theOther.close())
  const append = async (to: WireClient, name: string, acks: number) => {
    const answer = await to.send(Produce, 9, {
      ...{ acks, timeoutMs: 10_000 },
      topicData: [{ name, partitionData: [{ index: 0, records }] }],
    })
    assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, 0)
  }
  await append(client, 'led', -1)
  await append(theOther, 'followed', -1)
  const kafka = { client, idOf: (name: string) => ids.get(name) ?? '', other: 1 }
  await until('the follower to know what is committed', async () => {
    const [line] = (await fetched(kafka)).filter((one) => one.startsWith('Fetch 17 followed'))
    return line?.includes(' 0 1 ') === true
  })
  // What is appended now is on the leader alone.
  cluster.broker(1).pause()
  await append(client, 'led', 1)

  const path = await DataPath.start(t)
  const [followed] = await path.open('followed', { role: { replicas: [1], leaderEpoch: 0 } })
  assert.ok(followed)
  await path.append(followed, 'a')
  await until('it to be committed', () => followed.highWatermark === 1)
  path.replicas.stopLeading()
  await path.follow(followed, 2, 0)
  const [led] = await path.open('led', { role: { replicas: [1, 2], leaderEpoch: 0 } })
  assert.ok(led)
  path.elsewhere('elsewhere', 2, 0)
  await path.append(led, 'a')
  const ours = { client: await path.connect(), idOf: topicIdOf, other: 2 }
  const replica = await path.connect()
  const partitions = [position(1, { currentLeaderEpoch: 0 })]
  await replica.send(Fetch, 17, replicaFetch({ topic: 'led', partitions }))
  await until('it to be committed', () => led.highWatermark === 1)
  await path.append(led, 'a')
  const theirs = await all(kafka)
  const own = await all(ours)
  const differ = theirs.flatMap((line, i) => (line === own[i] ? [] : [`${line} | ${own[i]}`]))
  assert.deepEqual(differ, [])
})
