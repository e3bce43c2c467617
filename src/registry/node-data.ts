/**
 * What the nodes hold: Apache Kafka's JSON, in the versions that 3.x brokers write, reading the
 * older ones too. What does not parse is reported with its path, never trusted.
 */
import {
  type BrokerRegistration,
  type ConfigEntity,
  type ConsumerRegistration,
  type ControllerRegistration,
  type PartitionState,
  type ProducerIdBlock,
  type ReassignmentRequest,
  type RegisteredEndpoint,
  RegistryError,
  type TopicPartition,
  type TopicRegistration,
} from './cluster-registry.ts'
import { entityOfPath, entityPathOf } from './paths.ts'

type JsonObject = Readonly<Record<string, unknown>>

function corrupt(path: string, what: string): RegistryError {
  return new RegistryError('corrupt', `${path}: ${what}`)
}

function parseObject(path: string, data: string): JsonObject {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch (error) {
    throw new RegistryError('corrupt', `${path}: not JSON`, { cause: error })
  }
  return asObject(path, 'the node', value)
}

function asObject(path: string, what: string, value: unknown): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw corrupt(path, `${what} is not an object`)
  }
  return value as JsonObject
}

/** A number, or the decimal text of one. */
function asInteger(path: string, what: string, value: unknown): number {
  const number = typeof value === 'string' && /^-?\d{1,19}$/.test(value) ? Number(value) : value
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) {
    throw corrupt(path, `${what} is not an integer`)
  }
  return number
}

function asIntegers(path: string, what: string, value: unknown): readonly number[] {
  if (!Array.isArray(value)) throw corrupt(path, `${what} is not a list`)
  return value.map((item) => asInteger(path, what, item))
}

function asText(path: string, what: string, value: unknown): string {
  if (typeof value !== 'string') throw corrupt(path, `${what} is not a string`)
  return value
}

export function encodeClusterId(id: string): string {
  return JSON.stringify({ version: '1', id })
}

export function decodeClusterId(path: string, data: string): string {
  return asText(path, 'id', parseObject(path, data)['id'])
}

export function encodeBroker(broker: BrokerRegistration): string {
  const plaintext = broker.endpoints.find((e) => e.securityProtocol === 'PLAINTEXT')
  const protocols = broker.endpoints.map((e) => [e.listenerName, e.securityProtocol])
  return JSON.stringify({
    features: {},
    listener_security_protocol_map: Object.fromEntries(protocols),
    endpoints: broker.endpoints.map(
      (e) => `${e.listenerName}://${e.host.includes(':') ? `[${e.host}]` : e.host}:${e.port}`,
    ),
    ...(broker.rack === null ? {} : { rack: broker.rack }),
    jmx_port: -1,
    // Clients of 0.8 to 0.10 read only these two.
    host: plaintext?.host ?? null,
    port: plaintext?.port ?? -1,
    timestamp: String(broker.timestampMs),
    version: 5,
    ...(broker.lostTail === undefined ? {} : { unclean_shutdown: broker.lostTail }),
  })
}

const ENDPOINT_PATTERN = /^([A-Za-z0-9_.-]+):\/\/\[?([^\]]*?)\]?:(\d{1,5})$/

function decodeEndpoint(path: string, text: string, protocols: JsonObject): RegisteredEndpoint {
  const match = ENDPOINT_PATTERN.exec(text)
  if (!match) throw corrupt(path, `not an endpoint: ${text}`)
  const listenerName = match[1] as string
  const securityProtocol = asText(
    path,
    `the protocol of ${listenerName}`,
    protocols[listenerName] ?? listenerName,
  )
  return { listenerName, securityProtocol, host: match[2] as string, port: Number(match[3]) }
}

export function decodeBroker(path: string, brokerId: number, data: string): BrokerRegistration {
  const node = parseObject(path, data)
  const protocols = asObject(path, 'the map', node['listener_security_protocol_map'] ?? {})
  const listed = node['endpoints']
  let endpoints: RegisteredEndpoint[]
  if (Array.isArray(listed)) {
    endpoints = listed.map((e) => decodeEndpoint(path, asText(path, 'an endpoint', e), protocols))
  } else {
    // Version 1: one plaintext endpoint.
    const host = asText(path, 'host', node['host'])
    const port = asInteger(path, 'port', node['port'])
    endpoints = [{ listenerName: 'PLAINTEXT', securityProtocol: 'PLAINTEXT', host, port }]
  }
  const rack = node['rack']
  return {
    brokerId,
    endpoints,
    rack: typeof rack === 'string' ? rack : null,
    timestampMs: asInteger(path, 'timestamp', node['timestamp'] ?? 0),
    ...(node['unclean_shutdown'] === undefined
      ? {}
      : { lostTail: asInteger(path, 'unclean_shutdown', node['unclean_shutdown']) }),
  }
}

