/**
 * Which leaderships hold while the registry cannot be reached. By the time that the session may have
 * ended, others may lead: whoever goes on answering for its partitions tells clients what is not true
 * any more, and holds up appends that nobody will commit. When nobody can reach the registry, though,
 * nobody else is elected, and the cluster goes on.
 *
 * The replicas tell the two apart. They hear of another leader at once, and cease to fetch here; so a
 * leadership holds as long as one of the others in its ISR does. One without others in its ISR nobody
 * can take over.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import type { Clock } from '../util/clock.ts'
import type { Logger } from '../util/logger.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { Partition } from './partition.ts'

const CHECK_MS = 250

export interface LeaderLeasesOptions {
  readonly brokerId: number
  /** Without a fetch for so long a replica follows another leader, or nobody. */
  readonly silenceMs: number
  readonly partitions: () => Iterable<Partition>
  readonly roleChanged: (partition: Partition) => void
  readonly clock: Clock
  readonly timers: TimerQueue
  readonly logger: Logger
}

export class LeaderLeases {
  readonly #options: LeaderLeasesOptions
  /** Last fetch of each broker that follows this one. */
  readonly #heardMs = new Map<number, number>()
  #timer: Timer | null = null

  constructor(options: LeaderLeasesOptions) {
    this.#options = options
  }

  /** A replica fetched from this broker, whichever partitions. */
  heard(brokerId: number): void {
    this.#heardMs.set(brokerId, this.#options.clock.monotonicMs())
  }

  /** A replica has given up its connection to this broker. */
  left(brokerId: number): void {
    this.#heardMs.delete(brokerId)
  }

  /** The session may be over, and the registry cannot be asked. */
  lost(): void {
    this.#timer?.cancel()
    this.#check()
  }

  /** The registry was reached, and the session goes on or there is another one. */
  regained(): void {
    this.close()
    this.#settle(() => true)
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #check(): void {
    const nowMs = this.#options.clock.monotonicMs()
    this.#settle((isr) => this.#isFollowed(isr, nowMs))
    this.#timer = this.#options.timers.schedule(CHECK_MS, () => this.#check())
  }

  #isFollowed(isr: readonly number[], nowMs: number): boolean {
    const { brokerId, silenceMs } = this.#options
    const others = isr.filter((id) => id !== brokerId)
    const isHeard = (id: number): boolean =>
      nowMs - (this.#heardMs.get(id) ?? Number.NEGATIVE_INFINITY) <= silenceMs
    return others.length === 0 || others.some(isHeard)
  }

  #settle(holds: (isr: readonly number[]) => boolean): void {
    const { partitions, roleChanged, logger } = this.#options
    const changed: Partition[] = []
    for (const partition of partitions()) {
      if (partition.leader === null || holds(partition.leader.isr) === partition.hasLease) continue
      partition.hasLease = !partition.hasLease
      changed.push(partition)
    }
    if (changed.length === 0) return
    const lapsed = changed.filter(({ hasLease }) => !hasLease)
    logger.warn(
      { lapsed: lapsed.length, held: changed.length - lapsed.length },
      'leaderships changed while the registry could not be reached',
    )
    for (const { storedLog } of lapsed) storedLog.failParked(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    for (const partition of changed) roleChanged(partition)
  }
}
