/** Has this broker work with configurations that were changed, here or by another broker. */
import { replicationRates } from '../../config/broker-quotas.ts'
import type { BrokerConfigManager } from '../../controller/broker-config-manager.ts'
import type { TopicConfigManager } from '../../controller/topic-config-manager.ts'
import type { MetadataCache } from '../../metadata/metadata-cache.ts'
import type { ClusterRegistry, Unwatch } from '../../registry/cluster-registry.ts'
import type { ReplicaManager } from '../../replica/replica-manager.ts'
import type { Logger } from '../../util/logger.ts'

export interface ConfigWatchOptions {
  readonly brokerId: number
  readonly registry: ClusterRegistry
  readonly brokerConfigs: BrokerConfigManager
  readonly topicConfigs: TopicConfigManager
  readonly metadata: MetadataCache
  readonly replicas: Pick<ReplicaManager, 'reconfigureTopic' | 'setReplicationRates'>
  readonly logger: Logger
}

export function watchConfigs(options: ConfigWatchOptions): Unwatch {
  const { brokerId, registry, brokerConfigs, topicConfigs, metadata, replicas, logger } = options
  const apply = async (topic: string): Promise<void> => {
    try {
      await replicas.reconfigureTopic(topic, topicConfigs.effective(topic))
    } catch (error) {
      logger.error({ err: error, topic }, 'the logs of a topic could not be reconfigured')
    }
  }
  topicConfigs.onChange((topic) => {
    const image = metadata.topic(topic)
    if (image !== undefined) metadata.putTopic({ ...image, configs: topicConfigs.configsOf(topic) })
    void apply(topic)
  })
  const throttle = (): void =>
    replicas.setReplicationRates(replicationRates(brokerConfigs.current('broker')))
  throttle()
  brokerConfigs.onChange(async () => {
    throttle()
    for (const topic of metadata.topicNames()) await apply(topic)
  })
  return registry.watchConfigChanges(({ type, name }) => {
    if (type === 'topics' && name !== null) void topicConfigs.reload(name)
    if (type === 'brokers' && (name === null || name === String(brokerId))) {
      void brokerConfigs.reload()
    }
  })
}
