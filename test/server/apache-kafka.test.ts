/**
 * The same administration requests, in every version, to this broker and to Apache Kafka 3.9.1 in
 * ZooKeeper mode: the answers must be equal but for texts, ids and what is listed below as meant.
 */
import assert from 'node:assert/strict'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { decodeResponse, encodeRequest } from '../../src/protocol/codec.ts'
import { readResponseHeader, writeRequestHeader } from '../../src/protocol/headers.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { AlterConfigs } from '../../src/protocol/messages/alter-configs.ts'
import { CreatePartitions } from '../../src/protocol/messages/create-partitions.ts'
import {
  CreateTopics,
  type CreateTopicsRequestInput,
} from '../../src/protocol/messages/create-topics.ts'
import { DeleteTopics } from '../../src/protocol/messages/delete-topics.ts'
import { DescribeCluster } from '../../src/protocol/messages/describe-cluster.ts'
import { DescribeConfigs } from '../../src/protocol/messages/describe-configs.ts'
import { FindCoordinator } from '../../src/protocol/messages/find-coordinator.ts'
import { IncrementalAlterConfigs } from '../../src/protocol/messages/incremental-alter-configs.ts'
import { InitProducerId } from '../../src/protocol/messages/init-producer-id.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { type ApiSchema, type RequestInput, ZERO_UUID } from '../../src/protocol/schema.ts'
import { ApacheKafka, ZooKeeperServer } from '../support/apache-kafka.ts'
import { ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { versionsOf } from './test-services.ts'

/** One connection that asks and waits. */
class Asker {
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #waiting: ((frame: Buffer) => void) | null = null

  constructor(address: string) {
    const [host, port] = address.split(':')
    this.#socket = connect(Number(port), host)
    this.#socket.on('data', (chunk) => {
      this.#received = Buffer.concat([this.#received, chunk])
      const { length } = this.#received
      if (length < 4 || length < 4 + this.#received.readInt32BE(0)) return
      const frame = this.#received.subarray(4)
      this.#received = Buffer.alloc(0)
      this.#waiting?.(frame)
    })
  }

  async ask<A extends ApiSchema>(
    api: A,
    apiVersion: number,
    request: RequestInput<A>,
  ): Promise<unknown> {
    const writer = new MessageWriter()
    writer.int32(0)
    writeRequestHeader(writer, api, { apiVersion, correlationId: 1, clientId: 'asker' })
    encodeRequest(api, apiVersion, writer, request)
    writer.buffer.writeInt32BE(writer.at - 4, 0)
    const frame = await new Promise<Buffer>((resolve, reject) => {
      this.#waiting = resolve
      this.#socket.once('error', reject)
      this.#socket.once('close', () => reject(new Error(`${api.name} ${apiVersion}: closed`)))
      this.#socket.write(Buffer.from(writer.written))
    })
    this.#socket.removeAllListeners('error')
    this.#socket.removeAllListeners('close')
    const reader = new MessageReader().reset(frame, 0, frame.length, false)
    readResponseHeader(reader, api, apiVersion)
    return decodeResponse(api, apiVersion, reader)
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** Which texts and ids are there, not which they are. */
const SHAPED = new Set(['errorMessage', 'topicId', 'host', 'clusterId', 'documentation'])
const DROPPED = new Set(['port', 'producerId'])

/** What tells the entries of a list apart, so that their order does not matter. */
const NAMES = ['name', 'resourceName', 'partitionIndex', 'nodeId', 'brokerId', 'key']

/** One line per field. */
function linesOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value) && value.some((item) => typeof item === 'object')) {
    const lines = value.flatMap((item: Record<string, unknown>, i) => {
      const key = NAMES.find((name) => item[name] !== undefined)
      return linesOf(item, `${path}[${key === undefined ? i : String(item[key]).slice(0, 20)}]`)
    })
    return [`${path}.length = ${value.length}`, ...lines].sort()
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return [`${path} = ${JSON.stringify(value)}`]
  }
  return Object.entries(value).flatMap(([key, field]) => {
    if (DROPPED.has(key)) return []
    if (!SHAPED.has(key)) return linesOf(field, `${path}.${key}`)
    const isNone = field === null || field === '' || field === ZERO_UUID
    return [`${path}.${key} = ${isNone ? 'none' : 'some'}`]
  })
}

