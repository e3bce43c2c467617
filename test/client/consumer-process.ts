/**
 * A member of a group as a process of its own, to be killed: consumer-process.js BOOTSTRAP GROUP
 * TOPIC. Prints `assigned P,P` and `record P O`, the latter before the record counts as consumed.
 */
import { Consumer } from '../../src/client/consumer.ts'

const [bootstrapServers, groupId, topic] = process.argv.slice(2) as [string, string, string]
const consumer = new Consumer({
  bootstrapServers,
  groupId,
  autoOffsetReset: 'earliest',
  sessionTimeoutMs: 1500,
  heartbeatIntervalMs: 200,
  autoCommitIntervalMs: 100,
})
consumer.subscribe(topic, {
  onPartitionsAssigned: (partitions) => {
    process.stdout.write(`assigned ${partitions.map(({ partition }) => partition).join()}\n`)
  },
})
for await (const { partition, offset } of consumer) {
  process.stdout.write(`record ${partition} ${offset}\n`)
}
