/**
 * Random histories of members that join, sync, commit, crash and leave, of coordinators that are
 * replaced, and of a log whose appends fail and take their time. Whatever happens: no partition is
 * owned twice in a generation, no generation comes back, no acknowledged commit is lost, and
 * nobody waits for ever. One seed replays one history: SHARDLOG_SEED, SHARDLOG_RUNS.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { JoinResult, SyncResult } from '../../src/group/group-metadata.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { CLIENT, createHarness, type Harness, joinRequest, settle } from './harness.ts'

const PARTITIONS = 8
const STEPS = 120
const RUNS = Number(process.env['SHARDLOG_RUNS'] ?? 2000)
const FIRST_SEED = Number(process.env['SHARDLOG_SEED'] ?? 1)

interface World {
  readonly harness: Harness
  readonly random: SeededRandom
  /** Generation → partition → member that was given it. */
  readonly owners: Map<number, Map<number, string>>
  /** Partition → offsets that may be read: the last acknowledged one and what came after. */
  readonly committed: Map<number, Set<number>>
  /** Highest that was synced. */
  generation: number
  readonly violations: string[]
  waiting: number
  nextOffset: number
}

/** A client that follows the protocol, until it crashes. */
class Member {
  readonly #world: World
  readonly #instanceId: string | null
  readonly #version: number
  #memberId = ''
  #generation = -1
  #assigned: readonly number[] = []
  #state: 'out' | 'joining' | 'in' | 'gone' = 'out'

  constructor(world: World, instanceId: string | null, version: number) {
    this.#world = world
    this.#instanceId = instanceId
    this.#version = version
  }

  get isGone(): boolean {
    return this.#state === 'gone'
  }

  crash(): void {
    this.#state = 'gone'
  }

  step(): void {
    const { random } = this.#world
    if (this.#state === 'out') {
      void this.#join()
      return
    }
    if (this.#state !== 'in') return
    const dice = random.integer(20)
    if (dice < 9) this.#heartbeat()
    else if (dice < 16) void this.#commit()
    else if (dice < 17) this.#leave()
    else if (dice < 18) void this.#join()
    else if (dice < 19) this.crash()
  }

  async #await<T>(promise: Promise<T>): Promise<T> {
    this.#world.waiting += 1
    try {
      return await promise
    } finally {
      this.#world.waiting -= 1
    }
  }

  #lost(errorCode: number): void {
    if (this.#state === 'gone') return
    this.#state = 'out'
    this.#assigned = []
    if (errorCode === ErrorCode.UNKNOWN_MEMBER_ID || errorCode === ErrorCode.FENCED_INSTANCE_ID) {
      this.#memberId = ''
      this.#generation = -1
    }
  }

  async #join(): Promise<void> {
    const { harness } = this.#world
    this.#state = 'joining'
    const result = await this.#await<JoinResult>(
      harness.groups.joinGroup(
        joinRequest({ memberId: this.#memberId, groupInstanceId: this.#instanceId }),
        CLIENT,
        { requiresKnownMemberId: this.#version >= 4, skipsAssignment: this.#version >= 9 },
      ),
    )
    if (this.isGone) return
    if (result.errorCode === ErrorCode.MEMBER_ID_REQUIRED) {
      this.#memberId = result.memberId
      this.#state = 'out'
      return
    }
    if (result.errorCode !== 0) {
      this.#lost(result.errorCode)
      return
    }
    this.#memberId = result.memberId
    this.#generation = result.generationId
    const isLeader = result.leader === result.memberId && !result.skipAssignment
    await this.#sync(isLeader ? result : null)
  }

  async #sync(join: JoinResult | null): Promise<void> {
    const members = join?.members ?? []
    const assignments = members.map(({ memberId }, i) => ({
      memberId,
      assignment: Buffer.from(
        Array.from({ length: PARTITIONS }, (_, partition) => partition).filter(
          (partition) => partition % members.length === i,
        ),
      ),
    }))
    const generation = this.#generation
    const result = await this.#await<SyncResult>(
      this.#world.harness.groups.syncGroup({
        groupId: 'g',
        generationId: generation,
        memberId: this.#memberId,
        groupInstanceId: this.#instanceId,
        protocolType: 'consumer',
        protocolName: 'range',
        assignments,
      }),
    )
    if (result.errorCode === 0) {
      // One that was never synced is not stored, and may be given again after a change of
      // coordinator; one that was synced must not come back.
      const { generation: last, violations } = this.#world
      if (generation < last) violations.push(`generation ${generation} after ${last}`)
      this.#world.generation = Math.max(last, generation)
      this.#own(generation, [...result.assignment])
    }
    if (this.isGone) return
    if (result.errorCode !== 0) {
      this.#lost(result.errorCode)
      return
    }
    this.#assigned = [...result.assignment]
    this.#state = 'in'
  }

  /** A static member that came back owns what its former self was given. */
  #own(generation: number, partitions: readonly number[]): void {
    const { owners } = this.#world
    const owned = owners.get(generation) ?? new Map<number, string>()
    owners.set(generation, owned)
    const who = this.#instanceId ?? this.#memberId
    for (const partition of partitions) {
      const other = owned.get(partition)
      if (other !== undefined && other !== who) {
        this.#world.violations.push(
          `partition ${partition} of generation ${generation} belongs to ${other} and to ${who}`,
        )
      }
      owned.set(partition, who)
    }
  }

  #heartbeat(): void {
    const errorCode = this.#world.harness.groups.heartbeat({
      groupId: 'g',
      generationId: this.#generation,
      memberId: this.#memberId,
      groupInstanceId: this.#instanceId,
    })
    if (errorCode !== 0) this.#lost(errorCode)
  }

  async #commit(): Promise<void> {
    const { harness, random, committed } = this.#world
    const partition = this.#assigned[random.integer(this.#assigned.length || 1)]
    if (partition === undefined) return
    this.#world.nextOffset += 1
    const offset = this.#world.nextOffset
    const possible = committed.get(partition) ?? new Set([-1])
    committed.set(partition, possible)
    possible.add(offset)
    const [errorCode] = await this.#await(
      harness.groups.commitOffsets({
        groupId: 'g',
        generationId: this.#generation,
        memberId: this.#memberId,
        groupInstanceId: this.#instanceId,
        retentionMs: -1,
        offsets: [
          { topic: 't', partition, offset, leaderEpoch: -1, metadata: '', timestampMs: -1 },
        ],
      }),
    )
    // Acknowledged: what was asked for before it cannot come back.
    if (errorCode === 0) {
      for (const older of possible) if (older < offset) possible.delete(older)
    } else {
      this.#lost(errorCode as number)
    }
  }

  #leave(): void {
    const { harness } = this.#world
    harness.groups.leaveGroup('g', [
      { memberId: this.#memberId, groupInstanceId: this.#instanceId },
    ])
    this.#lost(ErrorCode.UNKNOWN_MEMBER_ID)
  }
}

