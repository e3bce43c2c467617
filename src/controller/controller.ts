/**
 * Stands for election whenever the cluster has no controller, and is it once elected. One broker of
 * the cluster is; all of them follow who.
 *
 * It is deposed by the end of its session, at once and before anybody else can be elected, and by
 * the sight of another controller or of none. What it has begun then stops at its next step: the
 * epochs and the versions hold off what was under way.
 *
 * No I/O of its own: registry, links, clock and timers are given. Main thread.
 */
import type { BrokerConfig } from '../config/broker-config.ts'
import { ErrorCode, errorMessage, KafkaError } from '../protocol/error-codes.ts'
import type {
  AllocateProducerIdsRequest,
  AllocateProducerIdsResponse,
} from '../protocol/messages/allocate-producer-ids.ts'
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../protocol/messages/alter-partition.ts'
import type {
  AlterPartitionReassignmentsRequest,
  AlterPartitionReassignmentsResponse,
} from '../protocol/messages/alter-partition-reassignments.ts'
import type {
  ControlledShutdownRequest,
  ControlledShutdownResponse,
} from '../protocol/messages/controlled-shutdown.ts'
import type {
  ElectLeadersRequest,
  ElectLeadersResponse,
} from '../protocol/messages/elect-leaders.ts'
import type {
  ListPartitionReassignmentsRequest,
  ListPartitionReassignmentsResponse,
} from '../protocol/messages/list-partition-reassignments.ts'
import {
  type ClusterRegistry,
  type RegisteredController,
  RegistryError,
  type SessionState,
  type Unwatch,
} from '../registry/cluster-registry.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Random } from '../util/random.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { OpenBrokerLink } from './broker-link.ts'
import type { LiveBrokerTexts } from './broker-texts.ts'
import { ControllerTerm } from './controller-term.ts'
import type {
  ChangeOptions,
  CreateOutcome,
  MorePartitions,
  NewTopic,
  TopicOutcome,
} from './topic-change.ts'

/** Between attempts to be elected that failed without anybody else being it. */
const ELECTION_BACKOFF_MS = 100

export interface ControllerOptions {
  readonly brokerId: number
  readonly registry: ClusterRegistry
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly openLink: OpenBrokerLink
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
  /** A connection to a broker broke or could not be made: whoever detects failures may look. */
  readonly suspect?: (brokerId: number) => void
}

export type ControllerListener = (controller: RegisteredController | null) => void

export class Controller {
  readonly #options: ControllerOptions
  readonly #listeners = new Set<ControllerListener>()
  readonly #unwatches: Unwatch[] = []
  /** As the registry last told; undefined: not yet. */
  #registered: RegisteredController | null | undefined
  #term: ControllerTerm | null = null
  #epoch = 0
  #isStarted = false
  #isStopped = false
  /** Standing for election; it resolves when that is decided. */
  #election: Promise<void> | null = null
  #retry: Timer | null = null
  /** Sessions that have ended. */
  #expirations = 0

  constructor(options: ControllerOptions) {
    this.#options = options
  }

  /** Follows who the controller is, and stands for election whenever there is none. */
  start(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    const { registry } = this.#options
    this.#unwatches.push(
      registry.onSessionState((state) => this.#sessionChanged(state)),
      registry.watchController((controller) => this.#seen(controller)),
    )
  }

  /** Resigns if it is the controller. */
  async stop(): Promise<void> {
    if (this.#isStopped) return
    this.#isStopped = true
    for (const unwatch of this.#unwatches.splice(0)) unwatch()
    this.#retry?.cancel()
    const wasActive = this.isActive
    this.#end()
    await this.#election
    if (wasActive) await this.#resign()
  }

  /** Whether this broker is the controller; false at once when its session has ended. */
  get isActive(): boolean {
    return this.#term !== null && !this.#term.active.isOver
  }

  /** Of this broker's last term; 0 before its first. */
  get epoch(): number {
    return this.#epoch
  }

  /** Of the cluster; −1 if there is none. */
  get controllerId(): number {
    return this.#registered?.brokerId ?? -1
  }

  /** Calls `listener` with each new controller, and with null when there is none. */
  onController(listener: ControllerListener): () => void {
    this.#listeners.add(listener)
    if (this.#registered !== undefined) listener(this.#registered)
    return () => this.#listeners.delete(listener)
  }

  /** One outcome per name, in the order of the request. */
  async createTopics(
    topics: readonly NewTopic[],
    options: ChangeOptions,
  ): Promise<CreateOutcome[]> {
    return this.#inOffice().topics.create(topics, options)
  }

  async createPartitions(
    topics: readonly MorePartitions[],
    options: ChangeOptions,
  ): Promise<TopicOutcome[]> {
    return this.#inOffice().topics.widen(topics, options)
  }

  /** Answers when the topics are out of the metadata. */
  async deleteTopics(names: readonly string[], timeoutMs: number): Promise<TopicOutcome[]> {
    return this.#inOffice().deletions.delete(names, timeoutMs)
  }

  async alterPartition(request: AlterPartitionRequest): Promise<AlterPartitionResponse> {
    return this.#answer(
      (term) => term.isrs.alter(request),
      (errorCode) => ({ throttleTimeMs: 0, errorCode, topics: [] }),
    )
  }

  async controlledShutdown(
    request: ControlledShutdownRequest,
  ): Promise<ControlledShutdownResponse> {
    return this.#answer(
      (term) => term.brokers.controlledShutdown(request),
      (errorCode) => ({ errorCode, remainingPartitions: [] }),
    )
  }

  async allocateProducerIds(
    request: AllocateProducerIdsRequest,
  ): Promise<AllocateProducerIdsResponse> {
    return this.#answer(
      (term) => term.producerIds.allocate(request),
      (errorCode) => ({ throttleTimeMs: 0, errorCode, producerIdStart: 0, producerIdLen: 0 }),
    )
  }

  async electLeaders(request: ElectLeadersRequest): Promise<ElectLeadersResponse> {
    return this.#answer(
      (term) => term.elections.elect(request),
      (errorCode) => ({
        throttleTimeMs: 0,
        errorCode,
        // Version 0 has no error of its own.
        replicaElectionResults: (request.topicPartitions ?? []).map(({ topic, partitions }) => ({
          topic,
          partitionResult: partitions.map((partitionId) => ({
            partitionId,
            errorCode,
            errorMessage: errorMessage(errorCode),
          })),
        })),
      }),
    )
  }

