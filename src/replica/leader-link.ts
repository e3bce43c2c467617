/** How a follower reaches the broker that leads: Kafka's own Fetch and ListOffsets. */
import type { FetchedRecords } from '../network/outbound-connection.ts'
import type { FetchRequestInput, FetchResponse } from '../protocol/messages/fetch.ts'

/** An answer whose records are still where they arrived. */
export interface FetchAnswer {
  /** Each `records` is the place of the records in the answer. */
  readonly response: FetchResponse
  /** Appends records of the answer and lets go of it; an error code for each, in their order. */
  append(records: readonly FetchedRecords[]): Promise<Int16Array>
  drop(): void
}

/** Where the log of a leader begins and ends, or why that is not known. */
export interface LeaderOffsets {
  readonly errorCode: number
  readonly logStart: number
  readonly logEnd: number
}

export interface LeaderLink {
  /** Answers come in the order of the calls. Rejects with an Error when the link is lost. */
  fetch(request: FetchRequestInput): Promise<FetchAnswer>
  offsets(partition: {
    readonly topic: string
    readonly partition: number
    readonly leaderEpoch: number
  }): Promise<LeaderOffsets>
  close(): void
}

export interface LeaderAddress {
  readonly brokerId: number
  readonly host: string
  readonly port: number
}

/** Connects; rejects with an Error that says why it cannot. */
export type OpenLeaderLink = (leader: LeaderAddress) => Promise<LeaderLink>
