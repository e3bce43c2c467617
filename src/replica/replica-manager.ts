/**
 * The partitions that this broker has a replica of, and what it is to each: leader, follower, or
 * neither. The controller tells (LeaderAndIsr, StopReplica); fetchers follow, leaders count who is
 * in sync, and ISR changes go back to the controller. Main thread; no input or output of its own.
 */
import type { ReplicationRates } from '../config/broker-quotas.ts'
import type { TopicConfig } from '../config/topic-config.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import type {
  LeaderAndIsrRequest,
  LeaderAndIsrResponse,
} from '../protocol/messages/leader-and-isr.ts'
import type { StopReplicaRequest, StopReplicaResponse } from '../protocol/messages/stop-replica.ts'
import type { ControlInput, ControlName, ControlOutput } from '../shard/control.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { ControllerLink } from './controller-link.ts'
import { DeletionWaits } from './delayed-delete-records.ts'
import { IsrManager } from './isr-manager.ts'
import { LeaderLeases } from './leader-leases.ts'
import type { LeaderAddress, OpenLeaderLink } from './leader-link.ts'
import { Partition } from './partition.ts'
import { PartitionLeader } from './partition-leader.ts'
import type { LogStore, PartitionLog, WantedLog } from './partition-log.ts'
import { ProduceDeadlines } from './produce-deadlines.ts'
import { ReplicaFetcherManager } from './replica-fetcher-manager.ts'
import { ReplicationQuota } from './replication-quota.ts'
import type { ShardLog } from './shard-log.ts'

export interface ReplicaSettings {
  readonly lagTimeMaxMs: number
  readonly fetchMinBytes: number
  readonly fetchWaitMaxMs: number
  /** Of one partition. */
  readonly fetchMaxBytes: number
  readonly fetchResponseMaxBytes: number
  readonly fetchBackoffMs: number
  readonly fetchersPerLeader: number
}

export interface ReplicaManagerOptions {
  readonly brokerId: number
  readonly clusterId: string
  /** Epoch that this broker is registered with. */
  readonly brokerEpoch: () => number
  /** The same of any broker; −1: it is not registered. */
  readonly epochOf: (brokerId: number) => number
  readonly addressOf: (brokerId: number) => LeaderAddress | undefined
  readonly openLink: OpenLeaderLink
  readonly controller: ControllerLink
  /** Known before LeaderAndIsr tells of the topic. */
  readonly topicConfig: (topic: string) => TopicConfig
  /** A link to a leader broke, or none could be made. */
  readonly lost: (brokerId: number) => void
  /** A partition is led, followed or served no more as it was before. */
  readonly roleChanged: (partition: Partition) => void
  /** The disk of a log failed: the others should know. */
  readonly logDirFailed: () => void
  readonly logs: LogStore
  readonly settings: ReplicaSettings
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly logger: Logger
}

/** What the controller says of one partition. */
interface ToldState {
  readonly topic: string
  readonly topicId: string
  readonly partition: number
  readonly leader: number
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

interface ToStop {
  readonly topic: string
  readonly partition: number
  /** Negative: whichever it is. */
  readonly leaderEpoch: number
  readonly isDeleted: boolean
}

/** A replica has fallen silent after so many of the longest waits of a fetch, and this on top. */
const SILENT_WAITS = 2
const SILENCE_MS_MIN = 500
/** Of topics from before there were ids. */
const NO_TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAA'

export class ReplicaManager {
  readonly #options: ReplicaManagerOptions
  readonly #topics = new Map<string, Partition[]>()
  readonly #topicNames = new Map<string, string>()
  readonly #byLog = new Map<PartitionLog, Partition>()
  readonly #byRow = new Map<number, Partition>()
  readonly #fetchers: ReplicaFetcherManager
  readonly #isrs: IsrManager
  readonly #deletions: DeletionWaits
  /** When appends that wait for replicas are given up. */
  readonly deadlines: ProduceDeadlines
  readonly leases: LeaderLeases
  /** Of what this broker leads. */
  readonly leaderQuota: ReplicationQuota
  readonly #followerQuota: ReplicationQuota
  /** Grows when everything that was told is void. */
  #life = 0
  #lagTimer: Timer | null = null
  #isClosed = false