  async alterPartitionReassignments(
    request: AlterPartitionReassignmentsRequest,
  ): Promise<AlterPartitionReassignmentsResponse> {
    return this.#answer(
      (term) => term.reassignments.alter(request),
      (errorCode) => ({
        ...{ throttleTimeMs: 0, errorCode, errorMessage: errorMessage(errorCode) },
        responses: [],
      }),
    )
  }

  async listPartitionReassignments(
    request: ListPartitionReassignmentsRequest,
  ): Promise<ListPartitionReassignmentsResponse> {
    return this.#answer(
      (term) => term.reassignments.list(request),
      (errorCode) => ({
        ...{ throttleTimeMs: 0, errorCode, errorMessage: errorMessage(errorCode) },
        topics: [],
      }),
    )
  }

  #inOffice(): ControllerTerm {
    if (this.#term === null || !this.isActive) throw new KafkaError(ErrorCode.NOT_CONTROLLER)
    return this.#term
  }

  /** With the term's answer, or one that has nothing but an error. */
  async #answer<T>(
    ask: (term: ControllerTerm) => Promise<T>,
    failed: (errorCode: number) => T,
  ): Promise<T> {
    try {
      return await ask(this.#inOffice())
    } catch (error) {
      if (error instanceof KafkaError) return failed(error.errorCode)
      if (!(error instanceof RegistryError)) throw error
      this.#options.logger.error({ err: error }, 'a request to the controller failed')
      return failed(ErrorCode.UNKNOWN_SERVER_ERROR)
    }
  }

  #sessionChanged(state: SessionState): void {
    if (state === 'expired') {
      this.#expirations += 1
      this.#end()
    } else if (state === 'connected') {
      this.#term?.active.reconnected()
      // The watch tells nothing if there was no controller before, and is none now.
      if (this.#registered === null) this.#stand()
    }
  }

  #seen(controller: RegisteredController | null): void {
    if (this.#isStopped) return
    this.#registered = controller
    const isOurs =
      controller?.isThisSession === true && controller.brokerId === this.#options.brokerId
    if (!isOurs) this.#end()
    for (const listener of this.#listeners) listener(controller)
    if (controller === null) this.#stand()
    else if (isOurs && this.#term === null && this.#election === null) this.#stand()
  }

  /** Ends the term without touching the registry. */
  #end(): void {
    const term = this.#term
    this.#term = null
    if (term === null) return
    term.active.end()
    this.#options.logger.info({ epoch: this.#epoch }, 'this broker is not the controller any more')
  }

  #stand(): void {
    if (this.#election !== null || this.#term !== null || this.#isStopped) return
    this.#retry?.cancel()
    this.#retry = null
    this.#election = this.#beElected()
      .catch((error: unknown) => {
        if (!(error instanceof RegistryError)) throw error
        if (error.kind === 'closed') return
        this.#options.logger.warn({ err: error }, 'the election of a controller failed')
        this.#standLater()
      })
      .finally(() => {
        this.#election = null
      })
  }

  #standLater(): void {
    if (this.#isStopped) return
    this.#retry?.cancel()
    this.#retry = this.#options.timers.schedule(ELECTION_BACKOFF_MS, () => this.#stand())
  }

  async #beElected(): Promise<void> {
    const { brokerId, registry, clock } = this.#options
    const expirations = this.#expirations
    const epoch = await registry.electController({ brokerId, timestampMs: clock.nowMs() })
    if (epoch !== null) {
      if (this.#isStopped || expirations !== this.#expirations) {
        await this.#resign()
        this.#standLater()
      } else this.#begin(epoch)
      return
    }
    const controller = await registry.controller()
    if (controller === null) this.#standLater()
    else if (controller.isThisSession && controller.brokerId === brokerId) {
      // Left of an election whose outcome was lost: nobody knows its epoch.
      await registry.fenceController(controller.registrationId)
      this.#standLater()
    }
  }

  #begin(epoch: number): void {
    const { suspect, ...options } = this.#options
    options.logger.info({ epoch }, 'this broker is the controller')
    this.#epoch = epoch
    const term = new ControllerTerm({
      ...options,
      epoch,
      deposed: () => {
        if (this.#term === term) this.#end()
      },
      suspect: suspect ?? (() => undefined),
    })
    this.#term = term
    term.begin()
  }

  async #resign(): Promise<void> {
    try {
      await this.#options.registry.resignController(this.#options.brokerId)
    } catch (error) {
      if (!(error instanceof RegistryError)) throw error
      this.#options.logger.warn({ err: error }, 'the controller could not resign')
    }
  }
}
