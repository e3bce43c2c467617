/**
 * This broker as a member of its cluster: registered while its session lasts, and leader of nothing
 * from the moment that it sees that it is not.
 *
 * Main thread, no input or output of its own.
 */
import { claimBrokerId } from '../../registry/broker-claim.ts'
import {
  type BrokerRegistration,
  type ClusterRegistry,
  RegistryError,
  type Unwatch,
} from '../../registry/cluster-registry.ts'
import type { Logger } from '../../util/logger.ts'
import type { Timer, TimerQueue } from '../../util/timer-queue.ts'

export interface BrokerLifecycleOptions {
  readonly registry: ClusterRegistry
  readonly brokerId: number
  /** Called for each registration. */
  readonly registration: () => BrokerRegistration
  /** How long the session of an earlier life may take to end. */
  readonly patienceMs: number
  readonly timers: TimerQueue
  readonly logger: Logger
  /** From here on this broker leads and follows nothing, until the controller says so anew. */
  readonly stopLeading: () => void
  /** The registry cannot be asked, and the session may be over. */
  readonly leaseLost: () => void
  /** The registry was reached, whatever became of the session. */
  readonly leaseRegained: () => void
}

/** After an attempt to register anew that failed. */
const RETRY_MS = 500
/**
 * Of the session's time-out, how much is left when a connection is given up: the client does that
 * when it has heard nothing for two thirds of it.
 */
const LEFT_AT_DISCONNECTION = 1 / 3

export class BrokerLifecycle {
  readonly #options: BrokerLifecycleOptions
  #brokerEpoch = -1
  /** The one before, while there is none. */
  #lastEpoch = -1
  #isClaiming = false
  #isStopped = false
  #retry: Timer | null = null
  #lapse: Timer | null = null
  #unwatchSession: Unwatch | null = null
  #unwatchOwn: Unwatch | null = null

  constructor(options: BrokerLifecycleOptions) {
    this.#options = options
  }

  /** −1 while this broker is not registered. */
  get brokerEpoch(): number {
    return this.#brokerEpoch
  }

  /**
   * The lowest epoch that a request to this broker may be meant for. Before its first registration
   * none is: its former life may still be registered, and the controller does not know yet what was
   * lost with it.
   */
  get brokerEpochMin(): number {
    if (this.#brokerEpoch >= 0) return this.#brokerEpoch
    return this.#lastEpoch < 0 ? Number.POSITIVE_INFINITY : this.#lastEpoch + 1
  }

  /** Registers this broker for the first time. Throws a RegistryError of one line. */
  async register(): Promise<void> {
    await this.#claim()
    const { registry, timers, leaseLost, leaseRegained } = this.#options
    this.#unwatchSession = registry.onSessionState((state) => {
      this.#lapse?.cancel()
      if (state === 'disconnected') {
        const leftMs = registry.sessionTimeoutMs * LEFT_AT_DISCONNECTION
        this.#lapse = timers.schedule(leftMs, leaseLost)
        return
      }
      if (state === 'expired') this.#fenced('its ZooKeeper session has expired')
      leaseRegained()
      if (state === 'connected') this.#reclaim()
    })
  }

  /** Takes the registration away; for the end of the broker. */
  async unregister(): Promise<void> {
    this.stop()
    if (this.#brokerEpoch < 0) return
    this.#brokerEpoch = -1
    await this.#options.registry.unregisterBroker(this.#options.brokerId)
  }

  stop(): void {
    this.#isStopped = true
    this.#unwatchSession?.()
    this.#unwatchOwn?.()
    this.#retry?.cancel()
    this.#lapse?.cancel()
  }

  async #claim(): Promise<void> {
    const { registry, registration, patienceMs, timers, logger, brokerId } = this.#options
    const brokerEpoch = await claimBrokerId({
      ...{ registry, registration: registration(), patienceMs, timers, logger },
    })
    if (this.#isStopped) return
    this.#brokerEpoch = brokerEpoch
    this.#lastEpoch = brokerEpoch
    this.#unwatchOwn?.()
    this.#unwatchOwn = registry.watchBroker(brokerId, (broker) => {
      if (this.#brokerEpoch !== brokerEpoch || broker?.brokerEpoch === brokerEpoch) return
      this.#fenced('it is not registered any more')
      this.#reclaim()
    })
    logger.info({ brokerId, brokerEpoch }, 'registered')
  }

  #fenced(why: string): void {
    if (this.#brokerEpoch < 0 || this.#isStopped) return
    this.#brokerEpoch = -1
    this.#unwatchOwn?.()
    this.#unwatchOwn = null
    this.#options.stopLeading()
    this.#options.logger.warn({ why }, 'this broker leads nothing until it has registered anew')
  }

  /** Registers anew, if it is not registered. */
  #reclaim(): void {
    if (this.#brokerEpoch >= 0 || this.#isClaiming || this.#isStopped) return
    this.#retry?.cancel()
    this.#retry = null
    this.#isClaiming = true
    this.#claim()
      .catch((error: unknown) => {
        if (!(error instanceof RegistryError)) throw error
        if (this.#isStopped) return
        this.#options.logger.error({ err: error }, 'the broker could not register anew')
        this.#retry = this.#options.timers.schedule(RETRY_MS, () => this.#reclaim())
      })
      .finally(() => {
        this.#isClaiming = false
      })
  }
}