/** A broker in ZooKeeper mode takes requests before its own controller counts it among the live. */
async function waitForBroker(asker: Asker): Promise<void> {
  for (;;) {
    const request = { includeClusterAuthorizedOperations: false }
    const { brokers } = (await asker.ask(DescribeCluster, 0, request)) as { brokers: unknown[] }
    if (brokers.length > 0) return
  }
}

/** The first who ask for producer ids are put off while a block of them is reserved. */
async function waitForProducerIds(asker: Asker): Promise<void> {
  for (;;) {
    const request = { transactionalId: null, transactionTimeoutMs: 1000 }
    const { errorCode } = (await asker.ask(InitProducerId, 0, request)) as { errorCode: number }
    if (errorCode === 0) return
  }
}

interface Step {
  readonly title: string
  readonly run: (asker: Asker) => Promise<unknown>
}

/** Where we mean to answer otherwise, and why. */
const MEANT: readonly [step: RegExp, line: RegExp][] = [
  [/CreateTopics .*what cannot be/, /topics\.length|\[twice\]/], // Once, as in KRaft mode.
  [/CreateTopics .*what cannot be/, /\[m3\]/], // It takes a partition without replicas.
  [/CreateTopics .*not waited for/, /topicId/],
  [/DeleteTopics 6/, /\[\w+\]\.topicId/], // It tells the id only where it was asked by id.
  [/DeleteTopics 6.*gone/, /\[null\]/], // Neither a name nor an id: it says "not authorized".
  [/AlterConfigs/, /\[c2\]/], // An unknown operation: it fails unexpectedly.
  [/^AlterConfigs .*brokers/, /errorCode/], // INVALID_CONFIG, as for topics.
  [/DescribeConfigs 0/, /isDefault/], // It never says so.
]

function isMeant(title: string, line: string): boolean {
  return MEANT.some(([step, pattern]) => step.test(title) && pattern.test(line))
}

/** Ours may say in words what the other only says by its code. */
function withoutExtraMessages(own: readonly string[], theirs: readonly string[]): string[] {
  return own.map((line) => {
    const none = line.replace(/\.errorMessage = some$/, '.errorMessage = none')
    return none !== line && theirs.includes(none) ? none : line
  })
}

const steps: Step[] = []

function step<A extends ApiSchema>(
  title: string,
  api: A,
  request: (version: number) => RequestInput<A> | null,
): void {
  for (const version of versionsOf(api)) {
    const body = request(version)
    if (body === null) continue
    steps.push({
      title: `${api.name} ${version}: ${title}`,
      run: (asker) => asker.ask(api, version, body),
    })
  }
}

type NewTopic = CreateTopicsRequestInput['topics'][number]
const topicOf = (name: string, more: Partial<NewTopic> = {}): NewTopic => ({
  name,
  numPartitions: 2,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more,
})
const byChoice = { numPartitions: -1, replicationFactor: -1 }
const timeoutMs = 10_000

