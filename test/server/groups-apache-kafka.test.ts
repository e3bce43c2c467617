/**
 * The same requests about groups and offsets, in every version, at our broker and at Apache Kafka
 * 3.9.1: the answers are equal but for the ids of members.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeConsumerSubscription } from '../../src/protocol/consumer-protocol.ts'
import { CreateTopics } from '../../src/protocol/messages/create-topics.ts'
import { DeleteGroups } from '../../src/protocol/messages/delete-groups.ts'
import { DescribeGroups } from '../../src/protocol/messages/describe-groups.ts'
import { FindCoordinator } from '../../src/protocol/messages/find-coordinator.ts'
import { Heartbeat } from '../../src/protocol/messages/heartbeat.ts'
import { JoinGroup } from '../../src/protocol/messages/join-group.ts'
import { LeaveGroup } from '../../src/protocol/messages/leave-group.ts'
import { ListGroups } from '../../src/protocol/messages/list-groups.ts'
import { OffsetCommit } from '../../src/protocol/messages/offset-commit.ts'
import { OffsetDelete } from '../../src/protocol/messages/offset-delete.ts'
import { OffsetFetch } from '../../src/protocol/messages/offset-fetch.ts'
import { SyncGroup } from '../../src/protocol/messages/sync-group.ts'
import type { ApiSchema, RequestInput, ResponseOf } from '../../src/protocol/schema.ts'
import { parseVersions } from '../../src/protocol/schema.ts'
import { ApacheKafka } from '../support/apache-kafka.ts'
import { type BrokerUnderTest, ShardlogServer } from '../support/broker.ts'
import { skipWithout } from '../support/peers.ts'
import { WireClient } from '../support/wire-client.ts'

const SETTINGS = { 'group.initial.rebalance.delay.ms': '0' }
const METADATA = encodeConsumerSubscription(
  { topics: ['t'], userData: null, ownedPartitions: [], generationId: -1, rackId: null },
  0,
)

interface Item {
  readonly groupId?: string
  readonly partitionIndex?: number
}

/**
 * Kafka answers in the order of its hash tables. And it keeps a group for ever whose first join was
 * refused, which we do not.
 */
function sorted(key: string, items: readonly Item[]): readonly Item[] {
  if (key === 'partitions') {
    return items.toSorted((a, b) => (a.partitionIndex ?? 0) - (b.partitionIndex ?? 0))
  }
  if (key !== 'groups' && key !== 'results') return items
  return items
    .filter(({ groupId }) => groupId !== 'r')
    .toSorted((a, b) => ((a.groupId ?? '') < (b.groupId ?? '') ? -1 : 1))
}

/** Answers in order, as text that can be compared. */
class Transcript {
  readonly lines: string[] = []
  readonly #client: WireClient
  readonly #members = new Map<string, string>()

  constructor(client: WireClient) {
    this.#client = client
  }

  async ask<A extends ApiSchema>(
    api: A,
    version: number,
    request: RequestInput<A>,
  ): Promise<ResponseOf<A>> {
    const answer = await this.#client.send(api, version, request)
    this.lines.push(`${api.name} v${version}: ${this.#plain(answer)}`)
    return answer
  }

  /** Without what must differ: member ids get the number in which they came. */
  #plain(answer: unknown): string {
    return JSON.stringify(answer, (key, value: unknown) => {
      if (key === 'nodeId' || key === 'host' || key === 'port' || key === 'errorMessage')
        return null
      if (Array.isArray(value)) return sorted(key, value as Item[])
      if (typeof value !== 'string' || !/-[0-9a-f]{8}-[0-9a-f]{4}-/.test(value)) return value
      const known = this.#members.get(value) ?? `member ${this.#members.size}`
      this.#members.set(value, known)
      return known
    })
  }
}

function versionsOf(api: ApiSchema, first = 0): number[] {
  const { min, max } = parseVersions(api.versions)
  return Array.from({ length: max - min + 1 }, (_, i) => min + i).filter((one) => one >= first)
}

function join(
  groupId: string,
  memberId = '',
  changes: object = {},
): RequestInput<typeof JoinGroup> {
  return {
    groupId,
    memberId,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 10_000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: METADATA }],
    ...changes,
  }
}

function offsetsOf(topic: string, partition: number, changes: object = {}) {
  const one = { partitionIndex: partition, committedOffset: 7, committedMetadata: 'm', ...changes }
  return [{ name: topic, partitions: [one] }]
}

