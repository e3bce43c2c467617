/**
 * How consumers of the 0.8 era share out the partitions of topics, each for itself and all with the
 * same result: the streams of all consumers in order of their names, each with a range of partitions.
 */
import type { ConsumerRegistration, TopicPartition } from '../../registry/cluster-registry.ts'
import { topicFilter } from '../kit/topic-filter.ts'

export interface SharedTopic {
  readonly name: string
  readonly partitions: number
}

const INTERNAL_TOPICS = ['__consumer_offsets', '__transaction_state']

/** Whether a consumer with this registration reads a topic, and with how many streams. */
export function streamsFor(
  registration: ConsumerRegistration,
  excludeInternalTopics: boolean,
): (topic: string) => number {
  const { pattern, subscription } = registration
  if (pattern === 'static') return (topic) => subscription.get(topic) ?? 0
  const filters = [...subscription].map(([text, streams]) => ({ fits: topicFilter(text), streams }))
  return (topic) => {
    if (excludeInternalTopics && INTERNAL_TOPICS.includes(topic)) return 0
    const filter = filters.find(({ fits }) => fits(topic) === (pattern === 'white_list'))
    return filter?.streams ?? 0
  }
}

/** Names of the streams of one consumer, as they stand in the claims of partitions. */
export function streamNames(consumerId: string, streams: number): string[] {
  return Array.from({ length: streams }, (_, at) => `${consumerId}-${at}`)
}

/** The partitions of a consumer by the stream that is to claim them, in order. */
export function rangeAssignment(
  consumers: ReadonlyMap<string, ConsumerRegistration>,
  consumerId: string,
  topics: readonly SharedTopic[],
  excludeInternalTopics = true,
): (TopicPartition & { readonly stream: string })[] {
  const readers = [...consumers].map(([id, registration]) => ({
    id,
    streamsOf: streamsFor(registration, excludeInternalTopics),
  }))
  const assigned: (TopicPartition & { readonly stream: string })[] = []
  for (const { name, partitions } of topics) {
    const streams = readers.flatMap(({ id, streamsOf }) => streamNames(id, streamsOf(name))).sort()
    const mine = streamNames(
      consumerId,
      readers.find(({ id }) => id === consumerId)?.streamsOf(name) ?? 0,
    )
    for (const stream of mine) {
      const at = streams.indexOf(stream)
      const each = Math.floor(partitions / streams.length)
      const extra = partitions % streams.length
      const first = each * at + Math.min(at, extra)
      const count = each + (at < extra ? 1 : 0)
      for (let partition = first; partition < first + count; partition += 1) {
        assigned.push({ topic: name, partition, stream })
      }
    }
  }
  return assigned
}
