/**
 * This broker among the others: who is registered, who is the controller, how each is reached, and
 * in which order all that starts and stops. A broker alone is a cluster of one, its own controller.
 *
 * Main thread, no input or output of its own: links, probe and registry are given.
 */
import type { BrokerConfig } from '../../config/broker-config.ts'
import type { OpenBrokerLink } from '../../controller/broker-link.ts'
import { INCREMENTAL_REQUEST } from '../../controller/broker-requests.ts'
import type { LiveBrokerTexts } from '../../controller/broker-texts.ts'
import { Controller } from '../../controller/controller.ts'
import type { TopicConfigManager } from '../../controller/topic-config-manager.ts'
import { ErrorCode, errorName } from '../../protocol/error-codes.ts'
import type { UpdateMetadataRequest } from '../../protocol/messages/update-metadata.ts'
import type { ClusterRegistry, RegisteredEndpoint } from '../../registry/cluster-registry.ts'
import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import type { TimerQueue } from '../../util/timer-queue.ts'
import { BrokerLifecycle } from './broker-lifecycle.ts'
import { type ControlledReplicas, ControlRequests } from './control-requests.ts'
import { ControllerChannel, type OpenControllerConnection } from './controller-channel.ts'
import { FailureDetector, type ProbePort } from './failure-detector.ts'
import { localBrokerLink } from './local-broker-link.ts'
import { RegisteredBrokers, type ResolveHost } from './registered-brokers.ts'

/** How a broker reaches the others; a simulation has its own. */
export interface ClusterLinks {
  readonly toBroker: OpenBrokerLink
  readonly toController: OpenControllerConnection
  readonly probe: ProbePort
  readonly resolve: ResolveHost
}

export interface ClusterMemberOptions {
  readonly brokerId: number
  readonly config: BrokerConfig
  readonly texts: LiveBrokerTexts
  readonly topicConfigs: TopicConfigManager
  readonly registry: ClusterRegistry
  /** Listener over which brokers talk to each other. */
  readonly listenerName: string
  /** Number of the loss after which this broker has not handed everything over; null if none. */
  readonly lostTail: number | null
  readonly links: (brokers: RegisteredBrokers) => ClusterLinks
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
}

/** What this broker has of the cluster's partitions and says of it to clients. */
export interface MemberReplicas extends ControlledReplicas {
  readonly leases: { lost(): void; regained(): void }
  stopLeading(): void
}

export interface MemberParts {
  readonly replicas: MemberReplicas
  readonly updateMetadata: (request: UpdateMetadataRequest) => Promise<void>
}

/** An ensemble that has just lost its leader grants a session its whole time-out once more. */
const OLD_SESSIONS = 2
/** A broker whose controller does not answer serves what it knows. */
const FIRST_METADATA_PATIENCE_MS = 10_000

export class ClusterMember {
  readonly brokers: RegisteredBrokers
  readonly controller: Controller
  readonly channel: ControllerChannel
  readonly controlRequests: ControlRequests
  readonly #options: ClusterMemberOptions
  readonly #lifecycle: BrokerLifecycle
  readonly #detector: FailureDetector
  #parts: MemberParts | null = null
  #endpoints: readonly RegisteredEndpoint[] = []
  #isKnown: () => void = () => undefined
  readonly #known: Promise<void>

