/** What handlers work with. */
import type { BrokerConfig } from '../config/broker-config.ts'
import type { BrokerConfigManager } from '../controller/broker-config-manager.ts'
import type { LiveBrokerTexts } from '../controller/broker-texts.ts'
import type { Controller } from '../controller/controller.ts'
import type { TopicConfigManager } from '../controller/topic-config-manager.ts'
import type { GroupCoordinator } from '../group/group-coordinator.ts'
import type { OffsetStore } from '../group/offset-store.ts'
import type { MetadataCache } from '../metadata/metadata-cache.ts'
import type { ClusterRegistry } from '../registry/cluster-registry.ts'
import type { ProducerIdManager } from '../transaction/producer-id-manager.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import type { TopicCreator } from './topic-creator.ts'

export interface Services {
  readonly brokerId: number
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly metadata: MetadataCache
  readonly registry: ClusterRegistry
  readonly controller: Controller
  readonly topics: TopicCreator
  readonly topicConfigs: TopicConfigManager
  readonly brokerConfigs: BrokerConfigManager
  readonly producerIds: ProducerIdManager
  readonly groups: GroupCoordinator
  readonly offsetStore: OffsetStore
  readonly clock: Clock
  readonly random: Random
  readonly timers: TimerQueue
  readonly logger: Logger
}

/**
 * Answers a request. What may go wrong is part of the answer; a handler that throws has met a bug,
 * and the connection is closed.
 */
export type { ApiHandler as Handler } from './request-dispatcher.ts'
