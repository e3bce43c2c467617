/** Reads topics, their configs and the states of their partitions, many at a time. */
import {
  type ClusterRegistry,
  RegistryError,
  type TopicRegistration,
  type Versioned,
} from '../registry/cluster-registry.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import { TopicEntry } from './controller-context.ts'
import { createTopicId } from './topic-planner.ts'

/** Topics that are asked for together. */
const READ_TOGETHER = 500
/** Somebody else may write the topic between our reading and our writing of it. */
const ATTEMPTS_MAX = 5

export interface TopicSource {
  readonly registry: ClusterRegistry
  readonly random: Random
  readonly logger: Logger
}

/** Topics that are gone by now, or cannot be read, are left out. */
export async function readTopics(
  source: TopicSource,
  names: readonly string[],
): Promise<TopicEntry[]> {
  const topics: TopicEntry[] = []
  for (let start = 0; start < names.length; start += READ_TOGETHER) {
    const some = names.slice(start, start + READ_TOGETHER)
    const read = await Promise.all(some.map((name) => readTopic(source, name)))
    for (const topic of read) if (topic !== null) topics.push(topic)
  }
  return topics
}

async function readTopic(source: TopicSource, name: string): Promise<TopicEntry | null> {
  const { registry, logger } = source
  try {
    const [found, states, configs] = await Promise.all([
      readRegistration(source, name),
      registry.partitionStates(name),
      registry.config({ type: 'topics', name }),
    ])
    if (found === null) return null
    const topic = new TopicEntry(found, configs?.value ?? new Map())
    for (const { partition, value, version } of states) {
      const entry = topic.partitions[partition]
      if (entry === undefined) continue
      entry.state = value
      entry.version = version
    }
    return topic
  } catch (error) {
    if (!(error instanceof RegistryError) || error.kind !== 'corrupt') throw error
    logger.error({ err: error, topic: name }, 'a topic cannot be read and is left alone')
    return null
  }
}

/** A topic that a tool of the 0.8 era made, or widened, is given an id. */
export async function readRegistration(
  { registry, random }: TopicSource,
  name: string,
  topicId: string | null = null,
): Promise<Versioned<TopicRegistration> | null> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const found = await registry.topic(name)
    if (found === null || found.value.topicId !== null) return found
    const value = { ...found.value, topicId: topicId ?? createTopicId(random) }
    const written = await registry.updateTopic(value, found.version)
    if (written.ok) return { value, version: written.version }
  }
  throw new RegistryError('unavailable', `topic '${name}' is being changed by somebody else`)
}
