/** The configuration of a broker: Kafka's keys, from 0.8 to 4.x, and our own (`shardlog.*`). */
import { atLeast, between, type ConfigOf, defineConfig, oneOf } from './define-config.ts'

const NO_LIMIT = Number.MAX_SAFE_INTEGER

export const brokerConfig = defineConfig({
  brokerId: { key: 'broker.id', type: 'int', default: -1, check: atLeast(-1), importance: 'high', doc: 'Number of this broker in its cluster; -1 takes the one in the data directory, or 0.' },
  nodeId: { key: 'node.id', type: 'int', default: -1, check: atLeast(-1), importance: 'high', doc: 'The newer name of broker.id.' },
  brokerRack: { key: 'broker.rack', type: 'string', default: null, importance: 'medium', doc: 'Rack of this broker, told to clients.' },
  listeners: { key: 'listeners', type: 'string', default: null, importance: 'high', dynamic: 'read-only', doc: 'Comma-separated NAME://host:port on which the broker listens. An empty host is every interface.' },
  advertisedListeners: { key: 'advertised.listeners', type: 'string', default: null, importance: 'high', doc: 'What clients are told to connect to, if it is not what the broker listens on.' },
  listenerSecurityProtocolMap: { key: 'listener.security.protocol.map', type: 'string', default: 'PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL', importance: 'low', doc: 'Security protocol of each listener name.' },
  hostName: { key: 'host.name', type: 'string', default: null, importance: 'high', doc: 'Kafka 0.8: address to listen on. An empty one is every interface.' },
  port: { key: 'port', type: 'int', default: 9092, check: between(0, 65535), importance: 'high', doc: 'Kafka 0.8: port to listen on.' },
  advertisedHostName: { key: 'advertised.host.name', type: 'string', default: null, importance: 'high', doc: 'Kafka 0.8: host that clients are told.' },
  advertisedPort: { key: 'advertised.port', type: 'int', default: null, check: between(1, 65535), importance: 'high', doc: 'Kafka 0.8: port that clients are told.' },
  zookeeperConnect: { key: 'zookeeper.connect', type: 'string', default: null, importance: 'high', doc: 'ZooKeeper ensemble of the cluster. Without it this broker is a cluster of its own.' },
  logDir: { key: 'log.dir', type: 'string', default: '/tmp/kafka-logs', importance: 'high', doc: 'Data directory, where log.dirs is not set.' },
  logDirs: { key: 'log.dirs', type: 'list', default: null, importance: 'high', doc: 'Data directories, comma-separated.' },
  numPartitions: { key: 'num.partitions', type: 'int', default: 1, check: atLeast(1), importance: 'medium', doc: 'Partitions of a topic that is created without saying how many.' },
  defaultReplicationFactor: { key: 'default.replication.factor', type: 'int', default: 1, check: atLeast(1), importance: 'medium', doc: 'Replicas of a topic that is created without saying how many.' },
  autoCreateTopicsEnable: { key: 'auto.create.topics.enable', type: 'boolean', default: true, importance: 'high', doc: 'Whether asking for the metadata of an unknown topic creates it.' },
  deleteTopicEnable: { key: 'delete.topic.enable', type: 'boolean', default: true, importance: 'high', doc: 'Whether topics can be deleted.' },
  messageMaxBytes: { key: 'message.max.bytes', type: 'int', default: 1_048_588, check: atLeast(0), importance: 'high', dynamic: 'cluster-wide', doc: 'The largest record batch that is accepted.' },
  compressionType: { key: 'compression.type', type: 'string', default: 'producer', check: oneOf('uncompressed', 'zstd', 'lz4', 'snappy', 'gzip', 'producer'), importance: 'high', dynamic: 'cluster-wide', doc: 'Codec that records are stored with.' },
  compressionGzipLevel: { key: 'compression.gzip.level', type: 'int', default: -1, importance: 'medium', dynamic: 'cluster-wide', doc: 'Level of gzip.' },
  compressionLz4Level: { key: 'compression.lz4.level', type: 'int', default: 9, check: between(1, 17), importance: 'medium', dynamic: 'cluster-wide', doc: 'Level of lz4.', inert: true },
  compressionZstdLevel: { key: 'compression.zstd.level', type: 'int', default: 3, check: between(-131072, 22), importance: 'medium', dynamic: 'cluster-wide', doc: 'Level of zstd.' },
  minInsyncReplicas: { key: 'min.insync.replicas', type: 'int', default: 1, check: atLeast(1), importance: 'high', dynamic: 'cluster-wide', doc: 'In-sync replicas that a write with acks=all needs.' },
  logSegmentBytes: { key: 'log.segment.bytes', type: 'int', default: 1_073_741_824, check: atLeast(14), importance: 'high', dynamic: 'cluster-wide', doc: 'Size at which a partition starts a new segment.' },
  logRollMs: { key: 'log.roll.ms', type: 'long', default: null, check: atLeast(1), importance: 'high', dynamic: 'cluster-wide', doc: 'Time after which a partition starts a new segment.' },
  logRollHours: { key: 'log.roll.hours', type: 'int', default: 168, check: atLeast(1), importance: 'high', doc: 'The same in hours.' },
  logRollJitterMs: { key: 'log.roll.jitter.ms', type: 'long', default: null, check: atLeast(0), importance: 'high', dynamic: 'cluster-wide', doc: 'Random time taken off the roll time.' },
  logRollJitterHours: { key: 'log.roll.jitter.hours', type: 'int', default: 0, check: atLeast(0), importance: 'high', doc: 'The same in hours.' },
  logRetentionMs: { key: 'log.retention.ms', type: 'long', default: null, check: atLeast(-1), importance: 'high', dynamic: 'cluster-wide', doc: 'Age at which segments are deleted; -1: never.' },
  logRetentionMinutes: { key: 'log.retention.minutes', type: 'int', default: null, importance: 'high', doc: 'The same in minutes.' },
  logRetentionHours: { key: 'log.retention.hours', type: 'int', default: 168, importance: 'high', doc: 'The same in hours.' },
  logRetentionBytes: { key: 'log.retention.bytes', type: 'long', default: -1, importance: 'high', dynamic: 'cluster-wide', doc: 'Size of a partition above which segments are deleted; -1: no limit.' },
  logRetentionCheckIntervalMs: { key: 'log.retention.check.interval.ms', type: 'long', default: 300_000, check: atLeast(1), importance: 'medium', doc: 'How often retention looks for segments to delete.' },
  logCleanupPolicy: { key: 'log.cleanup.policy', type: 'list', default: ['delete'], check: oneOf('delete', 'compact'), importance: 'medium', dynamic: 'cluster-wide', doc: 'What happens to old segments.' },
  logIndexSizeMaxBytes: { key: 'log.index.size.max.bytes', type: 'int', default: 10_485_760, check: atLeast(4), importance: 'medium', dynamic: 'cluster-wide', doc: 'Size of an index at which a partition starts a new segment.' },
  logIndexIntervalBytes: { key: 'log.index.interval.bytes', type: 'int', default: 4096, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'Bytes of log between two index entries.' },
  logFlushIntervalMessages: { key: 'log.flush.interval.messages', type: 'long', default: NO_LIMIT, check: atLeast(1), importance: 'high', dynamic: 'cluster-wide', doc: 'Records after which a log is forced to disk.', inert: true },
  logFlushIntervalMs: { key: 'log.flush.interval.ms', type: 'long', default: null, importance: 'high', dynamic: 'cluster-wide', doc: 'Time after which a log is forced to disk.', inert: true },
  logFlushSchedulerIntervalMs: { key: 'log.flush.scheduler.interval.ms', type: 'long', default: NO_LIMIT, importance: 'high', doc: 'How often the broker looks for logs to force to disk.', inert: true },
  logFlushOffsetCheckpointIntervalMs: { key: 'log.flush.offset.checkpoint.interval.ms', type: 'int', default: 60_000, check: atLeast(0), importance: 'high', doc: 'How often recovery points are written: what recovery must read again after a crash.' },
  logFlushStartOffsetCheckpointIntervalMs: { key: 'log.flush.start.offset.checkpoint.interval.ms', type: 'int', default: 60_000, check: atLeast(0), importance: 'high', doc: 'How often log starts are written.', inert: true },
  logMessageTimestampType: { key: 'log.message.timestamp.type', type: 'string', default: 'CreateTime', check: oneOf('CreateTime', 'LogAppendTime'), importance: 'medium', dynamic: 'cluster-wide', doc: 'Whose time a record carries.' },
  logMessageTimestampDifferenceMaxMs: { key: 'log.message.timestamp.difference.max.ms', type: 'long', default: NO_LIMIT, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'How far the time of a record may be from that of the broker.' },
  logMessageTimestampBeforeMaxMs: { key: 'log.message.timestamp.before.max.ms', type: 'long', default: NO_LIMIT, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'How far it may be behind.' },
  logMessageTimestampAfterMaxMs: { key: 'log.message.timestamp.after.max.ms', type: 'long', default: NO_LIMIT, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'How far it may be ahead.' },
  logMessageDownconversionEnable: { key: 'log.message.downconversion.enable', type: 'boolean', default: true, importance: 'low', dynamic: 'cluster-wide', doc: 'Whether records are converted for old consumers.' },
  logPreallocate: { key: 'log.preallocate', type: 'boolean', default: false, importance: 'medium', dynamic: 'cluster-wide', doc: 'Segments are preallocated in small steps, whatever this says.', inert: true },
  logSegmentDeleteDelayMs: { key: 'log.segment.delete.delay.ms', type: 'long', default: 60_000, check: atLeast(0), importance: 'high', dynamic: 'cluster-wide', doc: 'Files are unlinked at once here.', inert: true },
  socketRequestMaxBytes: { key: 'socket.request.max.bytes', type: 'int', default: 104_857_600, check: atLeast(1), importance: 'high', doc: 'The largest request.' },
  socketSendBufferBytes: { key: 'socket.send.buffer.bytes', type: 'int', default: -1, importance: 'high', doc: 'SO_SNDBUF of connections; -1 lets the system size it, which costs the broker less than the 102400 of Apache Kafka.' },
  socketReceiveBufferBytes: { key: 'socket.receive.buffer.bytes', type: 'int', default: -1, importance: 'high', doc: 'SO_RCVBUF of connections; -1 lets the system size it, which costs the broker less than the 102400 of Apache Kafka.' },
  socketListenBacklogSize: { key: 'socket.listen.backlog.size', type: 'int', default: 50, check: atLeast(1), importance: 'medium', doc: 'Connections that wait to be accepted.' },
  connectionsMaxIdleMs: { key: 'connections.max.idle.ms', type: 'long', default: 600_000, importance: 'medium', doc: 'Time after which a silent connection is closed.' },
  maxConnections: { key: 'max.connections', type: 'int', default: 2_147_483_647, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'Connections the broker accepts.' },
  maxConnectionsPerIp: { key: 'max.connections.per.ip', type: 'int', default: 2_147_483_647, check: atLeast(0), importance: 'medium', dynamic: 'cluster-wide', doc: 'Connections the broker accepts from one address.' },
  maxConnectionsPerIpOverrides: { key: 'max.connections.per.ip.overrides', type: 'string', default: '', importance: 'medium', dynamic: 'cluster-wide', doc: 'Comma-separated address:count that differ from max.connections.per.ip.' },
  fetchMaxBytes: { key: 'fetch.max.bytes', type: 'int', default: 57_671_680, check: atLeast(1024), importance: 'medium', doc: 'The most bytes in an answer to a fetch.' },
  maxIncrementalFetchSessionCacheSlots: { key: 'max.incremental.fetch.session.cache.slots', type: 'int', default: 1000, check: atLeast(0), importance: 'medium', doc: 'Fetch sessions that are remembered.' },
  maxRequestPartitionSizeLimit: { key: 'max.request.partition.size.limit', type: 'int', default: 2000, check: atLeast(1), importance: 'medium', doc: 'Partitions in one answer of DescribeTopicPartitions.' },
  producerIdExpirationMs: { key: 'producer.id.expiration.ms', type: 'int', default: 86_400_000, check: atLeast(1), importance: 'low', dynamic: 'cluster-wide', doc: 'Time after which a silent idempotent producer is forgotten.' },
  uncleanLeaderElectionEnable: { key: 'unclean.leader.election.enable', type: 'boolean', default: false, importance: 'high', dynamic: 'cluster-wide', doc: 'Whether a replica that is not in sync may lead.', inert: true },
  shards: { key: 'shardlog.shards', type: 'int', default: -1, check: atLeast(-1), importance: 'medium', doc: 'Worker threads that own partitions; 0: everything on one thread; -1: one per core but one, at most 8, and none on a machine of one or two cores, where the hop to a thread costs more than it gains.' },
  frameMemoryBytes: { key: 'shardlog.frame.memory.bytes', type: 'long', default: 134_217_728, check: atLeast(1_048_576), importance: 'medium', doc: 'Received bytes of unfinished and unanswered requests above which the broker stops reading.' },
  connectionInflightMax: { key: 'shardlog.connection.max.inflight', type: 'int', default: 32, check: atLeast(1), importance: 'low', doc: 'Requests of one connection in work at a time.' },
  connectionInflightMaxBytes: { key: 'shardlog.connection.max.inflight.bytes', type: 'long', default: 8_388_608, check: atLeast(1), importance: 'low', doc: 'Bytes of them; one request is always allowed.' },
  connectionOutputMaxBytes: { key: 'shardlog.connection.max.output.bytes', type: 'long', default: 1_048_576, check: atLeast(1), importance: 'low', doc: 'Unsent answer bytes of a connection above which it is not read. Bytes sent from files do not count.' },
  decompressionMaxBytes: { key: 'shardlog.decompression.max.bytes', type: 'long', default: 134_217_728, check: atLeast(1_048_576), importance: 'medium', doc: 'The most bytes that one compressed record batch may hold when it is decompressed; a larger one is refused.' },
  logLevel: { key: 'shardlog.log.level', type: 'string', default: 'info', check: oneOf('debug', 'info', 'warn', 'error', 'silent'), importance: 'low', doc: 'How much the broker logs.' },
})

