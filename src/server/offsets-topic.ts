/** The topic that committed offsets are kept in: made when somebody asks for a coordinator. */
import { OFFSETS_TOPIC } from '../group/record-schemas.ts'
import type { Services } from './services.ts'

/** How long a client is kept waiting; it comes again when the topic is not there by then. */
const CREATION_WAIT_MS = 1000

/** Whether the topic is there; creates it otherwise. */
export async function ensureOffsetsTopic(services: Services): Promise<boolean> {
  const { metadata, config, logger } = services
  if (metadata.topic(OFFSETS_TOPIC) !== undefined) return true
  const wanted = config.offsetsTopicReplicationFactor
  // A broker alone has no others to wait for; in a cluster commits want all their replicas.
  const isAlone = config.zookeeperConnect === null
  const factor = isAlone ? Math.min(wanted, metadata.brokers.length) : wanted
  const [outcome] = await services.topics.createTopics(
    [
      {
        name: OFFSETS_TOPIC,
        numPartitions: config.offsetsTopicNumPartitions,
        replicationFactor: Math.max(1, factor),
        assignments: [],
        configs: [
          { name: 'cleanup.policy', value: 'compact' },
          { name: 'compression.type', value: 'producer' },
          { name: 'segment.bytes', value: String(config.offsetsTopicSegmentBytes) },
        ],
      },
    ],
    { timeoutMs: CREATION_WAIT_MS, validateOnly: false },
  )
  if (metadata.topic(OFFSETS_TOPIC) !== undefined) return true
  logger.warn(
    { errorCode: outcome?.errorCode, errorMessage: outcome?.errorMessage },
    'the offsets topic is not there yet',
  )
  return false
}
