/**
 * One consumer's fetch session with one broker (KIP-227): what the broker already knows, so that a
 * request only says what has changed.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import type { FetchRequestInput } from '../protocol/messages/fetch.ts'
import { keyOf, type TopicPartition } from './subscription-state.ts'

/** What a fetch asks of one partition. */
export interface FetchPartition extends TopicPartition {
  readonly topicId: string
  readonly fetchOffset: number
  readonly currentLeaderEpoch: number
  readonly partitionMaxBytes: number
}

type FetchTopics = FetchRequestInput['topics']
type Forgotten = NonNullable<FetchRequestInput['forgottenTopicsData']>

export interface SessionRequest {
  readonly sessionId: number
  readonly sessionEpoch: number
  readonly topics: FetchTopics
  readonly forgottenTopicsData: Forgotten
}

const NO_SESSION = 0
const FIRST_EPOCH = 0
const FINAL_EPOCH = -1
const EPOCH_MAX = 0x7fffffff

export class FetchSession {
  #id = NO_SESSION
  #epoch = FIRST_EPOCH
  #known = new Map<string, FetchPartition>()

  /** Topic names by id, of what the session holds. */
  topicName(topicId: string): string | undefined {
    for (const one of this.#known.values()) if (one.topicId === topicId) return one.topic
    return undefined
  }

  /** The request that makes the broker answer for exactly `partitions`. */
  next(partitions: readonly FetchPartition[]): SessionRequest {
    const wanted = new Map(partitions.map((one) => [keyOf(one), one]))
    const known = this.#known
    this.#known = wanted
    const session = { sessionId: this.#id, sessionEpoch: this.#epoch }
    if (this.#epoch === FIRST_EPOCH) {
      return { ...session, topics: topicsOf(partitions), forgottenTopicsData: [] }
    }
    const changed = partitions.filter((one) => !isSame(known.get(keyOf(one)), one))
    const forgotten = [...known.values()].filter((one) => {
      const now = wanted.get(keyOf(one))
      return now === undefined || now.topicId !== one.topicId
    })
    return { ...session, topics: topicsOf(changed), forgottenTopicsData: forgottenOf(forgotten) }
  }

  /** A request that ends the session; null when there is none. */
  last(): SessionRequest | null {
    if (this.#id === NO_SESSION) return null
    const sessionId = this.#id
    this.reset()
    return { sessionId, sessionEpoch: FINAL_EPOCH, topics: [], forgottenTopicsData: [] }
  }

  /** Takes note of an answer. */
  answered({ errorCode, sessionId }: { errorCode: number; sessionId: number }): void {
    if (errorCode === ErrorCode.FETCH_SESSION_ID_NOT_FOUND) {
      this.reset()
    } else if (errorCode !== ErrorCode.NONE) {
      this.failed()
    } else if (sessionId === NO_SESSION) {
      this.#id = NO_SESSION
      this.#epoch = FIRST_EPOCH
    } else {
      this.#id = sessionId
      this.#epoch = this.#epoch === EPOCH_MAX ? 1 : this.#epoch + 1
    }
  }

  /** Nobody knows whether the broker has seen the request: asks for a new session in place of it. */
  failed(): void {
    this.#epoch = FIRST_EPOCH
    this.#known = new Map()
  }

  reset(): void {
    this.#id = NO_SESSION
    this.failed()
  }
}

function isSame(a: FetchPartition | undefined, b: FetchPartition): boolean {
  return (
    a !== undefined &&
    a.topicId === b.topicId &&
    a.fetchOffset === b.fetchOffset &&
    a.currentLeaderEpoch === b.currentLeaderEpoch &&
    a.partitionMaxBytes === b.partitionMaxBytes
  )
}

/** In the order of the first partition of each, as it is the order in which the broker fills them. */
function byTopic<T extends { topic: string; topicId: string }>(list: readonly T[]): T[][] {
  const topics = new Map<string, T[]>()
  for (const one of list) {
    const group = topics.get(one.topic)
    if (group) group.push(one)
    else topics.set(one.topic, [one])
  }
  return [...topics.values()]
}

function topicsOf(partitions: readonly FetchPartition[]): FetchTopics {
  return byTopic(partitions).map((group) => {
    const { topic, topicId } = group[0] as FetchPartition
    return { topic, topicId, partitions: group }
  })
}

function forgottenOf(partitions: readonly FetchPartition[]): Forgotten {
  return byTopic(partitions).map((group) => {
    const { topic, topicId } = group[0] as FetchPartition
    return { topic, topicId, partitions: group.map(({ partition }) => partition) }
  })
}
