/** A coordinator on a clock that the test moves and a log in memory. */
import {
  GroupCoordinator,
  type GroupCoordinatorConfig,
  type JoinRequest,
} from '../../src/group/group-coordinator.ts'
import type { JoinResult, SyncResult } from '../../src/group/group-metadata.ts'
import { OffsetStore } from '../../src/group/offset-store.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { type Logger, silentLogger } from '../../src/util/logger.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { MemoryInternalLog } from '../support/memory-internal-log.ts'

export const CONFIG: GroupCoordinatorConfig = {
  groupMinSessionTimeoutMs: 6000,
  groupMaxSessionTimeoutMs: 1_800_000,
  groupInitialRebalanceDelayMs: 3000,
  groupMaxSize: 100,
  offsetMetadataMaxBytes: 4096,
  offsetsRetentionMs: 7 * 86_400_000,
}

export interface Harness {
  readonly clock: ManualClock
  readonly timers: TimerQueue
  readonly log: MemoryInternalLog
  readonly topics: Map<string, number>
  groups: GroupCoordinator
  /** Another coordinator that loads what this one has stored. */
  restart(): Promise<void>
  close(): void
}

export async function createHarness(
  options: {
    readonly config?: Partial<GroupCoordinatorConfig>
    readonly log?: MemoryInternalLog
    readonly logger?: Logger
  } = {},
): Promise<Harness> {
  const clock = new ManualClock()
  const timers = new TimerQueue(clock)
  const log = options.log ?? new MemoryInternalLog()
  const topics = new Map([
    ['t', 8],
    ['u', 4],
  ])
  const logger = options.logger ?? silentLogger
  let ids = 0
  const start = async (): Promise<GroupCoordinator> => {
    const store = new OffsetStore({
      log,
      clock,
      logger,
      partitionCount: () => 1,
      loadBufferBytes: 1000,
      codec: 0,
      decompressionMaxBytes: 1e6,
    })
    const coordinator = new GroupCoordinator({
      config: { ...CONFIG, ...options.config },
      store,
      clock,
      timers,
      logger,
      uuid: () => {
        ids += 1
        return `id${ids}`
      },
      partitionExists: (topic, partition) => partition < (topics.get(topic) ?? 0),
    })
    await coordinator.becomeLeader(0)
    return coordinator
  }
  const harness: Harness = {
    clock,
    timers,
    log,
    topics,
    groups: await start(),
    async restart() {
      harness.groups.resign(0)
      harness.groups = await start()
    },
    close: () => timers.close(),
  }
  return harness
}

export const CLIENT = { clientId: 'client', clientHost: '/127.0.0.1' }
export const OLD = { requiresKnownMemberId: false, skipsAssignment: false }
export const NEW = { requiresKnownMemberId: true, skipsAssignment: true }

export function joinRequest(changes: Partial<JoinRequest> = {}): JoinRequest {
  return {
    groupId: 'g',
    memberId: '',
    groupInstanceId: null,
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 60_000,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: Buffer.from('000000000001000174ffffffff', 'hex') }],
    ...changes,
  }
}

/** Lets everything that is ready settle. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve()
}

/** A promise with what it came to, if it has. */
export function watch<T>(promise: Promise<T>): { value: T | null } {
  const watched: { value: T | null } = { value: null }
  void promise.then((value) => {
    watched.value = value
  })
  return watched
}

export interface Joined {
  readonly memberId: string
  readonly join: JoinResult
}

/** A group of `count` dynamic members that is stable; the first one leads. */
export async function stableGroup(
  harness: Harness,
  count: number,
  changes: Partial<JoinRequest> = {},
): Promise<Joined[]> {
  const joins = Array.from({ length: count }, () =>
    watch(harness.groups.joinGroup(joinRequest(changes), CLIENT, OLD)),
  )
  while (joins.some(({ value }) => value === null)) {
    harness.clock.advance(1000)
    await settle()
  }
  const members = joins.map(({ value }) => {
    const join = value as JoinResult
    return { memberId: join.memberId, join }
  })
  const syncs = members.map(({ memberId, join }) =>
    harness.groups.syncGroup({
      groupId: changes.groupId ?? 'g',
      generationId: join.generationId,
      memberId,
      groupInstanceId: null,
      protocolType: null,
      protocolName: null,
      assignments: members.map((one) => ({
        memberId: one.memberId,
        assignment: Buffer.from(one.memberId),
      })),
    }),
  )
  const results: SyncResult[] = await Promise.all(syncs)
  if (results.some(({ errorCode }) => errorCode !== 0)) throw new Error('the group is not stable')
  return members
}

/** Whether a watched promise has come to nothing yet. */
export function isPending(watched: { readonly value: unknown }): boolean {
  return watched.value === null
}

/** Lets time pass in small steps, so that timers run when they are due. */
export async function pass(clock: ManualClock, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 500) {
    clock.advance(Math.min(500, left))
    await settle()
  }
}
