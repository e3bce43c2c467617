/**
 * The public entry point `shardlog/client`: a client for this broker and for Apache Kafka.
 */
export type {
  AdminCallOptions,
  BrokerApiVersions,
  ClientQuota,
  ClusterDescription,
  CommittedOffset,
  ConfigChange,
  ConfigDescription,
  ConfigEntry,
  ConfigResource,
  ConfigResult,
  ConfigSource,
  ConfigSynonym,
  CreatedTopic,
  DeletedRecords,
  GroupDescription,
  GroupListing,
  GroupOffsets,
  GroupResult,
  ItemResult,
  ListedGroups,
  ListedOffset,
  LogDirDescription,
  MemberDescription,
  NewPartitions,
  NewTopic,
  OffsetAndMetadata,
  OffsetQuery,
  OngoingReassignment,
  PartitionDescription,
  PartitionReassignment,
  PartitionResult,
  QuotaChange,
  QuotaEntityPart,
  QuotaFilterPart,
  RecordsToDelete,
  ReplicaDescription,
  ReplicaLogDir,
  ScramChange,
  ScramCredentials,
  ScramMechanismName,
  TopicDescription,
  TopicListing,
  TopicResult,
  ValidateOptions,
} from './client/admin.ts'
export {
  Admin,
  allOrThrow,
  ConfigResourceType,
  OffsetSpec,
  ScramMechanism,
} from './client/admin.ts'
export type {
  Assignor,
  AssignorMember,
  AssignorTopic,
  RebalanceProtocol,
} from './client/assignors/assignor.ts'
export { CooperativeStickyAssignor } from './client/assignors/cooperative-sticky.ts'
export { RangeAssignor } from './client/assignors/range.ts'
export { RoundRobinAssignor } from './client/assignors/round-robin.ts'
export type { BrokerConnectionOptions, SendOptions } from './client/broker-connection.ts'
export { BrokerConnection } from './client/broker-connection.ts'
export type { ClientOptions, HostAndPort } from './client/client-options.ts'
export type {
  BrokerNode,
  ClusterMetadata,
  CoordinatorKind,
  MetadataOptions,
  PartitionMetadata,
  RetryOptions,
  TopicMetadata,
} from './client/cluster.ts'
export { Cluster } from './client/cluster.ts'
export type { CompressionType } from './client/codecs.ts'
export type {
  AssignorName,
  ConsumerOptions,
  ManualAssignment,
  OffsetAndTimestamp,
  RebalanceListener,
} from './client/consumer.ts'
export { Consumer } from './client/consumer.ts'
export * from './client/errors.ts'
export type { CommittedPartition, OffsetToCommit } from './client/group-membership.ts'
export type { PartitionTimestamp } from './client/offset-lookup.ts'
export { LogTruncationError, NoOffsetForPartitionError } from './client/position-resolver.ts'
export type {
  CloseOptions,
  HeaderInput,
  ProducerOptions,
  ProducerRecord,
  RecordMetadata,
} from './client/producer.ts'
export { Producer } from './client/producer.ts'
export type {
  ConsumerRecord,
  DecodedRecords,
  DecodeRecordsOptions,
  EncodeBatchOptions,
  RecordHeader,
  TimestampType,
} from './client/records.ts'
export { decodeRecords, encodeBatch } from './client/records.ts'
export type {
  SimpleConsumerOptions,
  SimpleFetch,
  SimpleFetchResult,
} from './client/simple-consumer.ts'
export { SimpleConsumer } from './client/simple-consumer.ts'
export type { AutoOffsetReset, TopicPartition } from './client/subscription-state.ts'
