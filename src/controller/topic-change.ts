/** What clients ask of topics, and what they are told. */
import type { DescribedConfig } from '../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import { ZERO_UUID } from '../protocol/schema.ts'

export interface NewTopic {
  readonly name: string
  /** −1: the broker's default. */
  readonly numPartitions: number
  /** −1: the broker's default. */
  readonly replicationFactor: number
  readonly assignments: readonly {
    readonly partitionIndex: number
    readonly brokerIds: readonly number[]
  }[]
  readonly configs: readonly { readonly name: string; readonly value: string | null }[]
}

export interface MorePartitions {
  readonly name: string
  /** How many there shall be in all. */
  readonly count: number
  /** Replicas of the new ones; null: the broker chooses. */
  readonly assignments: readonly { readonly brokerIds: readonly number[] }[] | null
}

export interface ChangeOptions {
  /** How long the caller waits; what is not done by then goes on, but is answered as timed out. */
  readonly timeoutMs: number
  readonly validateOnly: boolean
}

export interface TopicOutcome {
  readonly name: string
  readonly errorCode: number
  readonly errorMessage: string | null
}

export interface CreateOutcome extends TopicOutcome {
  readonly topicId: string
  /** −1 where it failed. */
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly configs: readonly DescribedConfig[]
}

export const NOT_CREATED = {
  topicId: ZERO_UUID,
  numPartitions: -1,
  replicationFactor: -1,
  configs: [],
} as const

export function succeeded(name: string): TopicOutcome {
  return { name, errorCode: ErrorCode.NONE, errorMessage: null }
}

export function timedOut(name: string): TopicOutcome {
  return {
    name,
    errorCode: ErrorCode.REQUEST_TIMED_OUT,
    errorMessage: 'The change was begun, but is not complete yet',
  }
}

export function namedTwice(name: string): KafkaError {
  return new KafkaError(
    ErrorCode.INVALID_REQUEST,
    `The request names topic '${name}' more than once`,
  )
}

/** The first entry of each name, and whether there are more. */
export function uniqueByName<T extends { readonly name: string }>(
  topics: readonly T[],
): { topic: T; isRepeated: boolean }[] {
  const found = new Map<string, { topic: T; isRepeated: boolean }>()
  for (const topic of topics) {
    const first = found.get(topic.name)
    if (first) first.isRepeated = true
    else found.set(topic.name, { topic, isRepeated: false })
  }
  return [...found.values()]
}
