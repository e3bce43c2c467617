/** One partition that this broker hosts: where its log is and in which epoch it leads. */
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogSettings } from '../native/addon.ts'
import { published } from '../shard/published.ts'
import type { Shard } from '../shard/shard.ts'
import type { PartitionLeader } from './partition-leader.ts'

/** Handle of a log that is not open. */
export const NO_LOG = 0

export class Partition {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly shard: Shard
  leaderEpoch: number
  /** The broker that leads; −1 if there is none that this broker was told of. */
  leaderId = -1
  /** Not null while this broker leads. */
  leader: PartitionLeader | null = null
  config: TopicConfig
  settings: LogSettings
  /** NO_LOG while its shard restarts or its disk failed. */
  log = NO_LOG
  row = -1

  constructor(options: {
    topic: string
    topicId: string
    partition: number
    shard: Shard
    leaderEpoch: number
    config: TopicConfig
    settings: LogSettings
  }) {
    this.topic = options.topic
    this.topicId = options.topicId
    this.partition = options.partition
    this.shard = options.shard
    this.leaderEpoch = options.leaderEpoch
    this.config = options.config
    this.settings = options.settings
  }

  /** Whether this broker leads the partition. */
  get isLeader(): boolean {
    return this.leader !== null
  }

  get isOnline(): boolean {
    return this.log !== NO_LOG && !published.isOffline(this.row)
  }

  get logStart(): number {
    return this.log === NO_LOG ? -1 : published.logStart(this.row)
  }

  get logEnd(): number {
    return this.log === NO_LOG ? -1 : published.logEnd(this.row)
  }

  get highWatermark(): number {
    return this.log === NO_LOG ? -1 : published.highWatermark(this.row)
  }

  get lastStable(): number {
    return this.log === NO_LOG ? -1 : published.lastStable(this.row)
  }

  get sizeBytes(): number {
    return this.log === NO_LOG ? 0 : published.sizeBytes(this.row)
  }
}
