/**
 * A group's member against a coordinator that answers as the test says, on a clock that is moved by
 * hand: the errors that a real one seldom has.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { RangeAssignor } from '../../src/client/assignors/range.ts'
import { ConnectionError } from '../../src/client/errors.ts'
import { GroupMembership, type GroupMembershipOptions } from '../../src/client/group-membership.ts'
import {
  decodeConsumerAssignment,
  decodeConsumerSubscription,
  encodeConsumerAssignment,
  encodeConsumerSubscription,
} from '../../src/protocol/consumer-protocol.ts'
import { Heartbeat } from '../../src/protocol/messages/heartbeat.ts'
import { JoinGroup } from '../../src/protocol/messages/join-group.ts'
import { LeaveGroup } from '../../src/protocol/messages/leave-group.ts'
import { OffsetCommit } from '../../src/protocol/messages/offset-commit.ts'
import { OffsetFetch } from '../../src/protocol/messages/offset-fetch.ts'
import { SyncGroup } from '../../src/protocol/messages/sync-group.ts'
import type { ResponseInput } from '../../src/protocol/schema.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { until } from '../support/until.ts'
import { ScriptedCluster } from './scripted-cluster.ts'

const ASSIGNED = encodeConsumerAssignment({
  assignedPartitions: [{ topic: 't', partitions: [1] }],
  userData: null,
})
const SUBSCRIPTION = { topics: ['t'], ownedPartitions: [] }

type JoinAnswer = ResponseInput<typeof JoinGroup>

function joined(generationId: number, more: Partial<JoinAnswer> = {}): JoinAnswer {
  return {
    errorCode: 0,
    generationId,
    protocolType: 'consumer',
    protocolName: 'range',
    leader: 'other',
    memberId: 'me',
    members: [],
    ...more,
  }
}

const REFUSED = { protocolName: null, leader: '', members: [] }

class Setup {
  readonly cluster = new ScriptedCluster()
  readonly clock = new ManualClock()
  readonly timers = new TimerQueue(this.clock)
  readonly membership: GroupMembership
  /** Answers to joins, heartbeats and syncs, one after the other; then the last one for ever. */
  joins: (JoinAnswer | Error)[] = [joined(1)]
  syncs: number[] = [0]
  heartbeats: (number | Error)[] = [0]
  commits: number[] = [0]
  hasPolled = true
  changes = 0

  constructor(t: TestContext, options: Partial<GroupMembershipOptions> = {}) {
    const { cluster, clock, timers } = this
    this.membership = new GroupMembership({
      ...{ cluster, clock, timers, groupId: 'g', groupInstanceId: null, clientRack: '' },
      ...{ assignors: [new RangeAssignor()], sessionTimeoutMs: 1000, heartbeatIntervalMs: 100 },
      ...{ rebalanceTimeoutMs: 5000, requestTimeoutMs: 500, retryBackoffMs: 10 },
      hasPolled: () => this.hasPolled,
      topicsOf: async () => new Map([['t', { partitionCount: 2 }]]),
      onChange: () => {
        this.changes += 1
      },
      ...options,
    })
    t.after(() => {
      this.membership.close()
      timers.close()
    })
    cluster.on(JoinGroup, () => given(this.joins))
    cluster.on(SyncGroup, () => ({ errorCode: given(this.syncs), assignment: ASSIGNED }))
    cluster.on(Heartbeat, () => ({ errorCode: given(this.heartbeats) }))
    cluster.on(LeaveGroup, () => ({ errorCode: 0, members: [] }))
    cluster.on(OffsetCommit, ({ topics }) => ({
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => {
          return { partitionIndex, errorCode: given(this.commits) }
        }),
      })),
    }))
  }

  async join(): Promise<void> {
    const outcome = await this.joining()
    assert.equal(outcome.kind, 'joined')
  }

  /** Joins, moving the clock for the pauses between attempts. */
  async joining(ownedPartitions = SUBSCRIPTION.ownedPartitions) {
    const joining = this.membership.join(() => ({ ...SUBSCRIPTION, ownedPartitions }))
    let isDone = false
    const done = joining.then(() => {
      isDone = true
    })
    await until('the join ends', () => {
      if (!isDone) this.clock.advance(1)
      return isDone
    })
    await done
    return await joining
  }

  /** Moves the clock and waits for so many heartbeats in all. */
  async beat(count: number): Promise<void> {
    await until(`heartbeat ${count}`, () => {
      const sent = this.cluster.requests(Heartbeat).length
      if (sent < count) this.clock.advance(10)
      return sent >= count
    })
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function given<T>(answers: (T | Error)[]): T {
  const answer = (answers.length > 1 ? answers.shift() : answers[0]) as T | Error
  if (answer instanceof Error) throw answer
  return answer
}

test('joins with the id that it is told to take, syncs, beats, and joins again when told', async (t) => {
  const setup = new Setup(t)
  setup.joins = [joined(-1, { errorCode: 79, memberId: 'me' }), joined(7)]
  const outcome = await setup.joining()
  assert.ok(outcome.kind === 'joined')
  assert.deepEqual(outcome.assignment.assignedPartitions, [{ topic: 't', partitions: [1] }])
  const [first, second] = setup.cluster.requests(JoinGroup)
  assert.deepEqual([first?.memberId, second?.memberId], ['', 'me'])
  assert.equal(setup.membership.isRejoinNeeded, false)
  setup.heartbeats = [0, 0, 27, 27]
  await setup.beat(4)
  assert.equal(setup.cluster.requests(Heartbeat)[0]?.generationId, 7)
  assert.equal(setup.membership.isRejoinNeeded, true)
  assert.equal(setup.changes, 1)
  setup.joins = [joined(8)]
  await setup.joining()
  const again = setup.cluster.requests(JoinGroup)[2]
  assert.equal(again?.memberId, 'me')
  const metadata = decodeConsumerSubscription(again?.protocols[0]?.metadata as Buffer)
  assert.equal(metadata.generationId, 7)
  assert.equal(again?.reason, 'the group rebalances')
})

test('what passes is tried again, at the right coordinator', async (t) => {
  const setup = new Setup(t)
  setup.joins = [
    joined(-1, { ...REFUSED, errorCode: 14 }),
    joined(-1, { ...REFUSED, errorCode: 16 }),
    new ConnectionError('gone'),
    joined(-1, { ...REFUSED, errorCode: 27 }),
    joined(3),
  ]
  setup.syncs = [27, 16, 0]
  await setup.join()
  assert.equal(setup.cluster.requests(JoinGroup).length, 7)
  // Not for a coordinator that is only loading.
  assert.deepEqual(setup.cluster.forgotten, ['group g', 'group g', 'group g'])
})

test('what does not pass ends the join', async (t) => {
  for (const errorCode of [23, 24, 26, 30, 81, 82, -1]) {
    const setup = new Setup(t)
    setup.joins = [joined(-1, { ...REFUSED, errorCode })]
    const outcome = await setup.joining()
    assert.ok(outcome.kind === 'failed')
    assert.equal((outcome.error as Error & { code: number }).code, errorCode)
    assert.equal(setup.membership.isRejoinNeeded, true)
  }
  const other = new Setup(t)
  other.joins = [joined(1, { protocolType: 'connect' })]
  assert.equal((await other.joining()).kind, 'failed')
})

test('a member that the group has forgotten has lost what it owned', async (t) => {
  const setup = new Setup(t)
  await setup.join()
  setup.joins = [joined(-1, { ...REFUSED, errorCode: 25, memberId: 'me' }), joined(5)]
  setup.membership.requestRejoin('test')
  assert.equal((await setup.joining()).kind, 'lost')
  assert.equal(setup.membership.generationId, -1)
  assert.equal((await setup.joining()).kind, 'joined')
  assert.equal(setup.cluster.requests(JoinGroup).at(-1)?.memberId, '')

  // In the middle, when the assignment is asked for.
  setup.syncs = [22, 0]
  setup.joins = [joined(6), joined(7)]
  setup.membership.requestRejoin('test')
  assert.equal((await setup.joining()).kind, 'lost')
  assert.equal((await setup.joining()).kind, 'joined')
  // It is still known by its id.
  assert.equal(setup.cluster.requests(JoinGroup).at(-1)?.memberId, 'me')
})

test('heartbeats: what is over, what is fenced, what passes', async (t) => {
  for (const [errorCode, memberId] of [
    [22, 'me'],
    [25, ''],
  ] as const) {
    const setup = new Setup(t)
    await setup.join()
    setup.heartbeats = [15, new ConnectionError('gone'), 0, errorCode]
    await setup.beat(4)
    assert.equal(setup.membership.generationId, -1)
    assert.equal(setup.membership.memberId, memberId)
    assert.equal(setup.membership.isRejoinNeeded, true)
    assert.equal(setup.membership.takeFatal(), null)
    assert.equal(setup.cluster.forgotten.length, 2)
  }
  const fenced = new Setup(t, { groupInstanceId: 'static' })
  await fenced.join()
  fenced.heartbeats = [82]
  await fenced.beat(1)
  assert.equal((fenced.membership.takeFatal() as Error & { code: number }).code, 82)
  assert.equal(fenced.membership.generationId, -1)
})

test('a coordinator that has not been heard of for a session is looked for anew', async (t) => {
  const setup = new Setup(t)
  await setup.join()
  // It loads, which alone is no reason to ask another one.
  setup.heartbeats = [14]
  await setup.beat(5)
  assert.deepEqual(setup.cluster.forgotten, [])
  setup.clock.advance(1000)
  await setup.beat(7)
  assert.deepEqual(setup.cluster.forgotten, ['group g'])
  assert.equal(setup.membership.generationId, 1)
})

test('a program that does not ask for records leaves the group', async (t) => {
  const setup = new Setup(t, { rebalanceTimeoutMs: 300 })
  await setup.join()
  setup.hasPolled = false
  await until('it leaves', () => {
    setup.clock.advance(50)
    return setup.cluster.requests(LeaveGroup).length === 1
  })
  const [left] = setup.cluster.requests(LeaveGroup)
  assert.equal(left?.members[0]?.memberId, 'me')
  assert.match(left?.members[0]?.reason ?? '', /300 ms/)
  assert.equal(setup.membership.generationId, -1)
  // Only a dynamic member tells.
  const stays = new Setup(t, { groupInstanceId: 'static' })
  await stays.join()
  await stays.membership.leave('test')
  assert.equal(stays.cluster.requests(LeaveGroup).length, 0)
})

test('leaves in every version, also when nobody is there to be told', async (t) => {
  for (const version of [0, 2, 3, 5]) {
    const setup = new Setup(t)
    setup.cluster.versions.set('LeaveGroup', version)
    await setup.join()
    await setup.membership.leave('bye')
    const [left] = setup.cluster.requests(LeaveGroup)
    assert.equal(version < 3 ? left?.memberId : left?.members[0]?.memberId, 'me')
  }
  const alone = new Setup(t)
  await alone.join()
  alone.cluster.on(LeaveGroup, () => {
    throw new ConnectionError('gone')
  })
  await alone.membership.leave('bye')
})

test('commits: tried again, refused while the group rebalances, in order', async (t) => {
  const setup = new Setup(t)
  await setup.join()
  const offset = { topic: 't', partition: 0, offset: 3, leaderEpoch: 2, metadata: 'm' }
  const how = { timeoutMs: 1000, isMember: true }
  setup.commits = [14, 16, 3, 0]
  await setup.membership.commit([offset], how)
  assert.equal(setup.cluster.requests(OffsetCommit).length, 4)
  setup.commits = [14, 0]
  const done: number[] = []
  await Promise.all(
    [1, 2, 3].map(async (n) => {
      await setup.membership.commit([{ ...offset, offset: n }], how)
      done.push(n)
    }),
  )
  assert.deepEqual(done, [1, 2, 3])
  setup.commits = [12]
  await assert.rejects(setup.membership.commit([offset], how), { code: 12 })
  setup.commits = [27]
  await assert.rejects(setup.membership.commit([offset], how), { code: 27 })
  assert.equal(setup.membership.isRejoinNeeded, true)
  // One that fails does not hold up the next.
  setup.commits = [0]
  await setup.membership.commit([offset], how)
  setup.commits = [22]
  await assert.rejects(setup.membership.commit([offset], how), { code: 22 })
  assert.equal(setup.membership.generationId, -1)
  await assert.rejects(setup.membership.commit([offset], how), { code: 25 })
  // Without a group's partitions nobody can have taken them.
  setup.commits = [0]
  await setup.membership.commit([offset], { ...how, isMember: false })
  assert.equal(setup.cluster.requests(OffsetCommit).at(-1)?.generationIdOrMemberEpoch, -1)
})

test('a commit does not wait behind a join', async (t) => {
  const setup = new Setup(t)
  await setup.join()
  let release = (): void => undefined
  setup.cluster.on(JoinGroup, async () => {
    await new Promise<void>((resolve) => {
      release = resolve
    })
    return joined(2)
  })
  setup.membership.requestRejoin('test')
  const joining = setup.membership.join(() => SUBSCRIPTION)
  const offset = { topic: 't', partition: 0, offset: 3 }
  // Its retries end with the first error that does not pass.
  await assert.rejects(setup.membership.commit([offset], { timeoutMs: 100, isMember: true }), {
    code: 27,
  })
  release()
  await joining
})

test('a join that is answered after the member has left makes it no member again', async (t) => {
  const setup = new Setup(t)
  await setup.join()
  let release = (): void => undefined
  setup.cluster.on(JoinGroup, async () => {
    await new Promise<void>((resolve) => {
      release = resolve
    })
    return joined(2)
  })
  setup.membership.requestRejoin('test')
  const joining = setup.membership.join(() => SUBSCRIPTION)
  await until('it joins', () => setup.cluster.requests(JoinGroup).length === 2)
  await setup.membership.leave('bye')
  release()
  assert.notEqual((await joining).kind, 'joined')
  assert.deepEqual([setup.membership.generationId, setup.membership.memberId], [-1, ''])
  assert.equal(setup.cluster.requests(SyncGroup).length, 1)
})

test('committed offsets in every version', async (t) => {
  for (let version = 1; version <= 9; version += 1) {
    const setup = new Setup(t)
    setup.cluster.versions.set('OffsetFetch', version)
    let errorCode = 0
    setup.cluster.on(OffsetFetch, () => {
      const answer = { committedOffset: 5, committedLeaderEpoch: 2, metadata: 'm', errorCode: 0 }
      const topics = [{ name: 't', partitions: [{ partitionIndex: 3, ...answer }] }]
      const inPartition = version < 2 ? errorCode : 0
      for (const one of topics[0]?.partitions ?? []) one.errorCode = inPartition
      return version >= 8
        ? { groups: [{ groupId: 'g', topics, errorCode }] }
        : { topics, errorCode }
    })
    const [found] = await setup.membership.committed([{ topic: 't', partition: 3 }])
    const leaderEpoch = version >= 5 ? 2 : -1
    assert.deepEqual(found, { topic: 't', partition: 3, offset: 5, leaderEpoch, metadata: 'm' })
    errorCode = 16
    await assert.rejects(setup.membership.committed([{ topic: 't', partition: 3 }]), { code: 16 })
    assert.deepEqual(setup.cluster.forgotten, ['group g'])
  }
})

test('the leader shares out, and sees when topics change', async (t) => {
  const setup = new Setup(t)
  const metadata = encodeConsumerSubscription({
    ...{ topics: ['t'], userData: null, ownedPartitions: [], generationId: -1, rackId: null },
  })
  const members = ['me', 'you'].map((memberId) => ({ memberId, metadata }))
  setup.joins = [joined(1, { leader: 'me', members })]
  await setup.join()
  const [sync] = setup.cluster.requests(SyncGroup)
  const shares = sync?.assignments.map(({ memberId, assignment }) => {
    return [memberId, decodeConsumerAssignment(assignment).assignedPartitions[0]?.partitions]
  })
  assert.deepEqual(shares, [
    ['me', [0]],
    ['you', [1]],
  ])
  assert.deepEqual(setup.membership.topicsToWatch, ['t'])
  setup.membership.checkTopics(new Map([['t', { partitionCount: 2 }]]))
  assert.equal(setup.membership.isRejoinNeeded, false)
  setup.membership.checkTopics(new Map([['t', { partitionCount: 3 }]]))
  assert.equal(setup.membership.isRejoinNeeded, true)
  // A leader that came back under its instance id must not share out again (KIP-814).
  setup.joins = [joined(1, { leader: 'me', members, skipAssignment: true })]
  await setup.joining()
  assert.deepEqual(setup.cluster.requests(SyncGroup).at(-1)?.assignments, [])
  assert.deepEqual(setup.membership.topicsToWatch, ['t'])
})