function checkCommits(world: World): void {
  const [errorCode, offsets] = world.harness.groups.fetchOffsets('g')
  if (errorCode !== 0) return
  for (const [partition, possible] of world.committed) {
    const found = offsets.get('t')?.get(partition)?.offset ?? -1
    assert.ok(
      possible.has(found),
      `partition ${partition} is at ${found}, not one of ${[...possible].join(', ')}`,
    )
  }
}

async function run(seed: number): Promise<void> {
  const random = new SeededRandom(seed)
  const harness = await createHarness({
    config: { groupInitialRebalanceDelayMs: random.integer(2) * 3000, groupMaxSize: 4 },
  })
  const world: World = {
    harness,
    random,
    owners: new Map(),
    committed: new Map(),
    generation: 0,
    violations: [],
    waiting: 0,
    nextOffset: 0,
  }
  const held: (() => void)[] = []
  const failing = random.integer(3) === 0
  harness.log.failure = () =>
    failing && random.integer(10) === 0
      ? ([
          ErrorCode.NOT_ENOUGH_REPLICAS,
          ErrorCode.REQUEST_TIMED_OUT,
          ErrorCode.KAFKA_STORAGE_ERROR,
        ][random.integer(3)] ?? 0)
      : 0
  harness.log.delay = () =>
    random.integer(3) === 0 ? new Promise((resolve) => held.push(resolve)) : Promise.resolve()
  let members: Member[] = []
  const statics = random.integer(3)
  try {
    for (let i = 0; i < STEPS; i += 1) {
      members = members.filter((member) => !member.isGone)
      const dice = random.integer(100)
      if (members.length === 0 || (dice < 8 && members.length < 5)) {
        const instanceId = random.integer(4) < statics ? `s${random.integer(2)}` : null
        members.push(new Member(world, instanceId, random.integer(10)))
      } else if (dice < 10) {
        // Commits that are on their way have their answer when the new coordinator reads.
        for (const release of held.splice(0)) release()
        await settle()
        await harness.restart()
      } else if (dice < 30) {
        harness.clock.advance(random.integer(4000))
      } else if (dice < 45) {
        held.splice(random.integer(held.length || 1), 1)[0]?.()
      } else {
        members[random.integer(members.length)]?.step()
      }
      await settle()
      assert.deepEqual(world.violations, [])
      checkCommits(world)
    }
    for (const member of members) member.crash()
    harness.log.delay = () => Promise.resolve()
    harness.log.failure = () => 0
    for (let i = 0; i < 40 && world.waiting > 0; i += 1) {
      for (const release of held.splice(0)) release()
      harness.clock.advance(20_000)
      await settle()
    }
    assert.equal(world.waiting, 0, 'somebody still waits')
    await harness.restart()
    checkCommits(world)
  } finally {
    harness.close()
  }
}

test(`${RUNS} random histories of a group`, async () => {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed += 1) {
    try {
      await run(seed)
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error })
    }
  }
})
