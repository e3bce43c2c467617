/**
 * Where things are in the tree: Apache Kafka's layout, so that its brokers and tools find them.
 */
import { type ConfigEntity, RegistryError } from './cluster-registry.ts'

export const CLUSTER_ID_PATH = '/cluster/id'
export const BROKER_IDS_PATH = '/brokers/ids'
export const TOPICS_PATH = '/brokers/topics'
export const DELETE_TOPICS_PATH = '/admin/delete_topics'
export const CONTROLLER_PATH = '/controller'
export const CONTROLLER_EPOCH_PATH = '/controller_epoch'
export const PRODUCER_ID_BLOCK_PATH = '/latest_producer_id_block'
const CONFIG_PATH = '/config'
const CONSUMERS_PATH = '/consumers'
const DEFAULT_ENTITY = '<default>'

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
  return `${CONSUMERS_PATH}/${step(group)}/offsets/${step(topic)}/${partition}`
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

const CONFIG_PATTERN = /^\/config\/(topics|brokers|clients|users|ips)\/([^/]+)$/
const TOPIC_PATTERN = /^\/brokers\/topics\/([^/]+)$/
const STATE_PATTERN = /^\/brokers\/topics\/([^/]+)\/partitions\/(\d+)\/state$/
const BROKER_PATTERN = /^\/brokers\/ids\/(\d+)$/
const DELETION_PATTERN = /^\/admin\/delete_topics\/([^/]+)$/

export function configEntityOf(path: string): ConfigEntity | null {
  const match = CONFIG_PATTERN.exec(path)
  if (!match) return null
  return { type: match[1] as ConfigEntity['type'], name: decodeEntityName(match[2] as string) }
}

export function topicOf(path: string): string | null {
  return TOPIC_PATTERN.exec(path)?.[1] ?? null
}

export function topicDeletionOf(path: string): string | null {
  return DELETION_PATTERN.exec(path)?.[1] ?? null
}

export function brokerIdOf(path: string): number | null {
  const id = BROKER_PATTERN.exec(path)?.[1]
  return id === undefined ? null : Number(id)
}

export function topicPartitionOf(path: string): { topic: string; partition: number } | null {
  const match = STATE_PATTERN.exec(path)
  return match ? { topic: match[1] as string, partition: Number(match[2]) } : null
}