  constructor(options: ReplicaManagerOptions) {
    this.#options = options
    const { brokerId, brokerEpoch, clusterId, settings, clock, timers, logger } = options
    this.leaderQuota = new ReplicationQuota({ side: 'leader', brokerId, clock })
    const followerQuota = new ReplicationQuota({ side: 'follower', brokerId, clock })
    this.#followerQuota = followerQuota
    this.#fetchers = new ReplicaFetcherManager({
      ...{ brokerId, brokerEpoch, clusterId, clock, timers, logger },
      open: options.openLink,
      addressOf: options.addressOf,
      epochOf: options.epochOf,
      lost: options.lost,
      maxWaitMs: settings.fetchWaitMaxMs,
      minBytes: settings.fetchMinBytes,
      partitionMaxBytes: settings.fetchMaxBytes,
      maxBytes: settings.fetchResponseMaxBytes,
      backoffMs: settings.fetchBackoffMs,
      quota: {
        isThrottled: (log) => followerQuota.isThrottled(log as PartitionLog),
        get isExceeded() {
          return followerQuota.isExceeded
        },
        record: (bytes) => followerQuota.record(bytes),
      },
      fetchersPerLeader: settings.fetchersPerLeader,
    })
    const { controller } = options
    this.#isrs = new IsrManager({ brokerId, brokerEpoch, controller, timers, logger })
    this.#deletions = new DeletionWaits({
      timers,
      isAlive: (id) => options.epochOf(id) >= 0,
    })
    this.deadlines = new ProduceDeadlines({ clock, timers })
    this.leases = new LeaderLeases({
      ...{ brokerId, clock, timers, logger },
      silenceMs: SILENT_WAITS * settings.fetchWaitMaxMs + SILENCE_MS_MIN,
      partitions: () => this.#byLog.values(),
      roleChanged: (partition) => options.roleChanged(partition),
    })
    options.logs.attach({
      gone: (log) => this.#logGone(log),
      reopened: (log) => this.#logReopened(log),
      isSpare: (log) => this.#isSpare(log),
      failed: (log) => this.#logFailed(log),
    })
    this.#watchLag()
  }

  partition(topic: string, partition: number): Partition | undefined {
    return this.#topics.get(topic)?.[partition]
  }

  /** The partition of the topic with that id. */
  partitionById(topicId: string, partition: number): Partition | undefined {
    const topic = this.#topicNames.get(topicId)
    return topic === undefined ? undefined : this.partition(topic, partition)
  }

  byRow(row: number): Partition | undefined {
    return this.#byRow.get(row)
  }

  get partitions(): Partition[] {
    return [...this.#byLog.values()]
  }

  /** Leaders that this broker follows now. */
  get followedLeaderCount(): number {
    return this.#fetchers.leaderCount
  }

  // --- What the controller tells

  /**
   * Leads and follows as the controller says. Epochs of controller and broker are checked already;
   * one call at a time.
   */
  async applyLeaderAndIsr(request: LeaderAndIsrRequest): Promise<LeaderAndIsrResponse> {
    const states = toldStates(request)
    const life = this.#life
    const errors = await this.#apply(states, this.#options.topicConfig)
    const errorCode = life === this.#life ? 0 : ErrorCode.STALE_BROKER_EPOCH
    const topics = new Map<string, LeaderAndIsrResponse['topics'][number]>()
    const partitionErrors = states.map(({ topic, topicId, partition }, i) => {
      const error = {
        topicName: topic,
        partitionIndex: partition,
        errorCode: errors[i] as number,
      }
      const entry = topics.get(topic)
      if (entry === undefined) topics.set(topic, { topicId, partitionErrors: [error] })
      else entry.partitionErrors.push(error)
      return error
    })
    return { errorCode, partitionErrors, topics: [...topics.values()] }
  }

  /** An error code for each, in their order. */
  async #apply(
    states: readonly ToldState[],
    configOf: (topic: string) => TopicConfig,
  ): Promise<number[]> {
    const life = this.#life
    const errors = states.map((state) => this.#refuse(state))
    const wanted: WantedLog[] = []
    const missing: number[] = []
    for (const [i, state] of states.entries()) {
      const { topic, topicId, partition } = state
      const known = this.partition(topic, partition)
      if (errors[i] !== 0 || known?.isOnline) continue
      missing.push(i)
      wanted.push({ topic, topicId, partition, config: configOf(topic) })
    }
    if (wanted.length > 0) {
      const opened = await this.#options.logs.open(wanted)
      for (const [k, log] of opened.entries()) {
        const i = missing[k] as number
        errors[i] = this.#opened(states[i] as ToldState, log)
      }
    }
    // The session expired meanwhile, or the broker stops: this is void.
    if (life !== this.#life || this.#isClosed) {
      return errors.map((error) => (error === 0 ? ErrorCode.STALE_BROKER_EPOCH : error))
    }
    const changed: Partition[] = []
    for (const [i, state] of states.entries()) {
      if (errors[i] !== 0) continue
      const partition = this.partition(state.topic, state.partition) as Partition
      if (hasFailed(partition.storedLog)) errors[i] = ErrorCode.KAFKA_STORAGE_ERROR
      else if (this.#take(partition, state)) changed.push(partition)
    }
    this.#fetchers.closeIdle()
    if (changed.length > 0) await this.#options.logs.settle()
    for (const partition of changed) this.#options.roleChanged(partition)
    return errors
  }

  #refuse(state: ToldState): number {
    const partition = this.partition(state.topic, state.partition)
    if (!state.replicas.includes(this.#options.brokerId)) {
      return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    }
    if (partition === undefined) return 0
    if (isOtherTopic(partition.topicId, state.topicId)) return ErrorCode.INCONSISTENT_TOPIC_ID
    if (hasFailed(partition.storedLog)) return ErrorCode.KAFKA_STORAGE_ERROR
    if (state.leaderEpoch < partition.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH
    return 0
  }

  #opened({ topic, partition: number, topicId }: ToldState, log: PartitionLog): number {
    if (isOtherTopic(log.topicId, topicId)) return ErrorCode.INCONSISTENT_TOPIC_ID
    let partitions = this.#topics.get(topic)
    if (partitions === undefined) {
      partitions = []
      this.#topics.set(topic, partitions)
      this.#topicNames.set(log.topicId, topic)
    }
    let partition = partitions[number]
    if (partition === undefined) {
      partition = new Partition(log)
      partitions[number] = partition
      this.#byLog.set(log, partition)
    }
    if (!log.isOnline) return ErrorCode.KAFKA_STORAGE_ERROR
    this.#byRow.set(log.row, partition)
    return 0
  }

  /** Whether the role is another one now. */
  #take(partition: Partition, state: ToldState): boolean {
    const { brokerId } = this.#options
    if (!partition.isSuspended && state.leaderEpoch === partition.leaderEpoch) {
      if (state.partitionEpoch < partition.partitionEpoch) return false
      const { leader } = partition
      partition.tell(partition.leaderId, state)
      if (leader === null) return false
      // Whatever was proposed was of the state before.
      if (state.partitionEpoch > leader.partitionEpoch) this.#isrs.withdraw(partition)
      leader.update(state)
      return false
    }
    this.#endRole(partition)
    partition.tell(state.leader, state)
    if (state.leader === brokerId) this.#lead(partition, state)
    else if (state.leader < 0) partition.storedLog.stepDown()
    else this.#follow(partition)
    return true
  }

  #endRole(partition: Partition): void {
    partition.leader?.close()
    partition.leader = null
    this.#isrs.withdraw(partition)
    this.#fetchers.stop(partition.storedLog)
    this.#deletions.ended(partition)
  }

  #lead(partition: Partition, state: ToldState): void {
    const { brokerId, epochOf, brokerEpoch, settings, clock } = this.#options
    const leader = new PartitionLeader({
      brokerId,
      state,
      log: partition.storedLog,
      minInSyncReplicas: () => partition.config.minInsyncReplicas,
      lagTimeMaxMs: settings.lagTimeMaxMs,
      brokerEpoch: (id) => (id === brokerId ? brokerEpoch() : epochOf(id)),
      propose: (proposing, isr) => this.#isrs.propose(partition, proposing, isr),
      nowMs: () => clock.monotonicMs(),
    })
    leader.onLogStart = () => this.#deletions.moved(partition)
    partition.leader = leader
    partition.hasLease = true
  }

  #follow(partition: Partition): void {
    const { storedLog, leaderId: id, leaderEpoch: epoch } = partition
    storedLog.follow(epoch)
    this.#fetchers.follow(storedLog, { id, epoch })
  }

  /** Stops being a replica of partitions, and with deletion removes their logs. */
  async stopReplicas(request: StopReplicaRequest): Promise<StopReplicaResponse> {
    const stops = partitionsToStop(request)
    const removed: PartitionLog[] = []
    const changed: Partition[] = []
    const partitionErrors = stops.map(({ topic, partition: number, leaderEpoch, isDeleted }) => {
      const answer = { topicName: topic, partitionIndex: number, errorCode: 0 }
      const partition = this.partition(topic, number)
      if (partition === undefined) {
        // A log that was never told a role.
        const log = isDeleted ? this.#options.logs.find(topic, number) : undefined
        if (log !== undefined) removed.push(log)
        return answer
      }
      if (leaderEpoch >= 0 && leaderEpoch < partition.leaderEpoch) {
        return { ...answer, errorCode: ErrorCode.FENCED_LEADER_EPOCH }
      }
      if (hasFailed(partition.storedLog)) {
        return { ...answer, errorCode: ErrorCode.KAFKA_STORAGE_ERROR }
      }
      this.#suspend(partition)
      changed.push(partition)
      if (isDeleted) {
        this.#forget(partition)
        removed.push(partition.storedLog)
      }
      return answer
    })
    this.#fetchers.closeIdle()
    for (const partition of changed) this.#options.roleChanged(partition)
    if (removed.length > 0) await this.#options.logs.remove(removed)
    return { errorCode: 0, partitionErrors }
  }

  #suspend(partition: Partition): void {
    this.#endRole(partition)
    partition.leaderId = -1
    partition.isSuspended = true
    partition.storedLog.stepDown()
  }

  #forget(partition: Partition): void {
    const { topic, partition: number, topicId, storedLog } = partition
    const partitions = this.#topics.get(topic)
    if (partitions !== undefined) {
      delete partitions[number]
      if (!partitions.some(() => true)) {
        this.#topics.delete(topic)
        this.#topicNames.delete(topicId)
      }
    }
    this.#byLog.delete(storedLog)
    this.#byRow.delete(storedLog.row)
  }

  /**
   * The session with ZooKeeper expired: nothing is led or followed until LeaderAndIsr says so again,
   * which may be in the same leader epoch.
   */
  stopLeading(): void {
    this.#life += 1
    this.#fetchers.stopAll()
    const { partitions } = this
    for (const partition of partitions) this.#suspend(partition)
    for (const partition of partitions) this.#options.roleChanged(partition)
  }

  // --- What else happens

  /** Brokers came, went, or registered anew. */
  brokersChanged(): void {
    this.#fetchers.brokersChanged()
    this.#deletions.brokersChanged()
  }

  /** There is another controller. */
  controllerChanged(): void {
    this.#isrs.controllerChanged()
  }

  /**
   * A replica asks for what follows `fetchOffset` in a partition that this broker leads, and so has
   * everything before it. Who asks was checked.
   */
  followerFetched(
    partition: Partition,
    brokerId: number,
    fetch: {
      readonly fetchOffset: number
      readonly logStart: number
      readonly brokerEpoch: number
    },
  ): void {
    partition.leader?.followerFetched(brokerId, fetch)
  }

  /**
   * DeleteRecords: [error code, low watermark]. An offset of −1 is the high watermark. Answers when
   * every live replica begins there, or with REQUEST_TIMED_OUT.
   */
  async deleteRecords(
    partition: Partition,
    offset: number,
    timeoutMs = 30_000,
  ): Promise<[number, number]> {
    if (!partition.isOnline) return [ErrorCode.KAFKA_STORAGE_ERROR, -1]
    if (!partition.isLeader) return [ErrorCode.NOT_LEADER_OR_FOLLOWER, -1]
    const wanted = offset === -1 ? partition.highWatermark : offset
    const errorCode = await partition.storedLog.deleteRecords(wanted)
    if (errorCode !== 0) return [errorCode, -1]
    return await this.#deletions.wait(partition, wanted, timeoutMs)
  }

  /** Hands the logs of a topic another config. */
  async reconfigureTopic(topic: string, config: TopicConfig): Promise<void> {
    await this.#options.logs.reconfigure(topic, config)
    for (const partition of this.#topics.get(topic) ?? []) partition?.leader?.reconfigured()
  }

  /** How fast replicas may catch up that the topics name as throttled. */
  setReplicationRates({ leader, follower }: ReplicationRates): void {
    this.leaderQuota.bytesPerSecond = leader
    this.#followerQuota.bytesPerSecond = follower
  }

  /** Runs a control task on the shard of a partition; null when its log is not open now. */
  async control<N extends ControlName>(
    partition: Partition,
    name: N,
    input: (log: number) => ControlInput<N>,
  ): Promise<ControlOutput<N> | null> {
    return await (partition.storedLog as ShardLog).control(name, input)
  }

  /** Ends all roles, because the broker stops. The logs stay open. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#life += 1
    this.#lagTimer?.cancel()
    this.#isrs.close()
    this.#fetchers.stopAll()
    this.deadlines.close()
    this.leases.close()
    for (const partition of this.partitions) this.#suspend(partition)
  }

  #watchLag(): void {
    const { timers, settings } = this.#options
    this.#lagTimer = timers.schedule(settings.lagTimeMaxMs / 2, () => {
      for (const partition of this.#byLog.values()) {
        const { leader } = partition
        if (leader === null || !leader.hasFollowers) continue
        leader.checkLag()
        this.deadlines.look(partition)
      }
      this.#watchLag()
    })
  }

  #logGone(log: PartitionLog): void {
    const partition = this.#byLog.get(log)
    if (partition === undefined) return
    this.#byRow.delete(log.row)
    this.#fetchers.stop(log)
    this.#options.roleChanged(partition)
  }

  /** It has the role that it had before its shard died. */
  #logReopened(log: PartitionLog): void {
    const partition = this.#byLog.get(log)
    if (partition === undefined) return
    this.#byRow.set(log.row, partition)
    if (partition.leader !== null) partition.leader.reopened()
    else if (partition.isFollower) this.#follow(partition)
    this.#options.roleChanged(partition)
  }

  /** A leader is, if somebody in sync can lead instead; alone it lets what it has be read. */
  #isSpare(log: PartitionLog): boolean {
    const partition = this.#byLog.get(log)
    if (partition === undefined) return false
    return partition.isFollower || (partition.isLeader && partition.isr.length > 1)
  }

  #logFailed(log: PartitionLog): void {
    const partition = this.#byLog.get(log)
    if (partition !== undefined && !partition.isSuspended) {
      this.#suspend(partition)
      log.failParked(ErrorCode.KAFKA_STORAGE_ERROR)
      this.#fetchers.closeIdle()
      this.#options.roleChanged(partition)
    }
    this.#options.logDirFailed()
  }
}

