/** Topics and records for the tests of consumers, made with raw requests. */
import assert from 'node:assert/strict'
import { Cluster } from '../../src/client/cluster.ts'
import type { CompressionType } from '../../src/client/codecs.ts'
import { errorFor } from '../../src/client/errors.ts'
import { encodeBatch } from '../../src/client/records.ts'
import { CreatePartitions } from '../../src/protocol/messages/create-partitions.ts'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { DeleteRecords } from '../../src/protocol/messages/delete-records.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'

let created = 0

export class Topics {
  readonly #cluster: Cluster

  constructor(bootstrapServers: string) {
    this.#cluster = new Cluster({ bootstrapServers })
  }

  /** Creates a topic that no other test has, and waits until all partitions have leaders. */
  async create(partitions: number, prefix = 'consumer-test'): Promise<string> {
    created += 1
    const name = `${prefix}-${process.pid}-${created}`
    const connection = await this.#cluster.controller()
    const answer = await connection.send(CreateTopics, {
      topics: [
        { name, numPartitions: partitions, replicationFactor: 1, assignments: [], configs: [] },
      ],
      timeoutMs: 10_000,
      validateOnly: false,
    })
    assert.equal(answer.topics[0]?.errorCode, 0)
    await this.#ready(name, partitions)
    return name
  }

  async addPartitions(name: string, count: number): Promise<void> {
    const connection = await this.#cluster.controller()
    const topics = [{ name, count, assignments: null }]
    const answer = await connection.send(CreatePartitions, {
      topics,
      timeoutMs: 10_000,
      validateOnly: false,
    })
    assert.equal(answer.results[0]?.errorCode, 0)
    await this.#ready(name, count)
  }

  async #ready(name: string, partitions: number): Promise<void> {
    await this.#cluster.retry(async () => {
      const { topics } = await this.#cluster.metadata([name], { refresh: true })
      const known = topics.get(name)?.partitions.filter(({ leaderId }) => leaderId !== -1)
      if (known?.length !== partitions) throw errorFor(5)
    })
  }

  /** Appends one batch of these values to a partition, and returns its base offset. */
  async produce(
    topic: string,
    partition: number,
    values: readonly string[],
    compression: CompressionType = 'none',
    timestamp = Date.now(),
  ): Promise<number> {
    const records = values.map((value) => ({ key: null, value: Buffer.from(value), timestamp }))
    return await this.produceBatch(topic, partition, await encodeBatch(records, { compression }))
  }

  async produceBatch(topic: string, partition: number, records: Buffer): Promise<number> {
    return await this.#cluster.retry(async () => {
      const { connection } = await this.#cluster.leader(topic, partition)
      const answer = await connection.send(Produce, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
      })
      const { errorCode = -1, baseOffset = -1 } = answer.responses[0]?.partitionResponses[0] ?? {}
      if (errorCode !== 0) {
        this.#cluster.invalidate(topic)
        throw errorFor(errorCode)
      }
      return baseOffset
    })
  }

  /** Removes what is before an offset. */
  async deleteBefore(topic: string, partition: number, offset: number): Promise<void> {
    const { connection } = await this.#cluster.leader(topic, partition)
    const answer = await connection.send(DeleteRecords, {
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
      timeoutMs: 10_000,
    })
    assert.equal(answer.topics[0]?.partitions[0]?.errorCode, 0)
  }

  close(): Promise<void> {
    return this.#cluster.close()
  }
}
