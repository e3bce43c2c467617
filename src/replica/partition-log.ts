/**
 * What the roles of a partition need of its log and of those that keep logs: so much, and no file,
 * thread or socket. Production has the logs of shards, the simulator its own.
 */
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogSettings } from '../native/addon.ts'
import type { LeaderLog } from './partition-leader.ts'
import type { FollowerLog } from './replica-fetcher.ts'

/** A log that leads or follows. Positions are −1 while it is not open. */
export interface PartitionLog extends LeaderLog, FollowerLog {
  /** Its published row; −1 until it was first open. */
  readonly row: number
  readonly lastStable: number
  readonly sizeBytes: number
  readonly config: TopicConfig
  readonly settings: LogSettings
  /** Only what the leader of that epoch wrote is taken; what is parked fails. */
  follow(leaderEpoch: number): void
  /** Nothing is taken, and what is parked fails. */
  stepDown(): void
  /** Answers what has been parked beyond its deadline. */
  expireParked(nowMs: number): void
  /** Moves the log start, no further than the high watermark; a protocol error code. */
  deleteRecords(offset: number): Promise<number>
}

export interface WantedLog {
  readonly topic: string
  readonly partition: number
  readonly topicId: string
  readonly config: TopicConfig
}

export interface LogEvents {
  /** A log is not served for now: its shard restarts. */
  readonly gone: (log: PartitionLog) => void
  /** It is open again, and has no role. */
  readonly reopened: (log: PartitionLog) => void
  /** Its disk takes no records: whether other replicas do without it better than with it. */
  readonly isSpare: (log: PartitionLog) => boolean
  /** Its disk failed: it is offline until the broker starts again. */
  readonly failed: (log: PartitionLog) => void
}

export interface LogStore {
  /** Whom it tells; set before the first log is opened. */
  attach(events: LogEvents): void
  find(topic: string, partition: number): PartitionLog | undefined
  /**
   * Opens logs, and makes those that are missing; in their order. One that cannot be opened is not
   * online. A log with another topic id than the wanted one is left as it is.
   */
  open(wanted: readonly WantedLog[]): Promise<readonly PartitionLog[]>
  /** Resolves when what the logs were told until now has taken effect. */
  settle(): Promise<void>
  /** Closes logs and removes what they have on the disk. */
  remove(logs: readonly PartitionLog[]): Promise<void>
  /** Hands the logs of a topic another config. */
  reconfigure(topic: string, config: TopicConfig): Promise<void>
}
