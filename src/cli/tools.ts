/**
 * The table of tools: what `bin/`, the front door `shardlog`, completion and `shardlog tools link`
 * know. Loading a tool is left to whoever runs it.
 */
import type { Tool } from './kit/tool.ts'

export type ToolGroup = 'topics and records' | 'groups' | 'cluster' | 'measuring' | 'files' | '0.8'

export interface ToolEntry {
  /** Apache's name without `.sh`; the name of the file in `bin/`. */
  readonly name: string
  /** After `shardlog`, such as `topics`. */
  readonly command: string
  readonly summary: string
  readonly group: ToolGroup
  /** Main classes that `kafka-run-class` takes for it. */
  readonly classes: readonly string[]
  readonly load: () => Promise<Tool>
}

function entry(
  name: string,
  command: string,
  group: ToolGroup,
  summary: string,
  load: () => Promise<Tool>,
  classes: readonly string[] = [],
): ToolEntry {
  return { name, command, group, summary, load, classes }
}

export const TOOLS: readonly ToolEntry[] = [
  entry(
    'kafka-topics',
    'topics',
    'topics and records',
    'Creates, lists, describes, changes and deletes topics.',
    async () => (await import('./kafka-topics.ts')).kafkaTopics,
    ['org.apache.kafka.tools.TopicCommand', 'kafka.admin.TopicCommand'],
  ),
  entry(
    'kafka-console-producer',
    'produce',
    'topics and records',
    'Sends what is typed, a record a line.',
    async () => (await import('./kafka-console-producer.ts')).kafkaConsoleProducer,
    ['org.apache.kafka.tools.ConsoleProducer', 'kafka.tools.ConsoleProducer'],
  ),
  entry(
    'kafka-producer-perf-test',
    'producer-perf',
    'measuring',
    'Measures how fast records can be sent.',
    async () => (await import('./kafka-producer-perf-test.ts')).kafkaProducerPerfTest,
    ['org.apache.kafka.tools.ProducerPerformance'],
  ),
  entry(
    'kafka-consumer-perf-test',
    'consumer-perf',
    'measuring',
    'Measures how fast records can be read.',
    async () => (await import('./kafka-consumer-perf-test.ts')).kafkaConsumerPerfTest,
    ['org.apache.kafka.tools.ConsumerPerformance', 'kafka.tools.ConsumerPerformance'],
  ),
  entry(
    'kafka-e2e-latency',
    'e2e-latency',
    'measuring',
    'Measures how long a record takes from its producer to its consumer.',
    async () => (await import('./kafka-e2e-latency.ts')).kafkaE2eLatency,
    ['org.apache.kafka.tools.EndToEndLatency', 'kafka.tools.EndToEndLatency'],
  ),
  entry(
    'kafka-verifiable-producer',
    'verifiable-producer',
    'measuring',
    'Sends numbers, and prints what became of each as JSON.',
    async () => (await import('./kafka-verifiable-producer.ts')).kafkaVerifiableProducer,
    ['org.apache.kafka.tools.VerifiableProducer'],
  ),
  entry(
    'kafka-verifiable-consumer',
    'verifiable-consumer',
    'measuring',
    'Reads in a group, and prints what happens as JSON.',
    async () => (await import('./kafka-verifiable-consumer.ts')).kafkaVerifiableConsumer,
    ['org.apache.kafka.tools.VerifiableConsumer'],
  ),
  entry(
    'kafka-console-consumer',
    'consume',
    'topics and records',
    'Prints the records of topics.',
    async () => (await import('./kafka-console-consumer.ts')).kafkaConsoleConsumer,
    ['org.apache.kafka.tools.consumer.ConsoleConsumer', 'kafka.tools.ConsoleConsumer'],
  ),
  entry(
    'kafka-consumer-groups',
    'groups',
    'groups',
    'Lists, describes and deletes consumer groups, and moves their offsets.',
    async () => (await import('./kafka-consumer-groups.ts')).kafkaConsumerGroups,
    [
      'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand',
      'kafka.admin.ConsumerGroupCommand',
      'kafka.tools.ConsumerGroupCommand',
    ],
  ),
  entry(
    'kafka-dump-log',
    'dump-log',
    'files',
    'Prints what is in log segments, indexes and snapshots.',
    async () => (await import('./kafka-dump-log.ts')).kafkaDumpLog,
    ['kafka.tools.DumpLogSegments', 'org.apache.kafka.tools.DumpLogSegments'],
  ),
  entry(
    'kafka-get-offsets',
    'offsets',
    'topics and records',
    'Prints offsets of partitions by time.',
    async () => (await import('./kafka-get-offsets.ts')).kafkaGetOffsets,
    ['org.apache.kafka.tools.GetOffsetShell', 'kafka.tools.GetOffsetShell'],
  ),
  entry(
    'kafka-delete-records',
    'delete-records',
    'topics and records',
    'Deletes the records of partitions up to given offsets.',
    async () => (await import('./kafka-delete-records.ts')).kafkaDeleteRecords,
    ['org.apache.kafka.tools.DeleteRecordsCommand', 'kafka.admin.DeleteRecordsCommand'],
  ),
  entry(
    'kafka-log-dirs',
    'log-dirs',
    'cluster',
    'Prints what lies in the log directories of brokers.',
    async () => (await import('./kafka-log-dirs.ts')).kafkaLogDirs,
    ['org.apache.kafka.tools.LogDirsCommand', 'kafka.admin.LogDirsCommand'],
  ),
  entry(
    'kafka-broker-api-versions',
    'api-versions',
    'cluster',
    'Prints which versions of which APIs the brokers serve.',
    async () => (await import('./kafka-broker-api-versions.ts')).kafkaBrokerApiVersions,
    ['kafka.admin.BrokerApiVersionsCommand', 'org.apache.kafka.tools.BrokerApiVersionsCommand'],
  ),
  entry(
    'kafka-leader-election',
    'leader-election',
    'cluster',
    'Elects leaders of partitions.',
    async () => (await import('./kafka-leader-election.ts')).kafkaLeaderElection,
    ['org.apache.kafka.tools.LeaderElectionCommand', 'kafka.admin.LeaderElectionCommand'],
  ),
  entry(
    'kafka-list-topic',
    'list-topic',
    '0.8',
    'Lists topics and their partitions, as Kafka 0.8.0 did.',
    async () => (await import('./kafka-list-topic.ts')).kafkaListTopic,
    ['kafka.admin.ListTopicCommand'],
  ),
  entry(
    'kafka-create-topic',
    'create-topic',
    '0.8',
    'Creates a topic, as Kafka 0.8.0 did.',
    async () => (await import('./kafka-create-topic.ts')).kafkaCreateTopic,
    ['kafka.admin.CreateTopicCommand'],
  ),
  entry(
    'kafka-preferred-replica-election',
    'preferred-replica-election',
    '0.8',
    'Has the preferred replicas lead again, as Kafka 0.8 did.',
    async () =>
      (await import('./kafka-preferred-replica-election.ts')).kafkaPreferredReplicaElection,
    ['kafka.admin.PreferredReplicaLeaderElectionCommand'],
  ),
  entry(
    'kafka-configs',
    'configs',
    'cluster',
    'Describes and changes configs of topics and brokers, quotas and SCRAM credentials.',
    async () => (await import('./kafka-configs.ts')).kafkaConfigs,
    ['kafka.admin.ConfigCommand'],
  ),
  entry(
    'kafka-reassign-partitions',
    'reassign-partitions',
    'cluster',
    'Moves partitions between brokers and log directories.',
    async () => (await import('./kafka-reassign-partitions.ts')).kafkaReassignPartitions,
    [
      'org.apache.kafka.tools.reassign.ReassignPartitionsCommand',
      'kafka.admin.ReassignPartitionsCommand',
    ],
  ),
  entry(
    'kafka-server-start',
    'server-start',
    'cluster',
    'Starts a broker, in the background with -daemon.',
    async () => (await import('./kafka-server-start.ts')).kafkaServerStart,
    ['kafka.Kafka'],
  ),
  entry(
    'kafka-server-stop',
    'server-stop',
    'cluster',
    'Stops brokers of this machine in order.',
    async () => (await import('./kafka-server-stop.ts')).kafkaServerStop,
  ),
  entry(
    'zookeeper-server-start',
    'zookeeper-start',
    'cluster',
    'Starts an Apache ZooKeeper server, in the background with -daemon.',
    async () => (await import('./zookeeper-server-start.ts')).zookeeperServerStart,
    ['org.apache.zookeeper.server.quorum.QuorumPeerMain'],
  ),
  entry(
    'zookeeper-server-stop',
    'zookeeper-stop',
    'cluster',
    'Stops the ZooKeeper servers of this machine.',
    async () => (await import('./zookeeper-server-stop.ts')).zookeeperServerStop,
  ),
  entry(
    'kafka-run-class',
    'run-class',
    '0.8',
    "Runs the tool that stands for one of Apache Kafka's main classes.",
    async () => (await import('./kafka-run-class.ts')).kafkaRunClass,
  ),
]

/** The entry of a tool by Apache's name, with or without `.sh`, or by its command. */
export function findTool(name: string): ToolEntry | undefined {
  const plain = name.replace(/\.sh$/, '')
  return TOOLS.find((tool) => tool.name === plain || tool.command === plain)
}

/** The entry that runs a main class of Apache Kafka, named in full. */
export function findToolByClass(className: string): ToolEntry | undefined {
  return TOOLS.find((tool) => tool.classes.includes(className))
}
