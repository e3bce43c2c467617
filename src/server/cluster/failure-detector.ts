/**
 * Finds out that a broker is dead before its session ends: its connection broke, and its port
 * refuses. Its registration is taken away then, which is what the end of its session would do.
 *
 * It is the controller who does so, or, for a dead controller, whoever notices. A broker that was
 * taken for dead and is not finds itself fenced and registers anew: that costs time, never safety,
 * which rests on the versions and epochs of the partition states alone.
 *
 * Main thread. The probe is given.
 */
import type { Controller } from '../../controller/controller.ts'
import type {
  ClusterRegistry,
  RegisteredBroker,
  RegisteredController,
  Unwatch,
} from '../../registry/cluster-registry.ts'
import { RegistryError } from '../../registry/cluster-registry.ts'
import type { LeaderAddress } from '../../replica/leader-link.ts'
import type { Logger } from '../../util/logger.ts'
import type { RegisteredBrokers } from './registered-brokers.ts'

/** Whether nobody listens at the address; false if somebody does, or if nothing is known. */
export type ProbePort = (address: LeaderAddress) => Promise<boolean>

export interface FailureDetectorOptions {
  readonly registry: ClusterRegistry
  readonly brokers: RegisteredBrokers
  readonly controller: Pick<Controller, 'isActive' | 'onController'>
  readonly probe: ProbePort
  readonly logger: Logger
}

/**
 * Brokers of Apache Kafka register before they listen: a port that refuses says nothing about one
 * that was registered so lately and never listened. Whoever suspects it tries again.
 */
const YOUNG_MS = 3000

export class FailureDetector {
  readonly #options: FailureDetectorOptions
  readonly #probing = new Set<number>()
  #controller: RegisteredController | null = null
  #unwatch: Unwatch | null = null

  constructor(options: FailureDetectorOptions) {
    this.#options = options
  }

  start(): void {
    this.#unwatch = this.#options.controller.onController((controller) => {
      this.#controller = controller
    })
  }

  stop(): void {
    this.#unwatch?.()
    this.#unwatch = null
  }

  /** A connection to the broker broke, or could not be made. */
  suspect(brokerId: number): void {
    const { brokers, logger } = this.#options
    const broker = brokers.get(brokerId)
    if (broker === undefined || this.#unwatch === null) return
    if (!brokers.hasListened(brokerId) && brokers.ageMs(brokerId) < YOUNG_MS) return
    if (this.#probing.has(brokerId) || !this.#mayFence(brokerId)) return
    this.#probing.add(brokerId)
    this.#investigate(broker)
      .catch((error: unknown) => {
        if (!(error instanceof RegistryError)) throw error
        logger.warn({ err: error, brokerId }, 'a dead broker could not be fenced')
      })
      .finally(() => this.#probing.delete(brokerId))
  }

  #mayFence(brokerId: number): boolean {
    return this.#options.controller.isActive || brokerId === this.#controller?.brokerId
  }

  async #investigate(broker: RegisteredBroker): Promise<void> {
    const { registry, brokers, probe, logger } = this.#options
    const { brokerId, brokerEpoch } = broker
    const address = brokers.addressOf(brokerId)
    if (address === undefined || !(await probe(address))) return
    if (brokers.epochOf(brokerId) !== brokerEpoch || !this.#mayFence(brokerId)) return
    logger.warn({ brokerId, address: `${address.host}:${address.port}` }, 'a broker is dead')
    const dead = this.#controller?.brokerId === brokerId ? this.#controller : null
    // First the broker, so that the next controller does not find it alive.
    await registry.fenceBroker(brokerId, brokerEpoch)
    if (dead !== null) await registry.fenceController(dead.registrationId)
  }
}
