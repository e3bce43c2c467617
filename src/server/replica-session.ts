// Hot path.
/** What a leader remembers of a follower between its fetches (KIP-227). */
import type { Connection } from '../network/connection.ts'
import type { Frame } from '../network/request-handler.ts'
import type { Timer } from '../util/timer-queue.ts'
import type { Divergence } from './divergence.ts'

export const NO_ROW = -1

/** What a session fetches of a partition. */
export class ReplicaPosition {
  readonly session: ReplicaSession
  readonly topicId: string
  readonly partition: number
  currentLeaderEpoch = -1
  fetchOffset = 0
  lastFetchedEpoch = -1
  logStart = -1
  maxBytes = 0
  /** Published row of the log that is watched for it. */
  row = NO_ROW
  /** Its position, as the request gave it, was found right and counted for the replica. */
  isAccepted = false
  errorCode = 0
  diverging: Divergence | undefined = undefined
  /** −1 before the first answer and after an error. */
  toldHighWatermark = -1
  toldLogStart = -1
  /** There was no room for its records. */
  hasMore = false
  isThrottled = false
  /** Number of the answer that records went out with; the request behind it may not know of them. */
  sentIn = -1

  constructor(session: ReplicaSession, topicId: string, partition: number) {
    this.session = session
    this.topicId = topicId
    this.partition = partition
  }
}

export interface ParkedFetch {
  readonly frame: Frame
  readonly minBytes: number
  readonly maxBytes: number
  readonly deadlineMs: number
  /** Of no session yet: the answer tells of every partition that it names. */
  readonly isFull: boolean
  /** It was sent before the answer of this number arrived. */
  readonly unawareOf: number
}

export class ReplicaSession {
  /** 0: of one fetch only. */
  readonly id: number
  readonly connection: Connection
  readonly replicaId: number
  readonly replicaEpoch: number
  readonly topics = new Map<string, Map<number, ReplicaPosition>>()
  /** What the next answer has to look at. */
  readonly dirty = new Set<ReplicaPosition>()
  /** Which epoch the next request must carry. */
  epoch = 1
  answers = 0
  parked: ParkedFetch | null = null
  isWoken = false
  /** Since when only high watermarks and log starts have waited to be told. */
  newsSinceMs = -1
  timer: Timer | null = null
  timerMs = Number.POSITIVE_INFINITY

  constructor(options: {
    readonly id: number
    readonly connection: Connection
    readonly replicaId: number
    readonly replicaEpoch: number
  }) {
    this.id = options.id
    this.connection = options.connection
    this.replicaId = options.replicaId
    this.replicaEpoch = options.replicaEpoch
  }
}