step('new topics', CreateTopics, (v) => ({
  topics: [
    topicOf(`a${v}`),
    topicOf(`b.${v}`, { configs: [{ name: 'retention.ms', value: '77' }] }),
    topicOf(`c${v}`, byChoice),
    topicOf(`d${v}`, { ...byChoice, assignments: [{ partitionIndex: 0, brokerIds: [0] }] }),
  ],
  timeoutMs,
}))
step('what cannot be', CreateTopics, (v) => ({
  topics: [
    topicOf(`a${v}`),
    topicOf(`b_${v}`),
    topicOf(''),
    topicOf('.'),
    topicOf('a b'),
    topicOf('x'.repeat(250)),
    topicOf('n0', { numPartitions: 0 }),
    topicOf('n1', { numPartitions: -2 }),
    topicOf('r0', { replicationFactor: 0 }),
    topicOf('r2', { replicationFactor: 2 }),
    topicOf('k0', { configs: [{ name: 'no.such', value: '1' }] }),
    topicOf('k1', { configs: [{ name: 'retention.ms', value: 'x' }] }),
    topicOf('k2', { configs: [{ name: 'retention.ms', value: null }] }),
    topicOf('m0', { assignments: [{ partitionIndex: 0, brokerIds: [0] }] }),
    topicOf('m1', { ...byChoice, assignments: [{ partitionIndex: 0, brokerIds: [0, 0] }] }),
    topicOf('m2', { ...byChoice, assignments: [{ partitionIndex: 1, brokerIds: [0] }] }),
    topicOf('m3', { ...byChoice, assignments: [{ partitionIndex: 0, brokerIds: [] }] }),
    topicOf('twice'),
    topicOf('twice'),
  ],
  timeoutMs,
}))
step('only validated', CreateTopics, (v) =>
  v < 1
    ? null
    : {
        topics: [topicOf(`v${v}`), topicOf('n0', { numPartitions: 0 })],
        timeoutMs,
        validateOnly: true,
      },
)
step('not waited for', CreateTopics, (v) => ({
  topics: [topicOf(`w${v}`), topicOf('n0', { numPartitions: 0 })],
  timeoutMs: 0,
}))
step('wider', CreatePartitions, (v) => ({
  topics: [
    { name: `a${v}`, count: 4, assignments: null },
    { name: `c${v}`, count: 2, assignments: [{ brokerIds: [0] }] },
    { name: `d${v}`, count: 1, assignments: null },
    { name: `b.${v}`, count: 1, assignments: null },
    { name: 'none', count: 1, assignments: null },
    { name: 'a b', count: 1, assignments: null },
    { name: 'a4', count: 3, assignments: [{ brokerIds: [9] }] },
    { name: 'a5', count: 3, assignments: [{ brokerIds: [0] }, { brokerIds: [0] }] },
    { name: 'a6', count: 3, assignments: [{ brokerIds: [0, 0] }] },
    { name: 'a7', count: 3, assignments: [{ brokerIds: [] }] },
  ],
  timeoutMs,
  validateOnly: false,
}))
step('only validated', CreatePartitions, () => ({
  topics: [
    { name: 'a4', count: 9, assignments: null },
    { name: 'a5', count: 1, assignments: null },
  ],
  timeoutMs,
  validateOnly: true,
}))
step('twice', CreatePartitions, () => ({
  topics: [
    { name: 'a4', count: 9, assignments: null },
    { name: 'a4', count: 9, assignments: null },
  ],
  timeoutMs,
  validateOnly: false,
}))
step('of topics', DescribeConfigs, (v) => ({
  resources: [
    { resourceType: 2, resourceName: 'b.0', configurationKeys: null },
    { resourceType: 2, resourceName: 'a0', configurationKeys: ['retention.ms', 'no.such'] },
    { resourceType: 2, resourceName: 'a0', configurationKeys: [] },
    { resourceType: 2, resourceName: 'none', configurationKeys: null },
    { resourceType: 2, resourceName: 'a b', configurationKeys: null },
  ],
  ...(v < 1 ? {} : { includeSynonyms: true }),
  ...(v < 3 ? {} : { includeDocumentation: false }),
}))
/** What can be set in several units; most of it is, when the brokers are started. */
const ALIASED = ['log.retention', 'log.roll', 'log.roll.jitter']
  .flatMap((key) => [`${key}.ms`, `${key}.hours`])
  .concat('log.retention.minutes', 'log.flush.interval.ms', 'log.flush.scheduler.interval.ms')
