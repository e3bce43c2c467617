/** One partition that this broker hosts: who leads it, and the log that it has here. */
import type { TopicConfig } from '../config/topic-config.ts'
import type { LogSettings } from '../native/addon.ts'
import type { LeadershipState, PartitionLeader } from './partition-leader.ts'
import type { PartitionLog } from './partition-log.ts'

const NO_ONE: readonly number[] = []

export class Partition {
  readonly storedLog: PartitionLog
  /** The broker that leads; −1 if there is none that this broker was told of. */
  leaderId = -1
  /** Not null while this broker leads. */
  leader: PartitionLeader | null = null
  /** The epoch that this broker was told of last; −1 until then. */
  leaderEpoch = -1
  /** Not while others may lead, as far as this broker can tell; see LeaderLeases. */
  hasLease = true
  /** Neither leads nor follows until it is told to, which may be in the epoch that it knows. */
  isSuspended = true
  #told: LeadershipState | null = null

  constructor(log: PartitionLog) {
    this.storedLog = log
  }

  get topic(): string {
    return this.storedLog.topic
  }

  get partition(): number {
    return this.storedLog.partition
  }

  get topicId(): string {
    return this.storedLog.topicId
  }

  get config(): TopicConfig {
    return this.storedLog.config
  }

  get settings(): LogSettings {
    return this.storedLog.settings
  }

  /** Version of the partition's state as far as this broker knows it. */
  get partitionEpoch(): number {
    return this.leader?.partitionEpoch ?? this.#told?.partitionEpoch ?? -1
  }

  get replicas(): readonly number[] {
    return this.leader?.replicas ?? this.#told?.replicas ?? NO_ONE
  }

  /** As it is stored, as far as this broker knows. */
  get isr(): readonly number[] {
    return this.leader?.isr ?? this.#told?.isr ?? NO_ONE
  }

  /** Whether this broker leads the partition, and nobody else can. */
  get isLeader(): boolean {
    return this.leader !== null && this.hasLease
  }

  /** Whether another broker leads it and this one follows. */
  get isFollower(): boolean {
    return this.leader === null && this.leaderId >= 0 && !this.isSuspended
  }

  /** Takes what the controller says; the roles are the ReplicaManager's. */
  tell(leaderId: number, state: LeadershipState): void {
    this.leaderId = leaderId
    this.leaderEpoch = state.leaderEpoch
    this.isSuspended = false
    this.#told = state
  }

  /** Handle of the log; 0 while it is not open. */
  get log(): number {
    return this.storedLog.log
  }

  get row(): number {
    return this.storedLog.row
  }

  get isOnline(): boolean {
    return this.storedLog.isOnline
  }

  get logStart(): number {
    return this.storedLog.logStart
  }

  get logEnd(): number {
    return this.storedLog.logEnd
  }

  get highWatermark(): number {
    return this.storedLog.highWatermark
  }

  get lastStable(): number {
    return this.storedLog.lastStable
  }

  get sizeBytes(): number {
    return this.storedLog.sizeBytes
  }
}