async function refusals(t: Transcript): Promise<void> {
  for (const version of versionsOf(JoinGroup)) {
    await t.ask(JoinGroup, version, join(''))
    await t.ask(JoinGroup, version, join('r', 'nobody'))
    await t.ask(JoinGroup, version, join('r', '', { sessionTimeoutMs: 1 }))
    await t.ask(JoinGroup, version, join('r', '', { protocols: [] }))
    await t.ask(JoinGroup, version, join('r', '', { protocolType: '' }))
  }
  const unknown = { groupId: 'r', generationId: 1, memberId: 'nobody' }
  for (const version of versionsOf(SyncGroup)) {
    await t.ask(SyncGroup, version, { ...unknown, assignments: [] })
    await t.ask(SyncGroup, version, { ...unknown, groupId: '', assignments: [] })
  }
  for (const version of versionsOf(Heartbeat)) {
    await t.ask(Heartbeat, version, unknown)
    await t.ask(Heartbeat, version, { ...unknown, groupId: '' })
  }
  for (const version of versionsOf(LeaveGroup)) {
    const members = version < 3 ? [] : [{ memberId: 'nobody' }]
    const memberId = version < 3 ? 'nobody' : ''
    await t.ask(LeaveGroup, version, { groupId: 'r', memberId, members })
    await t.ask(LeaveGroup, version, { groupId: '', memberId, members })
  }
  for (const version of versionsOf(DeleteGroups)) {
    await t.ask(DeleteGroups, version, { groupsNames: ['gone', ''] })
  }
  for (const version of versionsOf(DescribeGroups)) {
    await t.ask(DescribeGroups, version, {
      groups: ['gone', ''],
      includeAuthorizedOperations: false,
    })
  }
  await t.ask(OffsetDelete, 0, { groupId: 'gone', topics: [] })
  await t.ask(FindCoordinator, 4, { key: '', keyType: 5, coordinatorKeys: ['a'] })
}

async function commits(t: Transcript): Promise<void> {
  for (const version of versionsOf(OffsetCommit, 1)) {
    const groupId = `commit-${version}`
    const base = { groupId, generationIdOrMemberEpoch: -1, memberId: '' }
    const stale = { ...base, generationIdOrMemberEpoch: 3, memberId: 'nobody' }
    await t.ask(OffsetCommit, version, { ...stale, topics: offsetsOf('t', 0) })
    await t.ask(OffsetCommit, version, { ...base, topics: offsetsOf('none', 0) })
    await t.ask(OffsetCommit, version, { ...base, topics: offsetsOf('t', 99) })
    const long = offsetsOf('t', 0, { committedMetadata: 'x'.repeat(4097) })
    await t.ask(OffsetCommit, version, { ...base, topics: long })
    await t.ask(OffsetCommit, version, { ...base, topics: offsetsOf('t', 1) })
    await t.ask(OffsetCommit, version, { ...stale, topics: offsetsOf('t', 0) })
    const none = offsetsOf('t', 2, { committedMetadata: null, committedOffset: -5 })
    await t.ask(OffsetCommit, version, { ...base, topics: none })
  }
  const asked = [{ name: 't', partitionIndexes: [0, 1, 2, 99] }]
  for (const version of versionsOf(OffsetFetch, 1)) {
    for (const groupId of ['commit-6', 'none', '']) {
      for (const topics of version === 1 ? [asked] : [asked, null]) {
        await t.ask(
          OffsetFetch,
          version,
          version < 8
            ? { groupId, topics, groups: [] }
            : { groupId: '', topics: [], groups: [{ groupId, topics }] },
        )
      }
    }
  }
  const partitions = [{ partitionIndex: 1 }, { partitionIndex: 99 }]
  await t.ask(OffsetDelete, 0, { groupId: 'commit-6', topics: [{ name: 't', partitions }] })
  await t.ask(DeleteGroups, 2, { groupsNames: ['commit-6', 'commit-7'] })
  for (const version of versionsOf(ListGroups)) {
    await t.ask(ListGroups, version, { statesFilter: [], typesFilter: [] })
  }
  await t.ask(ListGroups, 5, { statesFilter: ['stable'], typesFilter: [] })
  await t.ask(ListGroups, 5, { statesFilter: [], typesFilter: ['consumer'] })
}

