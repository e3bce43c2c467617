/**
 * How many bytes a second replicas that catch up may take of this broker, as leader or as follower
 * (KIP-73). Which replicas, the topics say; replicas in sync are never held up.
 */
import type { TopicConfig } from '../config/topic-config.ts'
import type { Clock } from '../util/clock.ts'

const WINDOW_MS = 1000
/** The rate is that of so many windows and the one that has begun. */
const WINDOWS = 10

interface Throttled {
  readonly partition: number
  readonly config: TopicConfig
}

export class ReplicationQuota {
  readonly #brokerId: number
  readonly #list: 'leaderReplicationThrottledReplicas' | 'followerReplicationThrottledReplicas'
  readonly #clock: Clock
  /** Bytes of the last windows, the newest last. */
  readonly #windows: { startMs: number; bytes: number }[] = []
  /** What each list says of this broker: its partitions, or all. */
  readonly #throttled = new WeakMap<readonly string[], ReadonlySet<number> | 'all'>()
  bytesPerSecond = Number.MAX_SAFE_INTEGER

  constructor(options: {
    readonly side: 'leader' | 'follower'
    readonly brokerId: number
    readonly clock: Clock
  }) {
    this.#brokerId = options.brokerId
    this.#list = `${options.side}ReplicationThrottledReplicas`
    this.#clock = options.clock
  }

  /** Whether the replica that this broker has of the partition is one of those that are held up. */
  isThrottled({ partition, config }: Throttled): boolean {
    const list = config[this.#list]
    if (list.length === 0) return false
    let throttled = this.#throttled.get(list)
    if (throttled === undefined) {
      throttled = this.#read(list)
      this.#throttled.set(list, throttled)
    }
    return throttled === 'all' || throttled.has(partition)
  }

  /** Whether they have had more than their share of late. */
  get isExceeded(): boolean {
    if (this.bytesPerSecond === Number.MAX_SAFE_INTEGER) return false
    const nowMs = this.#clock.monotonicMs()
    this.#forget(nowMs)
    const first = this.#windows[0]
    if (first === undefined) return false
    const bytes = this.#windows.reduce((sum, window) => sum + window.bytes, 0)
    const seconds = Math.max(WINDOW_MS, nowMs - first.startMs) / 1000
    return bytes / seconds > this.bytesPerSecond
  }

  /** Bytes of replicas that are held up went through. */
  record(bytes: number): void {
    const nowMs = this.#clock.monotonicMs()
    const last = this.#windows.at(-1)
    if (last !== undefined && nowMs - last.startMs < WINDOW_MS) {
      last.bytes += bytes
      return
    }
    this.#windows.push({ startMs: nowMs, bytes })
    this.#forget(nowMs)
  }

  #forget(nowMs: number): void {
    const windows = this.#windows
    while (windows[0] !== undefined && nowMs - windows[0].startMs > (WINDOWS + 1) * WINDOW_MS) {
      windows.shift()
    }
  }

  /** `*`, or `partition:broker` items. */
  #read(list: readonly string[]): ReadonlySet<number> | 'all' {
    if (list.some((item) => item === '*')) return 'all'
    const partitions = new Set<number>()
    for (const item of list) {
      const [partition, brokerId] = item.split(':').map(Number)
      if (brokerId === this.#brokerId && partition !== undefined) partitions.add(partition)
    }
    return partitions
  }
}
