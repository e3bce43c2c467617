/**
 * Gives up appends with acks=-1 whose time is over while they wait for replicas. They are parked in
 * their shards; this looks at the logs that may have some, a few times a second, and not at all
 * while nobody waits.
 */
import type { Clock } from '../util/clock.ts'
import type { Timer, TimerQueue } from '../util/timer-queue.ts'
import type { Partition } from './partition.ts'

const TICK_MS = 100
/** What was posted may still be on its way to the log. */
const LINGER_MS = 5000

interface Watched {
  /** No append that is parked has an earlier one. */
  firstMs: number
  lastNotedMs: number
}

export class ProduceDeadlines {
  readonly #clock: Clock
  readonly #timers: TimerQueue
  readonly #watched = new Map<Partition, Watched>()
  #timer: Timer | null = null

  constructor(options: { readonly clock: Clock; readonly timers: TimerQueue }) {
    this.#clock = options.clock
    this.#timers = options.timers
  }

  /** Partitions that are looked at. */
  get size(): number {
    return this.#watched.size
  }

  /**
   * An append with acks=-1 and that deadline (of the monotonic clock) was posted to the log of a
   * partition. Called for each of them.
   */
  note(partition: Partition, deadlineMs: number): void {
    if (partition.leader === null || !partition.leader.hasFollowers) return
    const watched = this.#watched.get(partition)
    const nowMs = this.#clock.monotonicMs()
    if (watched === undefined) {
      this.#watched.set(partition, { firstMs: deadlineMs, lastNotedMs: nowMs })
      this.#timer ??= this.#timers.schedule(TICK_MS, () => this.#tick())
      return
    }
    watched.lastNotedMs = nowMs
    if (deadlineMs < watched.firstMs) watched.firstMs = deadlineMs
  }

  /** Finds what came to the log later than anybody thought. Called now and then. */
  look(partition: Partition): void {
    if (partition.logEnd > partition.highWatermark) this.note(partition, this.#clock.monotonicMs())
  }

  close(): void {
    this.#timer?.cancel()
    this.#timer = null
    this.#watched.clear()
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs()
    for (const [partition, watched] of this.#watched) {
      const isWaiting = partition.isLeader && partition.highWatermark < partition.logEnd
      if (isWaiting) {
        if (watched.firstMs <= nowMs) partition.storedLog.expireParked(nowMs)
      } else if (nowMs - watched.lastNotedMs > LINGER_MS) this.#watched.delete(partition)
    }
    this.#timer =
      this.#watched.size === 0 ? null : this.#timers.schedule(TICK_MS, () => this.#tick())
  }
}