async function lifeOfAMember(t: Transcript): Promise<void> {
  for (const version of versionsOf(JoinGroup)) {
    const groupId = `life-${version}`
    let joined = await t.ask(JoinGroup, version, join(groupId))
    if (joined.errorCode === 79)
      joined = await t.ask(JoinGroup, version, join(groupId, joined.memberId))
    const { memberId, generationId } = joined
    const me = { groupId, memberId, generationId }
    const commit = { groupId, memberId, generationIdOrMemberEpoch: generationId }
    await t.ask(OffsetCommit, 8, { ...commit, topics: offsetsOf('t', 0) })
    await t.ask(SyncGroup, 3, { ...me, generationId: 9, assignments: [] })
    await t.ask(SyncGroup, Math.min(version, 5), {
      ...me,
      protocolType: version >= 5 ? 'consumer' : null,
      protocolName: version >= 5 ? 'range' : null,
      assignments: [{ memberId, assignment: Buffer.from('assignment') }],
    })
    await t.ask(SyncGroup, 5, {
      ...me,
      protocolType: 'consumer',
      protocolName: 'other',
      assignments: [],
    })
    await t.ask(Heartbeat, 3, me)
    await t.ask(Heartbeat, 3, { ...me, generationId: 9 })
    await t.ask(OffsetCommit, 8, { ...commit, topics: offsetsOf('t', 0) })
    await t.ask(OffsetCommit, 8, { ...commit, memberId: 'nobody', topics: offsetsOf('t', 0) })
    await t.ask(OffsetCommit, 8, {
      groupId,
      memberId: '',
      generationIdOrMemberEpoch: -1,
      topics: offsetsOf('t', 0),
    })
    await t.ask(JoinGroup, 5, join(groupId, '', { protocolType: 'connect' }))
    await t.ask(JoinGroup, 5, join(groupId, '', { protocols: [{ name: 'z', metadata: METADATA }] }))
    await t.ask(DescribeGroups, 5, { groups: [groupId], includeAuthorizedOperations: true })
    await t.ask(DeleteGroups, 1, { groupsNames: [groupId] })
    await t.ask(OffsetDelete, 0, {
      groupId,
      topics: [{ name: 't', partitions: [{ partitionIndex: 0 }] }],
    })
    await t.ask(LeaveGroup, 4, {
      groupId,
      memberId: '',
      members: [{ memberId: 'nobody' }, { memberId }, { memberId: '', groupInstanceId: 'x' }],
    })
    await t.ask(Heartbeat, 3, me)
    await t.ask(DescribeGroups, 5, { groups: [groupId], includeAuthorizedOperations: false })
    await t.ask(DeleteGroups, 2, { groupsNames: [groupId] })
  }
}

async function staticMembers(t: Transcript): Promise<void> {
  for (const version of versionsOf(JoinGroup, 5)) {
    const groupId = `static-${version}`
    const instance = { groupInstanceId: 'i' }
    const first = await t.ask(JoinGroup, version, join(groupId, '', instance))
    const me = { groupId, generationId: first.generationId, ...instance }
    await t.ask(SyncGroup, 3, {
      ...me,
      memberId: first.memberId,
      assignments: [{ memberId: first.memberId, assignment: Buffer.from('a') }],
    })
    const second = await t.ask(JoinGroup, version, join(groupId, '', instance))
    await t.ask(Heartbeat, 3, { ...me, memberId: first.memberId })
    await t.ask(JoinGroup, version, join(groupId, first.memberId, instance))
    await t.ask(SyncGroup, 3, { ...me, memberId: first.memberId, assignments: [] })
    await t.ask(OffsetCommit, 8, {
      groupId,
      memberId: first.memberId,
      generationIdOrMemberEpoch: first.generationId,
      ...instance,
      topics: offsetsOf('t', 0),
    })
    await t.ask(Heartbeat, 3, { ...me, memberId: second.memberId })
    await t.ask(DescribeGroups, 5, { groups: [groupId], includeAuthorizedOperations: false })
    await t.ask(LeaveGroup, 4, {
      groupId,
      memberId: '',
      members: [{ memberId: '', ...instance }],
    })
    await t.ask(Heartbeat, 3, { ...me, memberId: second.memberId })
  }
}

async function transcriptOf(broker: BrokerUnderTest): Promise<readonly string[]> {
  await broker.start(SETTINGS)
  const client = await WireClient.connect(Number(broker.address.split(':')[1]))
  try {
    for (;;) {
      const created = await client.send(CreateTopics, 5, {
        topics: [
          { name: 't', numPartitions: 3, replicationFactor: 1, assignments: [], configs: [] },
        ],
        timeoutMs: 20_000,
      })
      // The controller may not have seen a broker yet.
      if (created.topics[0]?.errorCode !== 38) break
    }
    for (;;) {
      const found = await client.send(FindCoordinator, 2, { key: 'any', keyType: 0 })
      if (found.errorCode !== 0) continue
      // Leadership of the offsets partitions comes one by one.
      const groups = Array.from({ length: 500 }, (_, i) => `ready-${i}`)
      const described = await client.send(DescribeGroups, 5, { groups })
      if (described.groups.every(({ errorCode }) => errorCode === 0)) break
    }
    const transcript = new Transcript(client)
    for (const part of [refusals, commits, lifeOfAMember, staticMembers]) await part(transcript)
    return transcript.lines
  } finally {
    client.close()
  }
}

test('groups are answered as Apache Kafka answers them, in every version', async (t) => {
  if (skipWithout(t, 'kafka-server')) return
  await using ours = new ShardlogServer()
  await using kafka = new ApacheKafka()
  const mine = await transcriptOf(ours)
  const original = await transcriptOf(kafka)
  assert.ok(mine.length > 300)
  const different = original.flatMap((line, i) =>
    line === mine[i] ? [] : [`\nApache ${line}\nours   ${mine[i]}`],
  )
  assert.equal(different.slice(0, 20).join('\n'), '')
  assert.equal(mine.length, original.length)
})
