/** The replicas of a broker, tied to its place among the others; the simulator ties them the same way. */
import type { BrokerConfig } from '../../config/broker-config.ts'
import type { TopicConfigManager } from '../../controller/topic-config-manager.ts'
import type { ClusterRegistry } from '../../registry/cluster-registry.ts'
import {
  ReplicaManager,
  type ReplicaManagerOptions,
  type ReplicaSettings,
} from '../../replica/replica-manager.ts'
import type { ClusterMember } from './cluster-member.ts'

export type MemberReplicasOptions = Pick<
  ReplicaManagerOptions,
  'brokerId' | 'clusterId' | 'logs' | 'openLink' | 'roleChanged' | 'clock' | 'timers' | 'logger'
> & {
  readonly config: BrokerConfig
  readonly registry: ClusterRegistry
  readonly topicConfigs: TopicConfigManager
  readonly member: ClusterMember
}

/** They hear of brokers and controllers that come and go, and have the others hear of failed disks. */
export function createMemberReplicas(options: MemberReplicasOptions): ReplicaManager {
  const { brokerId, config, registry, topicConfigs, member, logger } = options
  const replicas = new ReplicaManager({
    ...options,
    settings: replicaSettings(config),
    brokerEpoch: () => member.brokerEpoch,
    epochOf: (id) => member.brokers.epochOf(id),
    addressOf: (id) => member.brokers.addressOf(id),
    controller: member.channel,
    topicConfig: (topic) => topicConfigs.effective(topic),
    lost: (id) => member.suspect(id),
    // Has the controller find other leaders for what was on the disk.
    logDirFailed: () => {
      registry.announceLogDirFailure(brokerId).catch((error: unknown) => {
        logger.error({ err: error }, 'the failure of a disk could not be announced')
      })
    },
  })
  member.brokers.onChange(() => replicas.brokersChanged())
  member.controller.onController(() => replicas.controllerChanged())
  return replicas
}

function replicaSettings(config: BrokerConfig): ReplicaSettings {
  return {
    lagTimeMaxMs: config.replicaLagTimeMaxMs,
    fetchMinBytes: config.replicaFetchMinBytes,
    fetchWaitMaxMs: config.replicaFetchWaitMaxMs,
    fetchMaxBytes: config.replicaFetchMaxBytes,
    fetchResponseMaxBytes: config.replicaFetchResponseMaxBytes,
    fetchBackoffMs: config.replicaFetchBackoffMs,
    fetchersPerLeader: config.numReplicaFetchers,
  }
}
