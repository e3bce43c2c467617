/** What this broker believes of a topic. Images are never changed, only replaced. */

export interface PartitionImage {
  readonly topic: string
  readonly partition: number
  /** −1 if there is none. */
  readonly leader: number
  readonly leaderEpoch: number
  /** Version of the state in the registry. */
  readonly partitionEpoch: number
  readonly controllerEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
  /** Replicas on brokers that are not alive; kept up to date by the MetadataCache. */
  readonly offlineReplicas: readonly number[]
}

export interface TopicImage {
  readonly name: string
  /** 22 characters of URL-safe base64. */
  readonly topicId: string
  readonly isInternal: boolean
  /** `partitions[p]` is partition p. */
  readonly partitions: readonly PartitionImage[]
  /** The topic's own configs, without what it inherits. */
  readonly configs: ReadonlyMap<string, string>
}

export interface BrokerEndpoint {
  readonly host: string
  readonly port: number
}

export interface BrokerImage {
  readonly brokerId: number
  readonly brokerEpoch: number
  readonly rack: string | null
  /** By listener name. */
  readonly endpoints: ReadonlyMap<string, BrokerEndpoint>
}

const INTERNAL_TOPICS: ReadonlySet<string> = new Set([
  '__consumer_offsets',
  '__transaction_state',
  '__share_group_state',
])

/** Whether only the brokers themselves may write to a topic of this name. */
export function isInternalTopic(name: string): boolean {
  return INTERNAL_TOPICS.has(name)
}
