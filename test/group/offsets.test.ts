/** Committed offsets: who may commit, what is kept, what expires, what is read back from disk. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  groupKey,
  groupValue,
  OFFSETS_TOPIC,
  offsetKey,
  offsetValue,
  readGroupRecord,
} from '../../src/group/record-schemas.ts'
import { buildBatch } from '../../src/log/record-format.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { MalformedMessageError } from '../../src/protocol/message-reader.ts'
import type { Logger } from '../../src/util/logger.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { MemoryInternalLog } from '../support/memory-internal-log.ts'
import { CLIENT, createHarness, type Harness, joinRequest, OLD, stableGroup } from './harness.ts'

interface Commit {
  readonly groupId?: string
  readonly memberId?: string
  readonly generationId?: number
  readonly topic?: string
  readonly partition?: number
  readonly offset?: number
  readonly metadata?: string
  readonly retentionMs?: number
}

async function commit(harness: Harness, changes: Commit = {}): Promise<number | undefined> {
  const [errorCode] = await harness.groups.commitOffsets({
    groupId: changes.groupId ?? 'g',
    generationId: changes.generationId ?? -1,
    memberId: changes.memberId ?? '',
    groupInstanceId: null,
    retentionMs: changes.retentionMs ?? -1,
    offsets: [
      {
        topic: changes.topic ?? 't',
        partition: changes.partition ?? 0,
        offset: changes.offset ?? 5,
        leaderEpoch: 3,
        metadata: changes.metadata ?? '',
        timestampMs: -1,
      },
    ],
  })
  return errorCode
}

function offsetOf(harness: Harness, topic = 't', partition = 0, groupId = 'g'): number {
  const [errorCode, offsets] = harness.groups.fetchOffsets(groupId)
  assert.equal(errorCode, 0)
  return offsets.get(topic)?.get(partition)?.offset ?? -1
}

test('who may commit, and when', async () => {
  const harness = await createHarness()
  assert.equal(await commit(harness), 0, 'a consumer without a group of members')
  assert.equal(await commit(harness, { groupId: '' }), 0, 'even without a name')
  assert.equal(
    await commit(harness, { groupId: 'new', generationId: 0, memberId: 'm' }),
    ErrorCode.ILLEGAL_GENERATION,
  )
  assert.equal(await commit(harness, { topic: 'none' }), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  assert.equal(await commit(harness, { partition: 8 }), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  assert.equal(await commit(harness, { metadata: 'x'.repeat(4096) }), 0)
  assert.equal(
    await commit(harness, { metadata: `é${'x'.repeat(4095)}` }),
    ErrorCode.OFFSET_METADATA_TOO_LARGE,
  )
  const [member] = await stableGroup(harness, 1)
  assert.ok(member)
  const { memberId } = member
  assert.equal(await commit(harness), ErrorCode.UNKNOWN_MEMBER_ID, 'the group has members')
  assert.equal(
    await commit(harness, { memberId: 'nobody', generationId: 1 }),
    ErrorCode.UNKNOWN_MEMBER_ID,
  )
  assert.equal(await commit(harness, { memberId, generationId: 0 }), ErrorCode.ILLEGAL_GENERATION)
  assert.equal(await commit(harness, { memberId, generationId: 1, offset: 9 }), 0)
  void harness.groups.joinGroup(joinRequest(), CLIENT, OLD)
  assert.equal(await commit(harness, { memberId, generationId: 1, offset: 10 }), 0)
  await harness.groups.joinGroup(joinRequest({ memberId }), CLIENT, OLD)
  assert.equal(
    await commit(harness, { memberId, generationId: 2 }),
    ErrorCode.REBALANCE_IN_PROGRESS,
    'joined and not synced',
  )
  assert.equal(offsetOf(harness), 10)
  assert.equal(offsetOf(harness, 't', 1), -1)
  assert.equal(offsetOf(harness, 't', 0, 'unknown'), -1)
  await harness.restart()
  assert.equal(offsetOf(harness), 10)
  harness.close()
})

test('a commit that is not stored is not seen, and its answer says so', async () => {
  const harness = await createHarness()
  for (const [stored, answered] of [
    [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.COORDINATOR_NOT_AVAILABLE],
    [ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE],
    [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.COORDINATOR_NOT_AVAILABLE],
    [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR],
    [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR],
    [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_COMMIT_OFFSET_SIZE],
  ] as const) {
    harness.log.failure = () => stored
    assert.equal(await commit(harness), answered)
    assert.equal(offsetOf(harness), -1)
  }
  harness.log.failure = () => 0
  let release: () => void = () => undefined
  harness.log.delay = () =>
    new Promise((resolve) => {
      release = resolve
    })
  const first = commit(harness, { offset: 1 })
  assert.equal(offsetOf(harness), -1, 'not yet')
  harness.log.delay = () => Promise.resolve()
  assert.equal(await commit(harness, { offset: 2 }), 0)
  release()
  assert.equal(await first, 0)
  assert.equal(offsetOf(harness), 2, 'the later record wins, whichever answer comes first')
  await harness.restart()
  assert.equal(offsetOf(harness), 2)
  harness.close()
})

test('offsets expire after their group is empty, or after the commit without members', async () => {
  const week = 7 * 86_400_000
  const harness = await createHarness()
  await commit(harness, { groupId: 'simple' })
  await commit(harness, { groupId: 'asked', retentionMs: 1000 })
  const [member] = await stableGroup(harness, 1)
  assert.ok(member)
  const { memberId } = member
  await commit(harness, { memberId, generationId: 1 })
  await commit(harness, { memberId, generationId: 1, topic: 'u' })
  const stay = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 9000) {
      harness.clock.advance(Math.min(left, 9000))
      harness.groups.heartbeat({ groupId: 'g', generationId: 1, memberId, groupInstanceId: null })
    }
  }
  await stay(2000)
  await harness.groups.expireOffsets()
  assert.equal(offsetOf(harness, 't', 0, 'asked'), -1, 'kept as long as the client asked for')
  assert.equal(offsetOf(harness, 't', 0, 'simple'), 5)
  await stay(week)
  await harness.groups.expireOffsets()
  assert.equal(offsetOf(harness, 't', 0, 'simple'), -1)
  assert.equal(offsetOf(harness), 5, 'the group reads it')
  assert.equal(offsetOf(harness, 'u'), -1, 'the group has not subscribed to it')
  harness.groups.leaveGroup('g', [{ memberId, groupInstanceId: null }])
  harness.clock.advance(week - 1)
  await harness.groups.expireOffsets()
  assert.equal(offsetOf(harness), 5)
  harness.clock.advance(1)
  await harness.groups.expireOffsets()
  assert.equal(offsetOf(harness), -1)
  await harness.restart()
  assert.deepEqual(harness.groups.listGroups([]), [0, []], 'tombstones for all of them')
  harness.close()
})

test('groups and offsets are deleted for good', async () => {
  const harness = await createHarness()
  const { groups } = harness
  assert.equal(await groups.deleteGroup('none'), ErrorCode.GROUP_ID_NOT_FOUND)
  assert.deepEqual(await groups.deleteOffsets('none', []), [ErrorCode.GROUP_ID_NOT_FOUND, []])
  const [member] = await stableGroup(harness, 1)
  assert.ok(member)
  const { memberId } = member
  await commit(harness, { memberId, generationId: 1 })
  await commit(harness, { memberId, generationId: 1, topic: 'u' })
  assert.equal(await groups.deleteGroup('g'), ErrorCode.NON_EMPTY_GROUP)
  assert.deepEqual(
    await groups.deleteOffsets('g', [
      { topic: 't', partition: 0 },
      { topic: 'u', partition: 0 },
      { topic: 'u', partition: 99 },
    ]),
    [0, [ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]],
  )
  assert.equal(offsetOf(harness, 'u'), -1)
  groups.leaveGroup('g', [{ memberId, groupInstanceId: null }])
  assert.equal(await groups.deleteGroup('g'), 0)
  assert.equal(groups.describeGroup('g').state, 'Dead')
  await commit(harness, { groupId: 'h' })
  await harness.groups.topicDeleted('t')
  await harness.restart()
  assert.deepEqual(harness.groups.listGroups([]), [0, []])
  harness.close()
})

test('groups are listed by state and described', async () => {
  const harness = await createHarness()
  await commit(harness, { groupId: 'simple' })
  await stableGroup(harness, 2)
  const names = (states: string[]) =>
    harness.groups.listGroups(states)[1].map(({ groupId }) => groupId)
  assert.deepEqual(names([]).sort(), ['g', 'simple'])
  assert.deepEqual(names(['stable']), ['g'])
  assert.deepEqual(names(['Empty']), ['simple'])
  assert.deepEqual(names(['Dead']), [])
  assert.equal(harness.groups.describeGroup('none').state, 'Dead')
  const described = harness.groups.describeGroup('g')
  assert.equal(described.protocolName, 'range')
  assert.equal(described.members[0]?.clientHost, '/127.0.0.1')
  harness.close()
})

const text = fc.string({ maxLength: 20 })
const int32 = fc.integer({ min: -1, max: 2 ** 31 - 1 })
const millis = fc.integer({ min: 0, max: 2 ** 50 })

test('records are read as they were written', () => {
  fc.assert(
    fc.property(
      text,
      text,
      int32,
      millis,
      text,
      millis,
      (group, topic, partition, offset, metadata, at) => {
        for (const expireTimestamp of [-1, at + 1]) {
          const value = { offset, leaderEpoch: 4, metadata, commitTimestamp: at, expireTimestamp }
          const read = readGroupRecord(offsetKey(group, topic, partition), offsetValue(value))
          assert.equal(read.kind, 'offset')
          if (read.kind !== 'offset') return
          assert.deepEqual([read.group, read.topic, read.partition], [group, topic, partition])
          const isOld = expireTimestamp >= 0
          assert.deepEqual(
            { ...read.value },
            {
              version: isOld ? 1 : 3,
              ...value,
              leaderEpoch: isOld ? -1 : 4,
            },
          )
        }
      },
    ),
    { numRuns: 200 },
  )
})

test('no bytes make the reader of records do anything but refuse them', () => {
  const valid = groupValue({
    protocolType: 'consumer',
    generation: 3,
    protocol: 'range',
    leader: 'm',
    currentStateTimestamp: 5,
    members: [
      {
        memberId: 'm',
        groupInstanceId: null,
        clientId: 'c',
        clientHost: '/h',
        rebalanceTimeout: 1,
        sessionTimeout: 2,
        subscription: Buffer.alloc(5),
        assignment: Buffer.alloc(6),
      },
    ],
  })
  fc.assert(
    fc.property(fc.nat(valid.length - 1), fc.nat(255), fc.nat(valid.length), (at, byte, cut) => {
      const value = Buffer.from(valid.subarray(0, Math.max(cut, at + 1)))
      value[at] = byte
      for (const [key, bytes] of [
        [groupKey('g'), value],
        [value, null],
        [offsetKey('g', 't', 0), value],
      ] as const) {
        try {
          readGroupRecord(key, bytes)
        } catch (error) {
          assert.ok(error instanceof MalformedMessageError, String(error))
        }
      }
    }),
    { numRuns: 5000 },
  )
})

test('records that cannot be read cost one line, and nothing else is lost', async () => {
  const log = new MemoryInternalLog()
  const lines: string[] = []
  const logger: Logger = {
    ...silentLogger,
    child: () => logger,
    warn: (_, message) => lines.push(message),
  }
  const good = offsetValue({
    offset: 42,
    leaderEpoch: -1,
    metadata: '',
    commitTimestamp: 1,
    expireTimestamp: -1,
  })
  const record = (key: Buffer | null, value: Buffer | null) => ({ timestamp: 1, key, value })
  log.put(
    OFFSETS_TOPIC,
    0,
    buildBatch(
      [
        record(offsetKey('g', 't', 0), good),
        record(Buffer.from([0, 1, 0]), good),
        record(offsetKey('g', 't', 1), Buffer.from([0, 3, 1])),
        record(offsetKey('g', 't', 2), Buffer.from([0, 99, 1])),
        record(null, good),
        record(Buffer.from([0, 7, 1, 2, 3]), good),
        record(offsetKey('g', 't', 3), good),
      ],
      0,
    ),
  )
  const damaged = buildBatch([record(offsetKey('g', 't', 4), good)], 1)
  damaged.fill(0xff, 70)
  log.put(OFFSETS_TOPIC, 0, damaged)
  log.put(OFFSETS_TOPIC, 0, buildBatch([record(offsetKey('g', 't', 5), good)], 1))
  const harness = await createHarness({ log, logger })
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5].map((partition) => offsetOf(harness, 't', partition)),
    [42, -1, -1, 42, -1, 42],
  )
  assert.equal(lines.length, 1)
  harness.close()
})
