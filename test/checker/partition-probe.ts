/** One partition, asked at chosen brokers with requests of the test's own making. */
import assert from 'node:assert/strict'
import { buildBatch } from '../../src/log/record-format.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { Fetch } from '../../src/protocol/messages/fetch.ts'
import { ListOffsets } from '../../src/protocol/messages/list-offsets.ts'
import { OffsetForLeaderEpoch } from '../../src/protocol/messages/offset-for-leader-epoch.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import type { PartitionState, TestCluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import type { WireClient } from '../support/wire-client.ts'
import { readPartition } from './final-read.ts'

const PATIENCE_MS = 60_000
const PRODUCE_TIMEOUT_MS = 30_000
/** The last version of Fetch in which topics have names, and where a replica is just a number. */
const FETCH_WITH_NAMES = 12
/** Where a replica names its broker epoch too. */
const FETCH_WITH_REPLICA_STATE = 15
const LATEST = -1

export interface Produced {
  readonly errorCode: number
  readonly baseOffset: number
}

/** Who a fetch says it comes from. */
export interface Replica {
  readonly id: number
  /** -1 is not sent by any replica; by version 12 there is none. */
  readonly epoch?: number
}

export class PartitionProbe {
  readonly topic: string
  readonly topicId: string
  readonly #cluster: TestCluster

  constructor(cluster: TestCluster, topic: string, topicId: string) {
    this.#cluster = cluster
    this.topic = topic
    this.topicId = topicId
  }

  /** A topic of one partition with these replicas, the preferred leader first. */
  static async create(
    cluster: TestCluster,
    name: string,
    options: { readonly replicas: readonly number[]; readonly minInSync?: number },
  ): Promise<PartitionProbe> {
    const { topicId } = await cluster.createTopic({
      ...{ name, assignments: [options.replicas] },
      configs: { 'min.insync.replicas': String(options.minInSync ?? 1) },
    })
    return new PartitionProbe(cluster, name, topicId)
  }

  /** Waits for the partition to be as wanted, in the eyes of all brokers that run. */
  leader(predicate?: (state: PartitionState) => boolean): Promise<PartitionState> {
    return this.#cluster.waitForLeader(this.topic, 0, predicate)
  }

  async state(brokerId?: number): Promise<PartitionState> {
    const { partitions } = await this.#cluster.describe(this.topic, brokerId)
    const [state] = partitions
    assert.ok(state)
    return state
  }

  /** Sends records to a broker, right or wrong. */
  produce(
    brokerId: number,
    values: readonly string[],
    options: { readonly acks?: number; readonly timeoutMs?: number } = {},
  ): Promise<Produced> {
    const { acks = -1, timeoutMs = PRODUCE_TIMEOUT_MS } = options
    const records = buildBatch(
      values.map((value) => ({ timestamp: Date.now(), key: null, value: Buffer.from(value) })),
      0,
    )
    return this.#with(brokerId, async (client) => {
      const answer = await client.send(Produce, 9, {
        ...{ acks, timeoutMs },
        topicData: [{ name: this.topic, partitionData: [{ index: 0, records }] }],
      })
      const { errorCode, baseOffset } = answer.responses[0]?.partitionResponses[0] ?? {
        ...{ errorCode: ErrorCode.UNKNOWN_SERVER_ERROR, baseOffset: -1 },
      }
      return { errorCode, baseOffset }
    })
  }

  /** Sends records to whoever leads until they are stored. */
  async commit(...values: readonly string[]): Promise<number> {
    let last: Produced | null = null
    const stored = async () => {
      const { leaderId } = await this.leader()
      last = await this.produce(leaderId, values).catch(() => null)
      return last?.errorCode === ErrorCode.NONE
    }
    await until(
      () => `${values} to be stored, not ${JSON.stringify(last)}`,
      stored,
      PATIENCE_MS,
      50,
    )
    return (last as unknown as Produced).baseOffset
  }

  /** What a consumer, or somebody who says to be a replica, is answered. */
  fetch(
    brokerId: number,
    options: { readonly offset?: number; readonly epoch?: number; readonly replica?: Replica } = {},
  ) {
    const { offset = 0, epoch = -1, replica } = options
    const partition = {
      ...{ partition: 0, currentLeaderEpoch: epoch, fetchOffset: offset },
      partitionMaxBytes: 1 << 20,
    }
    const common = { maxWaitMs: 0, minBytes: 0, forgottenTopicsData: [], rackId: '' }
    return this.#with(brokerId, async (client) => {
      const { topic, topicId } = this
      const answer =
        replica?.epoch === undefined
          ? await client.send(Fetch, FETCH_WITH_NAMES, {
              ...common,
              replicaId: replica?.id ?? -1,
              topics: [{ topic, partitions: [partition] }],
            })
          : await client.send(Fetch, FETCH_WITH_REPLICA_STATE, {
              ...common,
              replicaState: { replicaId: replica.id, replicaEpoch: replica.epoch },
              topics: [{ topicId, partitions: [partition] }],
            })
      const one = answer.responses[0]?.partitions[0]
      return {
        errorCode: one?.errorCode ?? answer.errorCode,
        highWatermark: one?.highWatermark ?? -1,
        bytes: one?.records?.bytes ?? 0,
      }
    })
  }

  /** The error of asking for the latest offset with a leader epoch. */
  latestError(brokerId: number, epoch: number): Promise<number | undefined> {
    return this.#with(brokerId, async (client) => {
      const partition = { partitionIndex: 0, currentLeaderEpoch: epoch, timestamp: LATEST }
      const answer = await client.send(ListOffsets, 5, {
        ...{ replicaId: -1, isolationLevel: 0 },
        topics: [{ name: this.topic, partitions: [partition] }],
      })
      return answer.topics[0]?.partitions[0]?.errorCode
    })
  }

  /** The error of asking for the end of an epoch with a leader epoch. */
  endOfEpochError(brokerId: number, epoch: number): Promise<number | undefined> {
    return this.#with(brokerId, async (client) => {
      const partition = { partition: 0, currentLeaderEpoch: epoch, leaderEpoch: 0 }
      const answer = await client.send(OffsetForLeaderEpoch, 3, {
        replicaId: -1,
        topics: [{ topic: this.topic, partitions: [partition] }],
      })
      return answer.topics[0]?.partitions[0]?.errorCode
    })
  }

  /** All that a consumer can read at a broker. */
  async values(brokerId: number): Promise<string[]> {
    const place = { topic: this.topic, partition: 0 }
    const { values } = await readPartition(this.#cluster.broker(brokerId), place)
    return [...values.values()]
  }

  /**
   * Waits until all replicas are in sync and give the same records, as many as the leader has;
   * returns them.
   */
  async agreed(): Promise<string[]> {
    const { leaderId, replicas } = await this.leader(
      (state) => state.isr.length === state.replicas.length,
    )
    const values = await this.values(leaderId)
    for (const replica of replicas) {
      let there: string[] = []
      const same = async () => {
        there = await this.values(replica)
        return there.length >= values.length
      }
      const count = () => `broker ${replica} to have ${values.length} records, not ${there.length}`
      await until(count, same, PATIENCE_MS, 50)
      assert.deepEqual(there, values, `records of broker ${replica}`)
    }
    return values
  }

  async #with<T>(brokerId: number, work: (client: WireClient) => Promise<T>): Promise<T> {
    const client = await this.#cluster.broker(brokerId).connect()
    const timer = setTimeout(() => client.close(), PATIENCE_MS)
    try {
      return await work(client)
    } finally {
      clearTimeout(timer)
      client.close()
    }
  }
}
