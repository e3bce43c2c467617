import type { TopicPartitions } from '../../protocol/consumer-protocol.ts'
import {
  AssignmentBuilder,
  type Assignor,
  type AssignorMember,
  type AssignorTopic,
  compareMembers,
  subscribersByTopic,
} from './assignor.ts'

/**
 * Deals all partitions of all topics, in order, to one member after the other, passing over those
 * that do not subscribe to the topic. The result is that of Apache Kafka's RoundRobinAssignor.
 */
export class RoundRobinAssignor implements Assignor {
  readonly name: string = 'roundrobin'
  readonly supportedProtocols = ['eager'] as const

  userData(): null {
    return null
  }

  assign(
    topics: ReadonlyMap<string, AssignorTopic>,
    members: readonly AssignorMember[],
  ): Map<string, TopicPartitions[]> {
    const builder = new AssignmentBuilder(members)
    const circle = [...members].sort(compareMembers)
    let turn = 0
    for (const { topic, partitionCount, subscribers } of subscribersByTopic(topics, members)) {
      const eligible = new Set(subscribers)
      for (let partition = 0; partition < partitionCount; partition += 1) {
        while (!eligible.has(circle[turn] as AssignorMember)) turn = (turn + 1) % circle.length
        builder.add((circle[turn] as AssignorMember).memberId, topic, partition)
        turn = (turn + 1) % circle.length
      }
    }
    return builder.build()
  }
}