function replicaObject(
  entries: Iterable<readonly [number, readonly number[]]>,
): Record<string, readonly number[]> {
  return Object.fromEntries([...entries].map(([partition, ids]) => [String(partition), ids]))
}

export function encodeTopic(topic: TopicRegistration): string {
  const isMoving = topic.addingReplicas.size + topic.removingReplicas.size > 0
  if (topic.topicId === null && !isMoving) {
    // As tools wrote it before topics had ids; the controller adds what it misses.
    return JSON.stringify({ version: 1, partitions: replicaObject(topic.partitions.entries()) })
  }
  return JSON.stringify({
    removing_replicas: replicaObject(topic.removingReplicas),
    partitions: replicaObject(topic.partitions.entries()),
    ...(topic.topicId === null ? {} : { topic_id: topic.topicId }),
    adding_replicas: replicaObject(topic.addingReplicas),
    version: topic.topicId === null ? 2 : 3,
  })
}

function decodeReplicaMap(
  path: string,
  what: string,
  value: unknown,
): Map<number, readonly number[]> {
  const replicas = new Map<number, readonly number[]>()
  for (const [key, ids] of Object.entries(asObject(path, what, value ?? {}))) {
    const partition = asInteger(path, `a partition in ${what}`, key)
    replicas.set(partition, asIntegers(path, what, ids))
  }
  return replicas
}

export function decodeTopic(path: string, name: string, data: string): TopicRegistration {
  const node = parseObject(path, data)
  const assignment = decodeReplicaMap(path, 'partitions', node['partitions'])
  const partitions: (readonly number[])[] = []
  for (let partition = 0; partition < assignment.size; partition++) {
    const replicas = assignment.get(partition)
    if (replicas === undefined) throw corrupt(path, `partition ${partition} is missing`)
    partitions.push(replicas)
  }
  const topicId = node['topic_id']
  return {
    name,
    topicId: typeof topicId === 'string' ? topicId : null,
    partitions,
    addingReplicas: decodeReplicaMap(path, 'adding_replicas', node['adding_replicas']),
    removingReplicas: decodeReplicaMap(path, 'removing_replicas', node['removing_replicas']),
  }
}

export function encodePartitionState(state: PartitionState): string {
  return JSON.stringify({
    controller_epoch: state.controllerEpoch,
    leader: state.leader,
    version: 1,
    leader_epoch: state.leaderEpoch,
    isr: state.isr,
    ...(state.isRecovering ? { leader_recovery_state: 1 } : {}),
    ...(state.eligibleLeaders?.length ? { elr: state.eligibleLeaders } : {}),
    ...(state.rejoined?.size ? { rejoined: Object.fromEntries(state.rejoined) } : {}),
  })
}

export function decodePartitionState(path: string, data: string): PartitionState {
  const node = parseObject(path, data)
  return {
    leader: asInteger(path, 'leader', node['leader']),
    leaderEpoch: asInteger(path, 'leader_epoch', node['leader_epoch']),
    isr: asIntegers(path, 'isr', node['isr']),
    controllerEpoch: asInteger(path, 'controller_epoch', node['controller_epoch']),
    ...(node['leader_recovery_state'] === 1 ? { isRecovering: true } : {}),
    ...(node['elr'] === undefined ? {} : { eligibleLeaders: asIntegers(path, 'elr', node['elr']) }),
    ...(node['rejoined'] === undefined ? {} : { rejoined: decodeRejoined(path, node['rejoined']) }),
  }
}

function decodeRejoined(path: string, value: unknown): Map<number, number> {
  const epochs = new Map<number, number>()
  for (const [brokerId, epoch] of Object.entries(asObject(path, 'rejoined', value))) {
    epochs.set(
      asInteger(path, 'a broker in rejoined', brokerId),
      asInteger(path, 'rejoined', epoch),
    )
  }
  return epochs
}

export function encodeConfig(values: ReadonlyMap<string, string>): string {
  return JSON.stringify({ version: 1, config: Object.fromEntries(values) })
}

export function decodeConfig(path: string, data: string): ReadonlyMap<string, string> {
  const config = asObject(path, 'config', parseObject(path, data)['config'] ?? {})
  return new Map(Object.entries(config).map(([k, v]) => [k, asText(path, k, v)]))
}

export function encodeProducerIdBlock(block: ProducerIdBlock): string {
  return JSON.stringify({
    version: 1,
    broker: block.brokerId,
    block_start: String(block.start),
    block_end: String(block.end),
  })
}

