/** A broker in this process, in a temporary directory, on a free port. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { Broker } from '../../src/broker.ts'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import { buildBatch, type RecordValue } from '../../src/log/record-format.ts'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { Produce } from '../../src/protocol/messages/produce.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { WireClient } from './wire-client.ts'

export async function startBroker(
  t: TestContext,
  overrides: Readonly<Record<string, string>> = {},
): Promise<Broker> {
  const directory = overrides['log.dirs'] ?? (await mkdtemp(join(tmpdir(), 'shardlog-')))
  const broker = await Broker.start({
    config: loadBrokerConfig(
      new Map(
        Object.entries({
          'log.dirs': directory,
          listeners: 'PLAINTEXT://127.0.0.1:0',
          'shardlog.shards': '0',
          ...overrides,
        }),
      ),
    ),
    logger: silentLogger,
  })
  t.after(async () => {
    await broker.stop()
    if (overrides['log.dirs'] === undefined) await rm(directory, { recursive: true })
  })
  return broker
}

export async function connectTo(t: TestContext, broker: Broker): Promise<WireClient> {
  const client = await WireClient.connect(broker.listeners[0]?.port ?? 0)
  t.after(() => client.close())
  return client
}

/** Creates a topic and returns its id. */
export async function createTopic(
  client: WireClient,
  name: string,
  options: { partitions?: number; configs?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const created = await client.send(CreateTopics, 7, {
    topics: [
      {
        name,
        numPartitions: options.partitions ?? 1,
        replicationFactor: 1,
        assignments: [],
        configs: Object.entries(options.configs ?? {}).map(([key, value]) => ({
          name: key,
          value,
        })),
      },
    ],
    timeoutMs: 10_000,
  })
  const topic = created.topics[0]
  if (topic === undefined || topic.errorCode !== 0) {
    throw new Error(`${name}: error ${topic?.errorCode} ${topic?.errorMessage}`)
  }
  const known = await client.send(Metadata, 12, { topics: [{ name }] })
  return known.topics[0]?.topicId ?? ''
}

export function recordsFrom(values: readonly string[], timestamp = 1): RecordValue[] {
  return values.map((value, i) => ({
    timestamp: timestamp + i,
    key: null,
    value: Buffer.from(value),
  }))
}

/** Produces a batch; returns its base offset. Throws when it is refused. */
export async function produce(
  client: WireClient,
  topic: string,
  partition: number,
  records: readonly RecordValue[],
  codec = 0,
): Promise<number> {
  const answer = await client.send(Produce, 9, {
    acks: -1,
    timeoutMs: 10_000,
    topicData: [
      { name: topic, partitionData: [{ index: partition, records: buildBatch(records, codec) }] },
    ],
  })
  const one = answer.responses[0]?.partitionResponses[0]
  if (one === undefined || one.errorCode !== 0) throw new Error(`error ${one?.errorCode}`)
  return one.baseOffset
}
