/**
 * The list of what is served. ApiVersions answers from it, so that exactly what is served is
 * advertised.
 */
import { AlterConfigs } from '../protocol/messages/alter-configs.ts'
import { AlterPartitionReassignments } from '../protocol/messages/alter-partition-reassignments.ts'
import { ApiVersions } from '../protocol/messages/api-versions.ts'
import { CreatePartitions } from '../protocol/messages/create-partitions.ts'
import { CreateTopics } from '../protocol/messages/create-topics.ts'
import { DeleteGroups } from '../protocol/messages/delete-groups.ts'
import { DeleteTopics } from '../protocol/messages/delete-topics.ts'
import { DescribeCluster } from '../protocol/messages/describe-cluster.ts'
import { DescribeConfigs } from '../protocol/messages/describe-configs.ts'
import { DescribeGroups } from '../protocol/messages/describe-groups.ts'
import { DescribeTopicPartitions } from '../protocol/messages/describe-topic-partitions.ts'
import { ElectLeaders } from '../protocol/messages/elect-leaders.ts'
import { FindCoordinator } from '../protocol/messages/find-coordinator.ts'
import { Heartbeat } from '../protocol/messages/heartbeat.ts'
import { IncrementalAlterConfigs } from '../protocol/messages/incremental-alter-configs.ts'
import { InitProducerId } from '../protocol/messages/init-producer-id.ts'
import { JoinGroup } from '../protocol/messages/join-group.ts'
import { LeaveGroup } from '../protocol/messages/leave-group.ts'
import { ListGroups } from '../protocol/messages/list-groups.ts'
import { ListPartitionReassignments } from '../protocol/messages/list-partition-reassignments.ts'
import { Metadata } from '../protocol/messages/metadata.ts'
import { OffsetCommit } from '../protocol/messages/offset-commit.ts'
import { OffsetDelete } from '../protocol/messages/offset-delete.ts'
import { OffsetFetch } from '../protocol/messages/offset-fetch.ts'
import { SyncGroup } from '../protocol/messages/sync-group.ts'
import type { ControllerForwarding } from './controller-forwarding.ts'
import { createAlterConfigsHandler } from './handlers/alter-configs.ts'
import { createAlterPartitionReassignmentsHandler } from './handlers/alter-partition-reassignments.ts'
import { createApiVersionsHandler, type ServedRange } from './handlers/api-versions.ts'
import { createCreatePartitionsHandler } from './handlers/create-partitions.ts'
import { createCreateTopicsHandler } from './handlers/create-topics.ts'
import { createDeleteGroupsHandler } from './handlers/delete-groups.ts'
import { createDeleteTopicsHandler } from './handlers/delete-topics.ts'
import { createDescribeClusterHandler } from './handlers/describe-cluster.ts'
import { createDescribeConfigsHandler } from './handlers/describe-configs.ts'
import { createDescribeGroupsHandler } from './handlers/describe-groups.ts'
import { createDescribeTopicPartitionsHandler } from './handlers/describe-topic-partitions.ts'
import { createElectLeadersHandler } from './handlers/elect-leaders.ts'
import { createFindCoordinatorHandler } from './handlers/find-coordinator.ts'
import { createHeartbeatHandler } from './handlers/heartbeat.ts'
import { createIncrementalAlterConfigsHandler } from './handlers/incremental-alter-configs.ts'
import { createInitProducerIdHandler } from './handlers/init-producer-id.ts'
import { createJoinGroupHandler } from './handlers/join-group.ts'
import { createLeaveGroupHandler } from './handlers/leave-group.ts'
import { createListGroupsHandler } from './handlers/list-groups.ts'
import { createListPartitionReassignmentsHandler } from './handlers/list-partition-reassignments.ts'
import { createMetadataHandler } from './handlers/metadata.ts'
import { createOffsetCommitHandler } from './handlers/offset-commit.ts'
import { createOffsetDeleteHandler } from './handlers/offset-delete.ts'
import { createOffsetFetchHandler } from './handlers/offset-fetch.ts'
import { createSyncGroupHandler } from './handlers/sync-group.ts'
import { type ServedApi, serve } from './request-dispatcher.ts'
import type { Responder } from './responder.ts'
import type { Services } from './services.ts'

export interface ApiTableOptions {
  readonly responder: Responder
  readonly services: Services
  readonly forwarding: ControllerForwarding
  readonly dataPath: readonly ServedApi[]
  /** None for a broker alone, which talks to no others. */
  readonly betweenBrokers: readonly ServedApi[]
}

/** Everything that is served. */
export function createApiTable(options: ApiTableOptions): readonly ServedApi[] {
  const { responder, services, forwarding, dataPath, betweenBrokers } = options
  const ranges: ServedRange[] = []
  const apis = [
    ...dataPath,
    serve(
      responder,
      ApiVersions,
      createApiVersionsHandler(() => ranges),
    ),
    serve(responder, Metadata, createMetadataHandler(services)),
    serve(responder, FindCoordinator, createFindCoordinatorHandler(services)),
    serve(responder, DeleteGroups, createDeleteGroupsHandler(services)),
    serve(responder, DescribeGroups, createDescribeGroupsHandler(services)),
    serve(responder, Heartbeat, createHeartbeatHandler(services)),
    serve(responder, JoinGroup, createJoinGroupHandler(services)),
    serve(responder, LeaveGroup, createLeaveGroupHandler(services)),
    serve(responder, ListGroups, createListGroupsHandler(services)),
    serve(responder, OffsetCommit, createOffsetCommitHandler(services)),
    serve(responder, OffsetDelete, createOffsetDeleteHandler(services)),
    serve(responder, OffsetFetch, createOffsetFetchHandler(services)),
    serve(responder, SyncGroup, createSyncGroupHandler(services)),
    serve(responder, InitProducerId, createInitProducerIdHandler(services)),
    serve(responder, DescribeConfigs, createDescribeConfigsHandler(services)),
    serve(responder, AlterConfigs, createAlterConfigsHandler(services)),
    serve(responder, IncrementalAlterConfigs, createIncrementalAlterConfigsHandler(services)),
    serve(responder, DescribeCluster, createDescribeClusterHandler(services)),
    serve(responder, DescribeTopicPartitions, createDescribeTopicPartitionsHandler(services)),
    ...controllerApis(services, forwarding),
    ...betweenBrokers,
  ].sort((a, b) => a.api.key - b.api.key)
  for (const { api, minVersion, maxVersion } of apis) {
    ranges.push({ apiKey: api.key, minVersion, maxVersion })
  }
  return apis
}

/** What the controller carries out, whichever broker is asked. */
function controllerApis(
  services: Services,
  forwarding: ControllerForwarding,
): readonly ServedApi[] {
  return [
    forwarding.serve(CreateTopics, createCreateTopicsHandler(services)),
    forwarding.serve(DeleteTopics, createDeleteTopicsHandler(services)),
    forwarding.serve(CreatePartitions, createCreatePartitionsHandler(services)),
    forwarding.serve(ElectLeaders, createElectLeadersHandler(services)),
    forwarding.serve(
      AlterPartitionReassignments,
      createAlterPartitionReassignmentsHandler(services),
    ),
    forwarding.serve(ListPartitionReassignments, createListPartitionReassignmentsHandler(services)),
  ]
}