export function decodeProducerIdBlock(path: string, data: string): ProducerIdBlock {
  const node = parseObject(path, data)
  return {
    brokerId: asInteger(path, 'broker', node['broker']),
    start: asInteger(path, 'block_start', node['block_start']),
    end: asInteger(path, 'block_end', node['block_end']),
  }
}

export function encodeController(controller: ControllerRegistration): string {
  return JSON.stringify({
    version: 2,
    brokerid: controller.brokerId,
    timestamp: String(controller.timestampMs),
    kraftControllerEpoch: -1,
  })
}

export function decodeController(path: string, data: string): ControllerRegistration {
  const node = parseObject(path, data)
  return {
    brokerId: asInteger(path, 'brokerid', node['brokerid']),
    timestampMs: asInteger(path, 'timestamp', node['timestamp'] ?? 0),
  }
}

/** A node that holds nothing but a decimal number. */
export function decodeInteger(path: string, data: string): number {
  return asInteger(path, 'the node', data.trim())
}

export function encodeConfigChange(entity: ConfigEntity): string {
  return JSON.stringify({ version: 2, entity_path: entityPathOf(entity) })
}

/** Version 2, version 1 and the bare name of a topic that 0.8 wrote; null: no entity of ours. */
export function decodeConfigChange(path: string, data: string): ConfigEntity | null {
  let value: unknown
  try {
    value = JSON.parse(data)
  } catch (error) {
    throw new RegistryError('corrupt', `${path}: not JSON`, { cause: error })
  }
  if (typeof value === 'string') return { type: 'topics', name: value }
  const node = asObject(path, 'the node', value)
  const type = node['entity_type']
  const name = node['entity_name']
  return typeof type === 'string' && typeof name === 'string'
    ? entityOfPath(`${type}/${name}`)
    : entityOfPath(asText(path, 'entity_path', node['entity_path']))
}

function listOf(path: string, data: string): readonly JsonObject[] {
  const list = parseObject(path, data)['partitions']
  if (!Array.isArray(list)) throw corrupt(path, 'partitions is not a list')
  return list.map((item) => asObject(path, 'a partition', item))
}

function decodeTopicPartition(path: string, item: JsonObject): TopicPartition {
  return {
    topic: asText(path, 'topic', item['topic']),
    partition: asInteger(path, 'partition', item['partition']),
  }
}

/** Of announced ISR changes and of requested elections. */
export function encodeTopicPartitions(partitions: readonly TopicPartition[]): string {
  return JSON.stringify({
    version: 1,
    partitions: partitions.map(({ topic, partition }) => ({ topic, partition })),
  })
}

export function decodeTopicPartitions(path: string, data: string): readonly TopicPartition[] {
  return listOf(path, data).map((item) => decodeTopicPartition(path, item))
}

export function encodeReassignment(partitions: readonly ReassignmentRequest[]): string {
  return JSON.stringify({
    version: 1,
    partitions: partitions.map(({ topic, partition, replicas }) => ({
      topic,
      partition,
      replicas,
    })),
  })
}

export function decodeReassignment(path: string, data: string): readonly ReassignmentRequest[] {
  return listOf(path, data).map((item) => ({
    ...decodeTopicPartition(path, item),
    replicas: asIntegers(path, 'replicas', item['replicas']),
  }))
}

const LOG_DIR_FAILURE = 1

export function encodeLogDirFailure(brokerId: number): string {
  return JSON.stringify({ version: 1, broker: brokerId, event: LOG_DIR_FAILURE })
}

/** The broker whose disk failed. */
export function decodeLogDirFailure(path: string, data: string): number {
  return asInteger(path, 'broker', parseObject(path, data)['broker'])
}

export function encodeConsumer(consumer: ConsumerRegistration): string {
  return JSON.stringify({
    version: 1,
    subscription: Object.fromEntries(consumer.subscription),
    pattern: consumer.pattern,
    timestamp: String(consumer.timestampMs),
  })
}

export function decodeConsumer(path: string, data: string): ConsumerRegistration {
  const node = parseObject(path, data)
  const subscription = new Map<string, number>()
  for (const [name, count] of Object.entries(
    asObject(path, 'subscription', node['subscription']),
  )) {
    subscription.set(name, asInteger(path, `the streams of ${name}`, count))
  }
  const pattern = node['pattern'] ?? 'static'
  if (pattern !== 'static' && pattern !== 'white_list' && pattern !== 'black_list') {
    throw corrupt(path, 'pattern is not one of static, white_list and black_list')
  }
  return {
    subscription,
    pattern,
    timestampMs: asInteger(path, 'timestamp', node['timestamp'] ?? 0),
  }
}