function isOtherTopic(own: string, told: string): boolean {
  return own !== '' && own !== told && told !== NO_TOPIC_ID
}

/** Open, and not usable: its disk failed. */
function hasFailed(log: PartitionLog): boolean {
  return log.log !== 0 && !log.isOnline
}

function toldStates(request: LeaderAndIsrRequest): ToldState[] {
  const grouped = request.topicStates.flatMap(({ topicName, topicId, partitionStates }) =>
    partitionStates.map((state) => ({ ...state, topicName, topicId })),
  )
  const ungrouped = request.ungroupedPartitionStates.map((state) => ({
    ...state,
    topicId: NO_TOPIC_ID,
  }))
  return [...grouped, ...ungrouped].map((state) => ({
    topic: state.topicName,
    topicId: state.topicId,
    partition: state.partitionIndex,
    leader: state.leader,
    leaderEpoch: state.leaderEpoch,
    partitionEpoch: state.partitionEpoch,
    replicas: state.replicas,
    isr: state.isr,
  }))
}

function partitionsToStop(request: StopReplicaRequest): ToStop[] {
  const isDeleted = request.deletePartitions
  return [
    ...request.topicStates.flatMap(({ topicName, partitionStates }) =>
      partitionStates.map(({ partitionIndex, leaderEpoch, deletePartition }) => ({
        ...{ topic: topicName, partition: partitionIndex, leaderEpoch },
        isDeleted: deletePartition,
      })),
    ),
    ...request.topics.flatMap(({ name, partitionIndexes }) =>
      partitionIndexes.map((partition) => ({
        ...{ topic: name, partition, leaderEpoch: -1, isDeleted },
      })),
    ),
    ...request.ungroupedPartitions.map(({ topicName, partitionIndex }) => ({
      ...{ topic: topicName, partition: partitionIndex, leaderEpoch: -1, isDeleted },
    })),
  ]
}
