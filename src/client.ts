/**
 * The public entry point `shardlog/client`: a client for this broker and for Apache Kafka.
 */
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
export * from './client/errors.ts'
export type {
  ConsumerRecord,
  DecodeRecordsOptions,
  EncodeBatchOptions,
  RecordHeader,
  TimestampType,
} from './client/records.ts'
export { decodeRecords, encodeBatch } from './client/records.ts'
