/** Reads whole partitions from every one of their replicas, as a consumer. */
import assert from 'node:assert/strict'
import { decodeRecords } from '../../src/client/records.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import type { ClusterBroker, TestCluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import type { FinalRead } from './history.ts'

/** The last version in which topics have names. Consumers of it may read from followers. */
const VERSION = 12
const PATIENCE_MS = 60_000

interface Place {
  readonly topic: string
  readonly partition: number
}

/** Reads every partition of a topic to its end, at rest, from all replicas. */
export async function readEverywhere(cluster: TestCluster, topic: string): Promise<FinalRead[]> {
  const isWhole = (one: { isr: readonly number[]; replicas: readonly number[] }) =>
    one.isr.length === one.replicas.length
  const { partitions } = await cluster.waitForTopic(topic, (state) =>
    state.partitions.every((one) => one.leaderId !== -1 && isWhole(one)),
  )
  const reads: FinalRead[] = []
  for (const { partition, leaderId, replicas } of partitions) {
    const place = { topic, partition }
    const leader = await readPartition(cluster.broker(leaderId), place)
    reads.push(leader)
    for (const id of replicas.filter((one) => one !== leaderId)) {
      reads.push(await readUpTo(cluster.broker(id), place, leader.highWatermark))
    }
  }
  return reads
}

/** Reads from a follower, which learns of the leader's high watermark a little later. */
async function readUpTo(
  broker: ClusterBroker,
  place: Place,
  highWatermark: number,
): Promise<FinalRead> {
  let read: FinalRead | null = null
  const where = `broker ${broker.id} to have ${place.topic}-${place.partition} up to ${highWatermark}`
  const reached = () => `${where}, it is at ${read?.highWatermark}`
  await until(
    reached,
    async () => {
      read = await readPartition(broker, place)
      return read.highWatermark >= highWatermark
    },
    PATIENCE_MS,
    100,
  )
  return read as unknown as FinalRead
}

/** Reads a partition from its beginning to the high watermark that the broker has at the end. */
export async function readPartition(broker: ClusterBroker, place: Place): Promise<FinalRead> {
  const client = await broker.connect()
  const timer = setTimeout(() => client.close(), PATIENCE_MS)
  try {
    const values = new Map<number, string>()
    let { highWatermark, logStart } = await fetchAt(client, place, 0)
    let offset = logStart
    while (offset < highWatermark) {
      const fetched = await fetchAt(client, place, offset)
      highWatermark = fetched.highWatermark
      logStart = fetched.logStart
      for (const record of fetched.records) values.set(record.offset, String(record.value))
      // A replica that gives nothing below its high watermark has a hole there: the checker's part.
      if (fetched.nextOffset === offset) break
      offset = fetched.nextOffset
    }
    const { partition } = place
    return { brokerId: broker.id, partition, logStart, highWatermark, values }
  } finally {
    clearTimeout(timer)
    client.close()
  }
}

async function fetchAt(client: WireClient, { topic, partition }: Place, fetchOffset: number) {
  const { response, frame } = await client.exchange(Fetch, VERSION, {
    maxWaitMs: 100,
    minBytes: 1,
    topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: 1 << 20 }] }],
    forgottenTopicsData: [],
    rackId: '',
  })
  const answer = response.responses[0]?.partitions[0]
  assert.ok(answer, `no answer for ${topic}-${partition}, error ${response.errorCode}`)
  assert.equal(answer.errorCode, 0, `${topic}-${partition} at ${fetchOffset}`)
  const { position = 0, bytes = 0 } = answer.records ?? {}
  const decoded = await decodeRecords(frame.subarray(position, position + bytes), {
    ...{ topic, partition, fetchOffset },
  })
  return { ...decoded, highWatermark: answer.highWatermark, logStart: answer.logStartOffset }
}
