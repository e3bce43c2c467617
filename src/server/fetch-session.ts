/**
 * Fetch sessions (KIP-227): what a client fetches, remembered between its requests, so that it
 * sends and gets only what changed.
 */
import type { Clock } from '../util/clock.ts'
import type { Random } from '../util/random.ts'

export interface FetchedPartition {
  readonly topic: string
  /** The zero uuid below version 13. */
  readonly topicId: string
  readonly partition: number
  currentLeaderEpoch: number
  fetchOffset: number
  lastFetchedEpoch: number
  partitionMaxBytes: number
  /** What the last answer of the session told; -1 before the first. */
  toldHighWatermark: number
  toldLogStart: number
}

const EVICTABLE_AFTER_MS = 120_000
const MAX_EPOCH = 2_147_483_647

export class FetchSession {
  readonly id: number
  /** Which epoch the next request must carry. */
  epoch = 1
  lastUsedMs: number
  readonly partitions = new Map<string, FetchedPartition>()

  constructor(id: number, nowMs: number) {
    this.id = id
    this.lastUsedMs = nowMs
  }

  advance(nowMs: number): void {
    this.epoch = this.epoch === MAX_EPOCH ? 1 : this.epoch + 1
    this.lastUsedMs = nowMs
  }
}

/** Key of a partition in a session. */
export function fetchKey(topic: string, topicId: string, partition: number): string {
  return `${topic}/${topicId}/${partition}`
}

export class FetchSessionCache {
  readonly #slots: number
  readonly #clock: Clock
  readonly #random: Random
  readonly #sessions = new Map<number, FetchSession>()

  constructor(options: { slots: number; clock: Clock; random: Random }) {
    this.#slots = options.slots
    this.#clock = options.clock
    this.#random = options.random
  }

  get size(): number {
    return this.#sessions.size
  }

  get(id: number): FetchSession | undefined {
    return this.#sessions.get(id)
  }

  /** A new session, or null when the cache is full of sessions in use. */
  create(): FetchSession | null {
    const now = this.#clock.monotonicMs()
    if (this.#sessions.size >= this.#slots && !this.#evict(now)) return null
    let id = 0
    while (id === 0 || this.#sessions.has(id)) id = this.#random.integer(MAX_EPOCH - 1) + 1
    const session = new FetchSession(id, now)
    this.#sessions.set(id, session)
    return session
  }

  remove(id: number): void {
    this.#sessions.delete(id)
  }

  /** Marks a use: sessions are kept in the order of their last one. */
  used(session: FetchSession): void {
    session.advance(this.#clock.monotonicMs())
    this.#sessions.delete(session.id)
    this.#sessions.set(session.id, session)
  }

  #evict(now: number): boolean {
    const oldest = this.#sessions.values().next().value
    if (oldest === undefined || now - oldest.lastUsedMs < EVICTABLE_AFTER_MS) return false
    this.#sessions.delete(oldest.id)
    return true
  }
}