  constructor(options: ClusterMemberOptions) {
    this.#options = options
    const { brokerId, registry, config, timers, logger } = options
    this.#known = new Promise((resolve) => {
      this.#isKnown = resolve
    })
    this.brokers = new RegisteredBrokers({
      registry,
      listenerName: options.listenerName,
      resolve: (host) => links.resolve(host),
      timers,
      logger,
    })
    const links = options.links(this.brokers)
    this.controlRequests = new ControlRequests({
      brokerEpochMin: () => this.#lifecycle.brokerEpochMin,
      configs: options.topicConfigs,
      replicas: {
        applyLeaderAndIsr: (request) => this.#attached.replicas.applyLeaderAndIsr(request),
        stopReplicas: (request) => this.#attached.replicas.stopReplicas(request),
      },
      updateMetadata: async (request) => {
        await this.#attached.updateMetadata(request)
        const isListed = request.liveBrokers.some(({ id }) => id === brokerId)
        if (isListed && request.type !== INCREMENTAL_REQUEST) this.#isKnown()
      },
    })
    this.controller = new Controller({
      ...{ brokerId, registry, config, timers, logger },
      texts: options.texts,
      clock: options.clock,
      random: options.random,
      openLink: async (broker) => {
        if (broker.brokerId === brokerId) return localBrokerLink(this.controlRequests)
        const link = await links.toBroker(broker)
        this.brokers.reached(broker)
        return link
      },
      suspect: (suspected) => this.suspect(suspected),
    })
    this.channel = new ControllerChannel({
      ...{ brokerId, timers, logger, brokers: this.brokers, controller: this.controller },
      open: async (broker) => {
        const connection = await links.toController(broker)
        this.brokers.reached(broker)
        return connection
      },
      timeoutMs: config.controllerSocketTimeoutMs,
      lost: (lost) => this.suspect(lost),
    })
    this.#detector = new FailureDetector({
      ...{ registry, logger, brokers: this.brokers, controller: this.controller },
      probe: links.probe,
    })
    this.#lifecycle = new BrokerLifecycle({
      ...{ registry, brokerId, timers, logger },
      registration: () => ({
        brokerId,
        endpoints: this.#endpoints,
        rack: config.brokerRack,
        timestampMs: options.clock.nowMs(),
        ...(options.lostTail === null ? {} : { lostTail: options.lostTail }),
      }),
      patienceMs: OLD_SESSIONS * config.zookeeperSessionTimeoutMs,
      stopLeading: () => this.#attached.replicas.stopLeading(),
      leaseLost: () => this.#attached.replicas.leases.lost(),
      leaseRegained: () => this.#attached.replicas.leases.regained(),
    })
  }

  get #attached(): MemberParts {
    if (this.#parts === null) throw new Error('the cluster member has no replicas yet')
    return this.#parts
  }

  /** −1 while this broker is not registered. */
  get brokerEpoch(): number {
    return this.#lifecycle.brokerEpoch
  }

  /** Set once, before `join`. */
  attach(parts: MemberParts): void {
    this.#parts = parts
  }

  /** A connection to the broker broke, or could not be made. */
  suspect(brokerId: number): void {
    this.#detector.suspect(brokerId)
  }

  /**
   * Registers this broker; resolves when the controller has told it what there is, or has not for a
   * while. Throws a RegistryError of one line.
   */
  async join(endpoints: readonly RegisteredEndpoint[]): Promise<void> {
    this.#endpoints = endpoints
    await this.#lifecycle.register()
    this.brokers.start()
    this.#detector.start()
    this.controller.start()
    this.channel.start()
    const { timers, logger } = this.#options
    await new Promise<void>((resolve) => {
      const timer = timers.schedule(FIRST_METADATA_PATIENCE_MS, () => {
        logger.warn(
          { brokerId: this.#options.brokerId },
          'no controller has told this broker its partitions yet',
        )
        resolve()
      })
      void this.#known.then(() => {
        timer.cancel()
        resolve()
      })
    })
  }

  /**
   * Has the leaderships of this broker moved to others, as far as that works (KIP-49 and before);
   * whether all of them were, so that it is in no ISR any more but where it is alone.
   */
  async leave(): Promise<boolean> {
    const { config, brokerId, registry, logger, timers } = this.#options
    if (!config.controlledShutdownEnable || this.brokerEpoch < 0) return false
    for (let attempt = 0; attempt <= config.controlledShutdownMaxRetries; attempt++) {
      // Without the registry nobody can be elected instead.
      if (registry.sessionState !== 'connected') return false
      if (attempt > 0) {
        if (this.brokers.count <= 1) return false // Nobody is there who could take them later.
        await new Promise<void>((resolve) => {
          timers.schedule(config.controlledShutdownRetryBackoffMs, resolve)
        })
      }
      try {
        const { brokerEpoch } = this
        const { errorCode, remainingPartitions } = await this.channel.controlledShutdown({
          ...{ brokerId, brokerEpoch },
        })
        if (errorCode === ErrorCode.NONE && remainingPartitions.length === 0) return true
        logger.info(
          { errorCode: errorName(errorCode), remaining: remainingPartitions.length },
          'leaderships are left that no other broker can take',
        )
      } catch (error) {
        logger.warn({ error: String(error) }, 'the controller did not move the leaderships')
      }
    }
    return false
  }

  /** Leaves the cluster: nothing is watched, told or asked any more. */
  async stop(): Promise<void> {
    this.#detector.stop()
    this.channel.stop()
    this.#lifecycle.stop()
    await this.controller.stop()
    this.brokers.stop()
  }
}