export type BrokerConfig = ConfigOf<typeof brokerConfig>

/** Keys that Kafka knows and that have no effect here. */
export const inertBrokerKeys: ReadonlySet<string> = new Set(
  (
    'num.network.threads num.io.threads num.replica.fetchers num.recovery.threads.per.data.dir queued.max.requests ' +
    'queued.max.request.bytes background.threads zookeeper.connection.timeout.ms zookeeper.session.timeout.ms ' +
    'zookeeper.sync.time.ms zookeeper.set.acl zookeeper.max.in.flight.requests broker.id.generation.enable reserved.broker.max.id ' +
    'group.initial.rebalance.delay.ms group.min.session.timeout.ms group.max.session.timeout.ms group.max.size ' +
    'offsets.topic.replication.factor offsets.topic.num.partitions offsets.topic.segment.bytes offsets.retention.minutes ' +
    'offsets.retention.check.interval.ms offsets.commit.timeout.ms offsets.load.buffer.size offset.metadata.max.bytes ' +
    'transaction.state.log.replication.factor transaction.state.log.min.isr transaction.state.log.num.partitions ' +
    'transaction.state.log.segment.bytes transactional.id.expiration.ms transaction.max.timeout.ms ' +
    'controlled.shutdown.enable controlled.shutdown.max.retries controlled.shutdown.retry.backoff.ms ' +
    'auto.leader.rebalance.enable leader.imbalance.check.interval.seconds leader.imbalance.per.broker.percentage ' +
    'replica.lag.time.max.ms replica.lag.max.messages replica.socket.timeout.ms replica.socket.receive.buffer.bytes ' +
    'replica.fetch.max.bytes replica.fetch.wait.max.ms replica.fetch.min.bytes replica.fetch.backoff.ms ' +
    'replica.fetch.response.max.bytes replica.high.watermark.checkpoint.interval.ms replica.selector.class ' +
    'fetch.purgatory.purge.interval.requests producer.purgatory.purge.interval.requests request.timeout.ms ' +
    'log.cleaner.enable log.cleaner.threads log.cleaner.io.max.bytes.per.second log.cleaner.dedupe.buffer.size ' +
    'log.cleaner.io.buffer.size log.cleaner.io.buffer.load.factor log.cleaner.backoff.ms log.cleaner.min.cleanable.ratio ' +
    'log.cleaner.delete.retention.ms log.cleaner.min.compaction.lag.ms log.cleaner.max.compaction.lag.ms ' +
    'log.message.format.version inter.broker.protocol.version inter.broker.listener.name security.inter.broker.protocol ' +
    'control.plane.listener.name controller.socket.timeout.ms metric.reporters metrics.num.samples ' +
    'metrics.sample.window.ms auto.include.jmx.reporter quota.producer.default quota.consumer.default ' +
    'process.roles controller.quorum.voters controller.listener.names controller.quorum.bootstrap.servers ' +
    'share.coordinator.state.topic.replication.factor share.coordinator.state.topic.min.isr ' +
    'create.topic.policy.class.name alter.config.policy.class.name authorizer.class.name super.users ' +
    'socket.connection.setup.timeout.ms socket.connection.setup.timeout.max.ms connection.failed.authentication.delay.ms'
  ).split(/\s+/),
)
