/** Joining, syncing, heartbeats, leaving: what each request is answered in each state. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JoinResult, SyncResult } from '../../src/group/group-metadata.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import {
  CLIENT,
  createHarness,
  type Harness,
  isPending,
  joinRequest,
  NEW,
  OLD,
  pass,
  settle,
  stableGroup,
  watch,
} from './harness.ts'

function heartbeat(harness: Harness, memberId: string, generationId: number, instance?: string) {
  return harness.groups.heartbeat({
    groupId: 'g',
    generationId,
    memberId,
    groupInstanceId: instance ?? null,
  })
}

function sync(
  harness: Harness,
  memberId: string,
  generationId: number,
  assignments: { memberId: string; assignment: Buffer }[] = [],
): Promise<SyncResult> {
  return harness.groups.syncGroup({
    groupId: 'g',
    generationId,
    memberId,
    groupInstanceId: null,
    protocolType: null,
    protocolName: null,
    assignments,
  })
}

async function with_(work: (harness: Harness) => Promise<void>, config = {}): Promise<void> {
  const harness = await createHarness({ config })
  try {
    await work(harness)
  } finally {
    harness.close()
  }
}

test('a join that cannot be is refused with its code', async () => {
  await with_(async ({ groups }) => {
    const cases: [object, number][] = [
      [{ groupId: '' }, ErrorCode.INVALID_GROUP_ID],
      [{ sessionTimeoutMs: 5999 }, ErrorCode.INVALID_SESSION_TIMEOUT],
      [{ sessionTimeoutMs: 1_800_001 }, ErrorCode.INVALID_SESSION_TIMEOUT],
      [{ protocols: [] }, ErrorCode.INCONSISTENT_GROUP_PROTOCOL],
      [{ protocolType: '' }, ErrorCode.INCONSISTENT_GROUP_PROTOCOL],
      [{ memberId: 'nobody' }, ErrorCode.UNKNOWN_MEMBER_ID],
    ]
    for (const [changes, errorCode] of cases) {
      const result = await groups.joinGroup(joinRequest(changes), CLIENT, OLD)
      assert.equal(result.errorCode, errorCode, JSON.stringify(changes))
      assert.equal(result.generationId, -1)
      assert.equal(result.protocolName, null)
    }
    assert.deepEqual(groups.listGroups([]), [0, []], 'nothing is left of them')
  })
})

test('a dynamic member is told its id first, and may use it for one session', async () => {
  await with_(async (harness) => {
    const { groups, clock } = harness
    const told = await groups.joinGroup(joinRequest(), CLIENT, NEW)
    assert.equal(told.errorCode, ErrorCode.MEMBER_ID_REQUIRED)
    assert.match(told.memberId, /^client-/)
    const join = watch(groups.joinGroup(joinRequest({ memberId: told.memberId }), CLIENT, NEW))
    clock.advance(3000)
    await settle()
    assert.equal(join.value?.errorCode, 0)
    assert.equal(join.value?.generationId, 1)
    const late = await groups.joinGroup(joinRequest({ groupId: 'h' }), CLIENT, NEW)
    clock.advance(10_001)
    const again = joinRequest({ groupId: 'h', memberId: late.memberId })
    assert.equal(
      (await groups.joinGroup(again, CLIENT, NEW)).errorCode,
      ErrorCode.UNKNOWN_MEMBER_ID,
    )
  })
})

test('the first rebalance waits for others, each newcomer prolongs it', async () => {
  await with_(async ({ groups, clock }) => {
    const first = watch(groups.joinGroup(joinRequest(), CLIENT, OLD))
    clock.advance(2900)
    const second = watch(groups.joinGroup(joinRequest(), CLIENT, OLD))
    clock.advance(200)
    await settle()
    assert.ok(isPending(first))
    clock.advance(3000)
    await settle()
    assert.equal(first.value?.generationId, 1)
    assert.equal(second.value?.generationId, 1)
    assert.equal(first.value?.leader, first.value?.memberId)
    assert.equal(first.value?.members.length, 2, 'only the leader is told who is there')
    assert.deepEqual(second.value?.members, [])
    assert.equal(second.value?.leader, first.value?.memberId)
  })
})

test('the protocol is one that all know, and the first choice of most', async () => {
  await with_(async ({ groups, clock }) => {
    const of = (...names: string[]) => ({
      protocols: names.map((name) => ({ name, metadata: Buffer.from(name) })),
    })
    const all = [of('a', 'b'), of('b', 'a'), of('b', 'a', 'c')].map((changes) =>
      watch(groups.joinGroup(joinRequest(changes), CLIENT, OLD)),
    )
    const stranger = await groups.joinGroup(joinRequest(of('z')), CLIENT, OLD)
    assert.equal(stranger.errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    const otherType = joinRequest({ protocolType: 'connect', ...of('a') })
    assert.equal(
      (await groups.joinGroup(otherType, CLIENT, OLD)).errorCode,
      ErrorCode.INCONSISTENT_GROUP_PROTOCOL,
    )
    await pass(clock, 10_000)
    assert.deepEqual(
      all.map(({ value }) => value?.protocolName),
      ['b', 'b', 'b'],
    )
    assert.equal(String(all[0]?.value?.members[0]?.metadata), 'b')
  })
})

test('followers wait for the assignment of the leader; who is left out gets nothing', async () => {
  await with_(async (harness) => {
    const { groups, clock } = harness
    const joins = [0, 1, 2].map(() => watch(groups.joinGroup(joinRequest(), CLIENT, OLD)))
    await pass(clock, 8000)
    const [leader, follower, third] = joins.map(({ value }) => value as JoinResult)
    assert.ok(leader && follower && third)
    const early = watch(sync(harness, follower.memberId, 1))
    await settle()
    assert.ok(isPending(early))
    assert.equal((await sync(harness, leader.memberId, 2)).errorCode, ErrorCode.ILLEGAL_GENERATION)
    assert.equal((await sync(harness, 'nobody', 1)).errorCode, ErrorCode.UNKNOWN_MEMBER_ID)
    const result = await sync(harness, leader.memberId, 1, [
      { memberId: leader.memberId, assignment: Buffer.from('L') },
      { memberId: follower.memberId, assignment: Buffer.from('F') },
    ])
    assert.equal(String(result.assignment), 'L')
    await settle()
    assert.equal(String(early.value?.assignment), 'F')
    assert.equal((await sync(harness, third.memberId, 1)).assignment.length, 0)
    assert.equal(groups.describeGroup('g').state, 'Stable')
  })
})

test('heartbeats say what is going on', async () => {
  await with_(async (harness) => {
    const [leader, follower] = await stableGroup(harness, 2)
    assert.ok(leader && follower)
    assert.equal(heartbeat(harness, leader.memberId, 1), 0)
    assert.equal(heartbeat(harness, leader.memberId, 2), ErrorCode.ILLEGAL_GENERATION)
    assert.equal(heartbeat(harness, 'nobody', 1), ErrorCode.UNKNOWN_MEMBER_ID)
    assert.equal(heartbeat(harness, leader.memberId, 1, 'nowhere'), ErrorCode.UNKNOWN_MEMBER_ID)
    const other = { groupId: 'none', generationId: 1, memberId: 'x', groupInstanceId: null }
    assert.equal(harness.groups.heartbeat(other), ErrorCode.UNKNOWN_MEMBER_ID)
    void harness.groups.joinGroup(joinRequest(), CLIENT, OLD)
    assert.equal(heartbeat(harness, leader.memberId, 1), ErrorCode.REBALANCE_IN_PROGRESS)
    const joins = [leader, follower].map(({ memberId }) =>
      watch(harness.groups.joinGroup(joinRequest({ memberId }), CLIENT, OLD)),
    )
    await settle()
    assert.equal(joins[0]?.value?.generationId, 2)
    assert.equal(heartbeat(harness, leader.memberId, 2), 0, 'while the assignment is awaited')
  })
})

test('a member that is not heard of is dropped, and the others join again', async () => {
  await with_(async (harness) => {
    const [leader, follower] = await stableGroup(harness, 2)
    assert.ok(leader && follower)
    for (let i = 0; i < 3; i += 1) {
      harness.clock.advance(4000)
      heartbeat(harness, leader.memberId, 1)
    }
    assert.equal(heartbeat(harness, follower.memberId, 1), ErrorCode.UNKNOWN_MEMBER_ID)
    const again = await harness.groups.joinGroup(
      joinRequest({ memberId: leader.memberId }),
      CLIENT,
      OLD,
    )
    assert.equal(again.generationId, 2)
    assert.equal(again.members.length, 1)
  })
})

test('a rebalance drops who does not join again within its time-out', async () => {
  await with_(async (harness) => {
    const [leader, follower] = await stableGroup(harness, 2, { sessionTimeoutMs: 300_000 })
    assert.ok(leader && follower)
    const join = watch(
      harness.groups.joinGroup(
        joinRequest({ memberId: leader.memberId, sessionTimeoutMs: 300_000 }),
        CLIENT,
        OLD,
      ),
    )
    await settle()
    assert.ok(isPending(join), 'the other one may still come')
    harness.clock.advance(60_000)
    await settle()
    assert.equal(join.value?.generationId, 2)
    assert.equal(heartbeat(harness, follower.memberId, 1), ErrorCode.UNKNOWN_MEMBER_ID)
  })
})

test('a leader that never syncs is dropped, and so is who waits for nothing', async () => {
  await with_(async (harness) => {
    const { groups, clock } = harness
    const joins = [0, 1].map(() => watch(groups.joinGroup(joinRequest(), CLIENT, OLD)))
    await pass(clock, 8000)
    const [leader, follower] = joins.map(({ value }) => value as JoinResult)
    assert.ok(leader && follower)
    const waiting = watch(sync(harness, follower.memberId, 1))
    for (let i = 0; i < 8; i += 1) {
      clock.advance(8000)
      heartbeat(harness, leader.memberId, 1)
    }
    await settle()
    assert.equal(waiting.value?.errorCode, ErrorCode.REBALANCE_IN_PROGRESS)
    assert.equal(heartbeat(harness, leader.memberId, 1), ErrorCode.UNKNOWN_MEMBER_ID)
  })
})

test('a follower that joins again with the same gets the same, a leader starts anew', async () => {
  await with_(async (harness) => {
    const [leader, follower] = await stableGroup(harness, 2)
    assert.ok(leader && follower)
    const { groups } = harness
    const same = await groups.joinGroup(joinRequest({ memberId: follower.memberId }), CLIENT, OLD)
    assert.equal(same.generationId, 1)
    assert.deepEqual(same.members, [])
    assert.equal(groups.describeGroup('g').state, 'Stable')
    void groups.joinGroup(joinRequest({ memberId: leader.memberId }), CLIENT, OLD)
    assert.equal(groups.describeGroup('g').state, 'PreparingRebalance')
  })
})

test('static members come back without a rebalance, and their former selves are fenced', async () => {
  await with_(async (harness) => {
    const { groups, clock } = harness
    const instance = { groupInstanceId: 'one' }
    const join = watch(groups.joinGroup(joinRequest(instance), CLIENT, NEW))
    clock.advance(3000)
    await settle()
    const first = join.value as JoinResult
    assert.match(first.memberId, /^one-/)
    await groups.syncGroup({
      groupId: 'g',
      generationId: 1,
      memberId: first.memberId,
      groupInstanceId: 'one',
      protocolType: null,
      protocolName: null,
      assignments: [{ memberId: first.memberId, assignment: Buffer.from('mine') }],
    })
    const old = await groups.joinGroup(joinRequest(instance), CLIENT, {
      requiresKnownMemberId: true,
      skipsAssignment: false,
    })
    assert.equal(old.errorCode, 0)
    assert.equal(old.generationId, 1)
    assert.notEqual(old.memberId, first.memberId)
    assert.equal(old.leader, first.memberId, 'it must not believe that it leads')
    assert.deepEqual(old.members, [])
    const fresh = await groups.joinGroup(joinRequest(instance), CLIENT, NEW)
    assert.equal(fresh.skipAssignment, true)
    assert.equal(fresh.leader, fresh.memberId)
    assert.equal(fresh.members.length, 1)
    for (const fenced of [first.memberId, old.memberId]) {
      assert.equal(heartbeat(harness, fenced, 1, 'one'), ErrorCode.FENCED_INSTANCE_ID)
      const again = joinRequest({ ...instance, memberId: fenced })
      assert.equal(
        (await groups.joinGroup(again, CLIENT, NEW)).errorCode,
        ErrorCode.FENCED_INSTANCE_ID,
      )
      const [errorCode] = await groups.commitOffsets({
        groupId: 'g',
        generationId: 1,
        memberId: fenced,
        groupInstanceId: 'one',
        retentionMs: -1,
        offsets: [
          { topic: 't', partition: 0, offset: 1, leaderEpoch: -1, metadata: '', timestampMs: -1 },
        ],
      })
      assert.equal(errorCode, ErrorCode.FENCED_INSTANCE_ID)
    }
    assert.equal(heartbeat(harness, fresh.memberId, 1, 'one'), 0)
    await harness.restart()
    assert.equal(heartbeat(harness, fresh.memberId, 1, 'one'), 0, 'its new id is stored')
  })
})

test('members leave one by one or together, by id or by instance', async () => {
  await with_(async (harness) => {
    const { groups } = harness
    const [leader, follower] = await stableGroup(harness, 2)
    assert.ok(leader && follower)
    assert.deepEqual(groups.leaveGroup('', []), [ErrorCode.INVALID_GROUP_ID, []])
    assert.deepEqual(groups.leaveGroup('none', [{ memberId: 'x', groupInstanceId: null }]), [
      0,
      [ErrorCode.UNKNOWN_MEMBER_ID],
    ])
    const left = groups.leaveGroup('g', [
      { memberId: follower.memberId, groupInstanceId: null },
      { memberId: 'nobody', groupInstanceId: null },
      { memberId: '', groupInstanceId: 'nowhere' },
    ])
    assert.deepEqual(left, [0, [0, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.UNKNOWN_MEMBER_ID]])
    groups.leaveGroup('g', [{ memberId: leader.memberId, groupInstanceId: null }])
    await settle()
    assert.equal(groups.describeGroup('g').state, 'Empty')
    const told = await groups.joinGroup(joinRequest(), CLIENT, NEW)
    assert.deepEqual(
      groups.leaveGroup('g', [{ memberId: told.memberId, groupInstanceId: null }]),
      [0, [0]],
      'an id that was only given out',
    )
  })
})

test('a full group takes nobody else', async () => {
  await with_(
    async (harness) => {
      await stableGroup(harness, 2)
      const third = await harness.groups.joinGroup(joinRequest(), CLIENT, OLD)
      assert.equal(third.errorCode, ErrorCode.GROUP_MAX_SIZE_REACHED)
    },
    { groupMaxSize: 2 },
  )
})

test('protocol type and name are compared where a member says them', async () => {
  await with_(async (harness) => {
    const [leader] = await stableGroup(harness, 1)
    assert.ok(leader)
    const ask = (protocolType: string | null, protocolName: string | null) =>
      harness.groups.syncGroup({
        groupId: 'g',
        generationId: 1,
        memberId: leader.memberId,
        groupInstanceId: null,
        protocolType,
        protocolName,
        assignments: [],
      })
    assert.equal((await ask('consumer', 'range')).errorCode, 0)
    assert.equal((await ask('connect', 'range')).errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    assert.equal((await ask('consumer', 'other')).errorCode, ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
  })
})

test('an assignment that cannot be stored is not given to anybody', async () => {
  await with_(async (harness) => {
    const { groups, clock, log } = harness
    const join = watch(groups.joinGroup(joinRequest(), CLIENT, OLD))
    clock.advance(3000)
    await settle()
    const { memberId } = join.value as JoinResult
    for (const [stored, answered] of [
      [ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE],
      [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR],
      [ErrorCode.REQUEST_TIMED_OUT, ErrorCode.REBALANCE_IN_PROGRESS],
      [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.UNKNOWN_SERVER_ERROR],
    ] as const) {
      log.failure = () => stored
      const { generationId } = await groups.joinGroup(joinRequest({ memberId }), CLIENT, OLD)
      const result = await sync(harness, memberId, generationId, [
        { memberId, assignment: Buffer.from('x') },
      ])
      assert.equal(result.errorCode, answered)
      assert.equal(groups.describeGroup('g').state, 'PreparingRebalance')
    }
  })
})

test('when the coordinator moves, who waits is sent to the new one, which knows the group', async () => {
  await with_(async (harness) => {
    const [leader, follower] = await stableGroup(harness, 2)
    assert.ok(leader && follower)
    const join = watch(
      harness.groups.joinGroup(joinRequest({ memberId: leader.memberId }), CLIENT, OLD),
    )
    const old = harness.groups
    await harness.restart()
    assert.equal(join.value?.errorCode, ErrorCode.NOT_COORDINATOR)
    assert.equal(
      (await old.joinGroup(joinRequest(), CLIENT, OLD)).errorCode,
      ErrorCode.NOT_COORDINATOR,
    )
    const described = harness.groups.describeGroup('g')
    assert.equal(described.state, 'Stable')
    assert.equal(described.members.length, 2)
    assert.equal(String(described.members[0]?.assignment), described.members[0]?.memberId)
    assert.equal(heartbeat(harness, follower.memberId, 1), 0)
    harness.clock.advance(10_001)
    assert.equal(
      heartbeat(harness, follower.memberId, 1),
      ErrorCode.UNKNOWN_MEMBER_ID,
      'sessions go on from the load',
    )
  })
})
