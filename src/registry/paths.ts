/**
 * Where things are in the tree: Apache Kafka's layout, so that its brokers and tools find them.
 */
import { type ConfigEntity, type ConfigEntityType, RegistryError } from './cluster-registry.ts'

export const CLUSTER_ID_PATH = '/cluster/id'
export const BROKER_IDS_PATH = '/brokers/ids'
export const TOPICS_PATH = '/brokers/topics'
export const DELETE_TOPICS_PATH = '/admin/delete_topics'
export const CONTROLLER_PATH = '/controller'
export const CONTROLLER_EPOCH_PATH = '/controller_epoch'
export const PRODUCER_ID_BLOCK_PATH = '/latest_producer_id_block'
export const BROKER_SEQUENCE_PATH = '/brokers/seqid'
export const CONFIG_CHANGES_PATH = '/config/changes'
export const CONFIG_CHANGE_PREFIX = `${CONFIG_CHANGES_PATH}/config_change_`
export const ISR_CHANGES_PATH = '/isr_change_notification'
export const ISR_CHANGE_PREFIX = `${ISR_CHANGES_PATH}/isr_change_`
export const LOG_DIR_EVENTS_PATH = '/log_dir_event_notification'
export const LOG_DIR_EVENT_PREFIX = `${LOG_DIR_EVENTS_PATH}/log_dir_event_`
export const REASSIGNMENT_PATH = '/admin/reassign_partitions'
export const PREFERRED_ELECTION_PATH = '/admin/preferred_replica_election'
export const CONSUMERS_PATH = '/consumers'
const CONFIG_PATH = '/config'
const CONFIG_TYPES = ['topics', 'brokers', 'clients', 'users', 'ips'] as const
const DEFAULT_ENTITY = '<default>'

/**
 * Nodes that Apache Kafka's brokers and tools expect to be there. Not the one of producer ids,
 * although Kafka creates that one too: with no data at all, which the client at hand cannot do,
 * and Kafka's controller takes data of no length for damage.
 */
export const PERSISTENT_PATHS: readonly string[] = [
  CONSUMERS_PATH,
  BROKER_IDS_PATH,
  TOPICS_PATH,
  CONFIG_CHANGES_PATH,
  DELETE_TOPICS_PATH,
  BROKER_SEQUENCE_PATH,
  ISR_CHANGES_PATH,
  LOG_DIR_EVENTS_PATH,
  ...CONFIG_TYPES.map((type) => `${CONFIG_PATH}/${type}`),
]

/** A name that is one step of a path. */
function step(name: string): string {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
    throw new RegistryError('invalid', `not usable as a name: ${JSON.stringify(name)}`)
  }
  return name
}

export function brokerPath(brokerId: number): string {
  return `${BROKER_IDS_PATH}/${brokerId}`
}

export function topicPath(topic: string): string {
  return `${TOPICS_PATH}/${step(topic)}`
}

export function partitionsPath(topic: string): string {
  return `${topicPath(topic)}/partitions`
}

export function partitionStatePath(topic: string, partition: number): string {
  return `${partitionsPath(topic)}/${partition}/state`
}

export function deleteTopicPath(topic: string): string {
  return `${DELETE_TOPICS_PATH}/${step(topic)}`
}

export function consumerOffsetPath(group: string, topic: string, partition: number): string {
  return `${consumerOffsetsPath(group)}/${step(topic)}/${partition}`
}

/** Names of clients and users may hold any character: they are percent-encoded. */
function encodeEntityName(name: string): string {
  return encodeURIComponent(name).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

export function configPath(entity: ConfigEntity): string {
  const name = entity.name === null ? DEFAULT_ENTITY : step(encodeEntityName(entity.name))
  return `${CONFIG_PATH}/${entity.type}/${name}`
}

function decodeEntityName(name: string): string | null {
  if (name === DEFAULT_ENTITY) return null
  try {
    return decodeURIComponent(name)
  } catch {
    return name // Written by hand: not percent-encoded.
  }
}

export function configTypePath(type: ConfigEntityType): string {
  return `${CONFIG_PATH}/${type}`
}

/** The name of an entity that a node below `configTypePath` stands for; null is the default. */
export function configNameOf(node: string): string | null {
  return decodeEntityName(node)
}

/** As it stands in announcements of changes: `topics/orders`, `brokers/<default>`. */
export function entityPathOf(entity: ConfigEntity): string {
  return configPath(entity).slice(CONFIG_PATH.length + 1)
}

const ENTITY_PATTERN = /^(topics|brokers|clients|users|ips)\/([^/]+)(?:\/|$)/

/** A client of a user stands for the user. null if it is none that is known. */
export function entityOfPath(path: string): ConfigEntity | null {
  const match = ENTITY_PATTERN.exec(path)
  if (!match) return null
  return { type: match[1] as ConfigEntityType, name: decodeEntityName(match[2] as string) }
}

export function consumerGroupPath(group: string): string {
  return `${CONSUMERS_PATH}/${step(group)}`
}

export function consumerIdsPath(group: string): string {
  return `${consumerGroupPath(group)}/ids`
}

export function consumerIdPath(group: string, consumerId: string): string {
  return `${consumerIdsPath(group)}/${step(consumerId)}`
}

export function consumerOffsetsPath(group: string): string {
  return `${consumerGroupPath(group)}/offsets`
}

export function consumerOwnerPath(group: string, topic: string, partition: number): string {
  return `${consumerGroupPath(group)}/owners/${step(topic)}/${partition}`
}
