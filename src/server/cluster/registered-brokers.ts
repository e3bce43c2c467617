/**
 * The brokers that are registered, with their epochs and where other brokers reach them. Follows the
 * registry by itself; what is decided on epochs does not wait for the controller.
 *
 * Main thread. Names are resolved by a function that is given.
 */
import type {
  ClusterRegistry,
  RegisteredBroker,
  RegisteredEndpoint,
  Unwatch,
} from '../../registry/cluster-registry.ts'
import type { LeaderAddress } from '../../replica/leader-link.ts'
import type { Logger } from '../../util/logger.ts'
import type { TimerQueue } from '../../util/timer-queue.ts'

/** IP addresses of a host; rejects when it has none. */
export type ResolveHost = (host: string) => Promise<readonly string[]>

export interface RegisteredBrokersOptions {
  readonly registry: ClusterRegistry
  /** `inter.broker.listener.name`. */
  readonly listenerName: string
  readonly resolve: ResolveHost
  readonly timers: TimerQueue
  readonly logger: Logger
}

interface Known {
  readonly broker: RegisteredBroker
  /** When this registration was first seen, by the monotonic clock. */
  readonly sinceMs: number
  /** A connection was made to it. */
  hasListened: boolean
  /** Of its endpoint between brokers, as they are known by now. */
  addresses: readonly string[]
}

export class RegisteredBrokers {
  readonly #options: RegisteredBrokersOptions
  readonly #listeners = new Set<() => void>()
  #known: ReadonlyMap<number, Known> = new Map()
  #unwatch: Unwatch | null = null

  constructor(options: RegisteredBrokersOptions) {
    this.#options = options
  }

  start(): void {
    this.#unwatch = this.#options.registry.watchBrokers((brokers) => this.#set(brokers))
  }

  stop(): void {
    this.#unwatch?.()
    this.#unwatch = null
    this.#listeners.clear()
  }

  /** Calls `listener` after each change. */
  onChange(listener: () => void): Unwatch {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** How many are registered. */
  get count(): number {
    return this.#known.size
  }

  get(brokerId: number): RegisteredBroker | undefined {
    return this.#known.get(brokerId)?.broker
  }

  /** −1 for a broker that is not registered. */
  epochOf(brokerId: number): number {
    return this.get(brokerId)?.brokerEpoch ?? -1
  }

  /** A connection was made to the broker of that registration. */
  reached({ brokerId, brokerEpoch }: RegisteredBroker): void {
    const known = this.#known.get(brokerId)
    if (known?.broker.brokerEpoch === brokerEpoch) known.hasListened = true
  }

  /** Whether the broker has listened since it registered. */
  hasListened(brokerId: number): boolean {
    return this.#known.get(brokerId)?.hasListened ?? false
  }

  /** How long the registration of a broker has been seen; 0 if it is not registered. */
  ageMs(brokerId: number): number {
    const known = this.#known.get(brokerId)
    return known === undefined ? 0 : this.#options.timers.nowMs - known.sinceMs
  }

  /** Where a broker talks to the others. */
  endpointOf(broker: RegisteredBroker): RegisteredEndpoint | undefined {
    const { listenerName } = this.#options
    return broker.endpoints.find((one) => one.listenerName === listenerName) ?? broker.endpoints[0]
  }

  addressOf(brokerId: number): LeaderAddress | undefined {
    const broker = this.get(brokerId)
    const endpoint = broker === undefined ? undefined : this.endpointOf(broker)
    if (endpoint === undefined) return undefined
    return { brokerId, host: endpoint.host, port: endpoint.port }
  }

  /** Whether a connection on that listener from that IP address may be one of the broker. */
  isAddressOf(brokerId: number, address: string, listenerName: string): boolean {
    if (listenerName !== this.#options.listenerName) return false
    return this.#known.get(brokerId)?.addresses.includes(plainAddress(address)) ?? false
  }

  /** As `isAddressOf`, for a broker that may have registered so lately that it is not known yet. */
  async mayBe(brokerId: number, address: string, listenerName: string): Promise<boolean> {
    const { registry, resolve } = this.#options
    const known = this.#known.get(brokerId)
    if (known !== undefined && known.addresses.length > 0) {
      return this.isAddressOf(brokerId, address, listenerName)
    }
    const broker = known?.broker ?? (await registry.broker(brokerId))
    const host = broker === null ? undefined : this.endpointOf(broker)?.host
    if (host === undefined || listenerName !== this.#options.listenerName) return false
    return (await resolve(host)).map(plainAddress).includes(plainAddress(address))
  }

  /** Whether it may be one of any broker. */
  isBrokerAddress(address: string, listenerName: string): boolean {
    for (const brokerId of this.#known.keys()) {
      if (this.isAddressOf(brokerId, address, listenerName)) return true
    }
    return false
  }

  #set(brokers: readonly RegisteredBroker[]): void {
    const before = this.#known
    const known = new Map<number, Known>()
    for (const broker of brokers) {
      const host = this.endpointOf(broker)?.host
      const old = before.get(broker.brokerId)
      const isSameHost = old !== undefined && this.endpointOf(old.broker)?.host === host
      const isSame = old?.broker.brokerEpoch === broker.brokerEpoch
      const one: Known = {
        broker,
        sinceMs: isSame ? old.sinceMs : this.#options.timers.nowMs,
        hasListened: isSame && old.hasListened,
        addresses: isSameHost ? old.addresses : literal(host),
      }
      known.set(broker.brokerId, one)
      if (host !== undefined && one.addresses.length === 0) this.#resolve(one, host)
    }
    this.#known = known
    for (const listener of [...this.#listeners]) listener()
  }

  #resolve(known: Known, host: string): void {
    const { resolve, logger } = this.#options
    resolve(host).then(
      (addresses) => {
        known.addresses = addresses.map(plainAddress)
      },
      (error: unknown) => {
        const { brokerId } = known.broker
        logger.warn({ brokerId, host, error: String(error) }, 'the host of a broker is not known')
      },
    )
  }
}

/** A host that is an IP address already. */
function literal(host: string | undefined): readonly string[] {
  return host !== undefined && /^[\d.]+$|:/.test(host) ? [plainAddress(host)] : []
}

/** IPv4 addresses that a socket of IPv6 shows are what they are. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}
