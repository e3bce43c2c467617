/** The list of what is served to other brokers; a broker alone does not load it. */
import { AllocateProducerIds } from '../protocol/messages/allocate-producer-ids.ts'
import { AlterPartition } from '../protocol/messages/alter-partition.ts'
import { ControlledShutdown } from '../protocol/messages/controlled-shutdown.ts'
import { Envelope } from '../protocol/messages/envelope.ts'
import { LeaderAndIsr } from '../protocol/messages/leader-and-isr.ts'
import { StopReplica } from '../protocol/messages/stop-replica.ts'
import { UpdateMetadata } from '../protocol/messages/update-metadata.ts'
import type { ClusterServices } from './cluster/cluster-services.ts'
import { createAllocateProducerIdsHandler } from './handlers/allocate-producer-ids.ts'
import { createAlterPartitionHandler } from './handlers/alter-partition.ts'
import { createControlledShutdownHandler } from './handlers/controlled-shutdown.ts'
import { createEnvelopeHandler } from './handlers/envelope.ts'
import { createLeaderAndIsrHandler } from './handlers/leader-and-isr.ts'
import { createStopReplicaHandler } from './handlers/stop-replica.ts'
import { createUpdateMetadataHandler } from './handlers/update-metadata.ts'
import { type ServedApi, serve } from './request-dispatcher.ts'
import type { Responder } from './responder.ts'

/** What brokers ask each other, in the versions that Apache Kafka 3.9 uses with ZooKeeper. */
export function apisBetweenBrokers(
  responder: Responder,
  services: ClusterServices,
): readonly ServedApi[] {
  return [
    serve(responder, LeaderAndIsr, createLeaderAndIsrHandler(services), '5-7'),
    serve(responder, StopReplica, createStopReplicaHandler(services), '3-4'),
    serve(responder, UpdateMetadata, createUpdateMetadataHandler(services), '7-8'),
    serve(responder, ControlledShutdown, createControlledShutdownHandler(services), '3'),
    serve(responder, AlterPartition, createAlterPartitionHandler(services), '2-3'),
    serve(responder, AllocateProducerIds, createAllocateProducerIdsHandler(services)),
    serve(responder, Envelope, createEnvelopeHandler(services)),
  ]
}
