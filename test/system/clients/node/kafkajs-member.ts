/** A member of a group by kafkajs: BOOTSTRAP GROUP TOPIC OPTIONS (see ../member.ts). */
import { AssignerProtocol, Kafka, logLevel, type PartitionAssigner } from 'kafkajs'

const [bootstrap, groupId, topic, text] = process.argv.slice(2)
if (bootstrap === undefined || groupId === undefined || topic === undefined) {
  throw new Error('BOOTSTRAP GROUP TOPIC OPTIONS')
}
const options = JSON.parse(text ?? '{}') as { sessionTimeoutMs: number; assignor: string }

function show(event: string, fields: Readonly<Record<string, unknown>> = {}): void {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`)
}

/** By Java's name, so that it can share a group with other languages. */
const range: PartitionAssigner = ({ cluster }) => ({
  name: options.assignor,
  version: 0,
  assign: async ({ members, topics }) => {
    const ids = members.map(({ memberId }) => memberId).sort()
    const shares = new Map(ids.map((id) => [id, {} as Record<string, number[]>]))
    for (const name of topics) {
      const partitions = cluster
        .findTopicPartitionMetadata(name)
        .map(({ partitionId }) => partitionId)
        .sort((a, b) => a - b)
      const each = Math.floor(partitions.length / ids.length)
      const extra = partitions.length % ids.length
      let next = 0
      for (const [i, id] of ids.entries()) {
        const count = each + (i < extra ? 1 : 0)
        const share = shares.get(id) as Record<string, number[]>
        share[name] = partitions.slice(next, next + count)
        next += count
      }
    }
    return ids.map((memberId) => ({
      memberId,
      memberAssignment: AssignerProtocol.MemberAssignment.encode({
        version: 0,
        assignment: shares.get(memberId) as Record<string, number[]>,
        userData: Buffer.alloc(0),
      }),
    }))
  },
  protocol: ({ topics }) => ({
    name: options.assignor,
    metadata: AssignerProtocol.MemberMetadata.encode({
      version: 0,
      topics,
      userData: Buffer.alloc(0),
    }),
  }),
})

const kafka = new Kafka({
  brokers: [bootstrap],
  logLevel: logLevel.NOTHING,
  retry: { retries: 100, initialRetryTime: 100, maxRetryTime: 500 },
})
const consumer = kafka.consumer({
  groupId,
  sessionTimeout: options.sessionTimeoutMs,
  heartbeatInterval: 500,
  rebalanceTimeout: 10_000,
  partitionAssigners: [range],
  maxWaitTimeInMs: 200,
})
consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
  show('assigned', { partitions: payload.memberAssignment[topic] ?? [] })
})
consumer.on(consumer.events.REBALANCING, () => show('assigned', { partitions: [] }))
consumer.on(consumer.events.CRASH, ({ payload }) => show('error', { value: payload.error.message }))
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
await consumer.run({
  autoCommit: false,
  eachBatch: async ({ batch, heartbeat, isRunning, isStale }) => {
    for (const { offset, value } of batch.messages) {
      if (!isRunning() || isStale()) return
      show('record', {
        partition: batch.partition,
        offset: Number(offset),
        value: value?.toString() ?? '',
      })
      await consumer.commitOffsets([
        { topic, partition: batch.partition, offset: String(BigInt(offset) + 1n) },
      ])
      await heartbeat()
    }
  },
})
process.stdin.on('end', () => {
  void consumer.disconnect().then(() => process.exit(0))
})
process.stdin.resume()
