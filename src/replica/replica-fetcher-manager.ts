/** The fetchers of a follower: one per broker that leads, or a few with num.replica.fetchers. */

import type { LeaderAddress } from './leader-link.ts'
import { type FollowerLog, ReplicaFetcher, type ReplicaFetcherOptions } from './replica-fetcher.ts'

export interface ReplicaFetcherManagerOptions
  extends Omit<ReplicaFetcherOptions, 'leaderId' | 'address'> {
  readonly fetchersPerLeader: number
  readonly addressOf: (brokerId: number) => LeaderAddress | undefined
  /** Epoch that a broker is registered with; −1: it is not. */
  readonly epochOf: (brokerId: number) => number
}

interface LedFetchers {
  readonly fetchers: (ReplicaFetcher | undefined)[]
  /** Where and in which life the leader was when it was last looked at. */
  place: string
}

export class ReplicaFetcherManager {
  readonly #options: ReplicaFetcherManagerOptions
  readonly #leaders = new Map<number, LedFetchers>()
  readonly #placed = new Map<FollowerLog, ReplicaFetcher>()

  constructor(options: ReplicaFetcherManagerOptions) {
    this.#options = options
  }

  /** Brokers that are followed now. */
  get leaderCount(): number {
    return this.#leaders.size
  }

  /** Follows that broker from here on, whomever the log followed before. */
  follow(log: FollowerLog, leader: { readonly id: number; readonly epoch: number }): void {
    const fetcher = this.#fetcherOf(leader.id, log)
    const before = this.#placed.get(log)
    if (before !== undefined && before !== fetcher) before.remove(log)
    this.#placed.set(log, fetcher)
    fetcher.add(log, leader.epoch)
  }

  stop(log: FollowerLog): void {
    this.#placed.get(log)?.remove(log)
    this.#placed.delete(log)
  }

  stopAll(): void {
    for (const { fetchers } of this.#leaders.values()) {
      for (const fetcher of fetchers) fetcher?.close()
    }
    this.#leaders.clear()
    this.#placed.clear()
  }

  /** Lets go of those that have nothing left to fetch. Called after a change of roles. */
  closeIdle(): void {
    for (const [leaderId, { fetchers }] of this.#leaders) {
      for (const [i, fetcher] of fetchers.entries()) {
        if (fetcher === undefined || fetcher.size > 0) continue
        fetcher.close()
        fetchers[i] = undefined
      }
      if (fetchers.every((fetcher) => fetcher === undefined)) this.#leaders.delete(leaderId)
    }
  }

  /** Brokers came, went or moved: a leader in another place or life is connected to at once. */
  brokersChanged(): void {
    for (const [leaderId, led] of this.#leaders) {
      const place = this.#placeOf(leaderId)
      if (place === led.place) continue
      led.place = place
      if (place === '') continue
      for (const fetcher of led.fetchers) fetcher?.reconnect()
    }
  }

  /** Empty while it is not registered. */
  #placeOf(leaderId: number): string {
    const address = this.#options.addressOf(leaderId)
    const epoch = this.#options.epochOf(leaderId)
    return address === undefined || epoch < 0 ? '' : `${address.host}:${address.port}#${epoch}`
  }

  #fetcherOf(leaderId: number, log: FollowerLog): ReplicaFetcher {
    let led = this.#leaders.get(leaderId)
    if (led === undefined) {
      led = { fetchers: [], place: this.#placeOf(leaderId) }
      this.#leaders.set(leaderId, led)
    }
    const { fetchersPerLeader, addressOf } = this.#options
    const index = fetchersPerLeader === 1 ? 0 : hash(log) % fetchersPerLeader
    let fetcher = led.fetchers[index]
    if (fetcher === undefined) {
      fetcher = new ReplicaFetcher({
        ...this.#options,
        leaderId,
        address: () => addressOf(leaderId),
      })
      led.fetchers[index] = fetcher
    }
    return fetcher
  }
}

function hash({ topic, partition }: FollowerLog): number {
  let value = partition
  for (let i = 0; i < topic.length; i += 1) {
    value = (Math.imul(value, 31) + topic.charCodeAt(i)) | 0
  }
  return value >>> 0
}