step('of brokers and others', DescribeConfigs, (v) => ({
  resources: [
    {
      resourceType: 4,
      resourceName: '0',
      configurationKeys: ['num.partitions', 'log.segment.bytes', ...ALIASED],
    },
    { resourceType: 4, resourceName: '', configurationKeys: null },
    { resourceType: 4, resourceName: '5', configurationKeys: null },
    { resourceType: 4, resourceName: 'x', configurationKeys: null },
  ],
  ...(v < 1 ? {} : { includeSynonyms: true }),
}))
const set = (name: string, value: string | null) => ({ name, value })
step('topics', AlterConfigs, () => ({
  resources: [
    { resourceType: 2, resourceName: 'a1', configs: [set('retention.ms', '5')] },
    { resourceType: 2, resourceName: 'a2', configs: [set('retention.ms', 'x')] },
    { resourceType: 2, resourceName: 'a3', configs: [set('no.such', '1')] },
    { resourceType: 2, resourceName: 'a4', configs: [set('retention.ms', null)] },
    { resourceType: 2, resourceName: 'a5', configs: [] },
    { resourceType: 2, resourceName: 'none', configs: [] },
    { resourceType: 4, resourceName: '5', configs: [] },
    { resourceType: 8, resourceName: '0', configs: [set('root', 'INFO')] },
  ],
  validateOnly: false,
}))
step('brokers', AlterConfigs, () => ({
  resources: [
    { resourceType: 4, resourceName: '0', configs: [set('num.partitions', '3')] },
    { resourceType: 4, resourceName: '', configs: [set('log.retention.ms', 'x')] },
  ],
  validateOnly: false,
}))
const change = (name: string, configOperation: number, value: string | null) => ({
  name,
  configOperation,
  value,
})
step('topics', IncrementalAlterConfigs, (v) => ({
  resources: [
    { resourceType: 2, resourceName: 'a1', configs: [change('segment.bytes', 0, `2${v}00`)] },
    { resourceType: 2, resourceName: 'a2', configs: [change('cleanup.policy', 2, 'compact')] },
    { resourceType: 2, resourceName: 'a3', configs: [change('cleanup.policy', 3, 'delete')] },
    { resourceType: 2, resourceName: 'a4', configs: [change('retention.ms', 1, null)] },
    { resourceType: 2, resourceName: 'a5', configs: [change('retention.ms', 0, 'x')] },
    { resourceType: 2, resourceName: 'a6', configs: [change('no.such', 0, '1')] },
    { resourceType: 2, resourceName: 'a7', configs: [change('retention.ms', 0, null)] },
    { resourceType: 2, resourceName: 'c1', configs: [change('retention.ms', 2, '1')] },
    { resourceType: 2, resourceName: 'c2', configs: [change('retention.ms', 9, '1')] },
    {
      resourceType: 2,
      resourceName: 'c3',
      configs: [change('retention.ms', 0, '1'), change('retention.ms', 0, '2')],
    },
    { resourceType: 2, resourceName: 'none', configs: [change('retention.ms', 0, '1')] },
    { resourceType: 4, resourceName: '0', configs: [change('log.retention.ms', 0, `9${v}000`)] },
    { resourceType: 4, resourceName: '', configs: [change('log.segment.bytes', 0, '1000000')] },
    { resourceType: 4, resourceName: '7', configs: [change('log.retention.ms', 0, '1')] },
    { resourceType: 77, resourceName: 'x', configs: [] },
  ],
  validateOnly: false,
}))
step('twice', IncrementalAlterConfigs, () => ({
  resources: [
    { resourceType: 2, resourceName: 'a1', configs: [change('retention.ms', 0, '1')] },
    { resourceType: 2, resourceName: 'a1', configs: [change('retention.ms', 0, '2')] },
  ],
  validateOnly: false,
}))
const AFTER_CHANGES = 'after changes'
const CHANGE_MS = 20_000
step(AFTER_CHANGES, DescribeConfigs, (v) => ({
  resources: [
    ...['a1', 'a2', 'a3', 'a4'].map((resourceName) => ({
      resourceType: 2,
      resourceName,
      configurationKeys: ['cleanup.policy', 'retention.ms', 'segment.bytes'],
    })),
    {
      resourceType: 4,
      resourceName: '0',
      configurationKeys: ['log.retention.ms', 'log.segment.bytes'],
    },
    { resourceType: 4, resourceName: '', configurationKeys: null },
  ],
  ...(v < 1 ? {} : { includeSynonyms: true }),
}))
const named = (name: string) => ({ name })
step('named', Metadata, (v) => ({
  // Asking creates topics below version 4: at once with us, when asked again with the other.
  topics: ['a0', 'a b', 'a0', 'c2', '', ...(v < 4 ? [] : ['none'])].map(named),
  ...(v < 4 ? {} : { allowAutoTopicCreation: false }),
  ...(v < 8 ? {} : { includeTopicAuthorizedOperations: true }),
  ...(v < 8 || v > 10 ? {} : { includeClusterAuthorizedOperations: true }),
}))
step('none or all', Metadata, () => ({ topics: [] }))
step('all', Metadata, (v) => (v === 0 ? null : { topics: null }))
step('by an unknown id', Metadata, (v) =>
  v < 12 ? null : { topics: [{ name: null, topicId: 'AAAAAAAAAAAAAAAAAAAAAQ' }] },
)
step('cluster', DescribeCluster, (v) => ({
  includeClusterAuthorizedOperations: true,
  ...(v < 1 ? {} : { endpointType: 1 }),
}))
step('of controllers', DescribeCluster, (v) =>
  v < 1 ? null : { includeClusterAuthorizedOperations: false, endpointType: 2 },
)
step('of what', DescribeCluster, (v) =>
  v < 1 ? null : { includeClusterAuthorizedOperations: false, endpointType: 9 },
)
step('of no known type', FindCoordinator, (v) =>
  v < 1 ? null : v < 4 ? { key: 'x', keyType: 9 } : { coordinatorKeys: ['x'], keyType: 9 },
)
step('idempotent', InitProducerId, () => ({ transactionalId: null, transactionTimeoutMs: 1000 }))
step('empty transactional id', InitProducerId, () => ({
  transactionalId: '',
  transactionTimeoutMs: 1000,
}))
step('gone', DeleteTopics, (v) =>
  v < 6
    ? { topicNames: [`a${v}`, 'none', 'a b'], timeoutMs }
    : {
        topics: [
          { name: `a${v}` },
          { name: 'none' },
          { name: null, topicId: 'AAAAAAAAAAAAAAAAAAAAAQ' },
          { name: null },
        ],
        timeoutMs,
      },
)
step('not waited for', DeleteTopics, (v) =>
  v < 6
    ? { topicNames: [`c${v}`, 'none'], timeoutMs: 0 }
    : { topics: [{ name: `c${v}` }, { name: 'none' }], timeoutMs: 0 },
)

test('administration is answered as Apache Kafka answers it', async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  await using zookeeper = new ZooKeeperServer()
  await zookeeper.start()
  await using kafka = new ApacheKafka({ zookeeper: zookeeper.address })
  await using ours = new ShardlogServer()
  const overrides = {
    'num.partitions': '3',
    'auto.create.topics.enable': 'true',
    'log.retention.minutes': '90',
    'log.retention.hours': '-1',
    'log.roll.hours': '5',
    'log.roll.jitter.ms': '70',
    'log.roll.jitter.hours': '1',
    'log.flush.scheduler.interval.ms': '777',
  }
  await Promise.all([kafka.start(overrides), ours.start(overrides)])
  const theirAsker = new Asker(kafka.address)
  const ourAsker = new Asker(ours.address)
  try {
    await waitForBroker(theirAsker)
    await waitForProducerIds(theirAsker)
    for (const { title, run } of steps) {
      const counts = (line: string): boolean => !isMeant(title, line)
      const ask = async () => {
        const theirs = linesOf(await run(theirAsker)).sort()
        const own = withoutExtraMessages(linesOf(await run(ourAsker)), theirs).sort()
        return { own: own.filter(counts), theirs: theirs.filter(counts) }
      }
      // Its broker hears of its own change by way of ZooKeeper.
      const deadline = performance.now() + (title.endsWith(AFTER_CHANGES) ? CHANGE_MS : 0)
      let { own, theirs } = await ask()
      while (!isDeepStrictEqual(own, theirs) && performance.now() < deadline) {
        ;({ own, theirs } = await ask())
      }
      assert.deepEqual(own, theirs, title)
    }
  } finally {
    theirAsker.close()
    ourAsker.close()
  }
})
