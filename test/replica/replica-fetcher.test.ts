/**
 * A follower against a scripted leader: what it fetches in which session, how it becomes like its
 * leader whatever both had before (KIP-101, KIP-279), and what it does when something fails.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { LeaderAddress, LeaderLink } from '../../src/replica/leader-link.ts'
import { type FollowerLog, ReplicaFetcher } from '../../src/replica/replica-fetcher.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { testSeed } from '../support/seed.ts'
import { SimulatedLeader, SimulatedLog } from './simulated-log.ts'

const EPOCH = 5
const HISTORIES = 400

class Setting {
  readonly clock = new ManualClock()
  readonly timers = new TimerQueue(this.clock)
  readonly leader = new SimulatedLeader()
  readonly fetcher: ReplicaFetcher
  readonly lost: number[] = []
  readonly quota = {
    throttled: new Set<FollowerLog>(),
    isExceeded: false,
    bytes: 0,
    isThrottled: (log: FollowerLog): boolean => this.quota.throttled.has(log),
    record: (bytes: number): void => {
      this.quota.bytes += bytes
    },
  }
  address: LeaderAddress | undefined = { brokerId: 1, host: 'leader', port: 9092 }
  open: () => Promise<LeaderLink> = async () => this.leader.open()

  constructor(t: TestContext) {
    this.leader.leaderEpoch = EPOCH
    this.fetcher = new ReplicaFetcher({
      leaderId: 1,
      address: () => this.address,
      open: () => this.open(),
      brokerId: 2,
      brokerEpoch: () => 77,
      clusterId: 'cluster',
      ...{ maxWaitMs: 500, minBytes: 1, partitionMaxBytes: 1 << 20, maxBytes: 10 << 20 },
      backoffMs: 1000,
      ...{ timers: this.timers, clock: this.clock, logger: silentLogger },
      quota: this.quota,
      lost: (leaderId) => this.lost.push(leaderId),
    })
    t.after(() => {
      this.fetcher.close()
      this.timers.close()
    })
  }

  follow(log: SimulatedLog, epoch = EPOCH): void {
    log.followedEpoch = epoch
    this.fetcher.add(log, epoch)
  }

  /** Lets everything happen that does not wait for time or for the leader. */
  async settle(): Promise<void> {
    for (let i = 0; i < 60; i += 1) {
      for (const link of this.leader.links) link.look()
      await turn()
    }
  }
}

function pair(leader: readonly number[], follower: readonly number[]) {
  return {
    led: new SimulatedLog({ epochs: leader, highWatermark: leader.length }),
    log: new SimulatedLog({ epochs: follower }),
  }
}

test('a follower gets everything, and then asks for nothing but news', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([1, 1, 1, 2, 2, 5, 5, 5], [])
  setting.leader.add(led)
  setting.follow(log)
  await setting.settle()
  assert.deepEqual(log.epochs, led.epochs)
  assert.equal(log.highWatermark, 8)
  const [first] = setting.leader.requests
  assert.deepEqual(first?.replicaState, { replicaId: 2, replicaEpoch: 77 })
  assert.equal(first?.sessionEpoch, 0)
  setting.leader.release()
  await setting.settle()
  const idle = setting.leader.requests.at(-1)
  assert.deepEqual([idle?.topics, idle?.forgottenTopicsData], [[], []])
  assert.ok((idle?.sessionEpoch ?? 0) > 0)

  led.epochs.push(5, 5)
  await setting.settle()
  assert.equal(log.logEnd, 10)
  assert.equal(log.highWatermark, 8)
  led.highWatermark = 10
  await setting.settle()
  assert.equal(log.highWatermark, 10)
  assert.deepEqual(log.cuts, [])
  assert.equal(setting.leader.connections, 1)
})

test('a partition that is added is asked for behind the fetch that waits', async (t) => {
  const setting = new Setting(t)
  const logs = [0, 1, 2].map((partition) => {
    setting.leader.add(new SimulatedLog({ partition, epochs: [5, 5], highWatermark: 2 }))
    return new SimulatedLog({ partition })
  })
  setting.follow(logs[0] as SimulatedLog)
  await setting.settle()
  setting.follow(logs[1] as SimulatedLog)
  setting.follow(logs[2] as SimulatedLog)
  await setting.settle()
  for (const log of logs) assert.deepEqual(log.epochs, [5, 5])
  setting.fetcher.remove(logs[1] as SimulatedLog)
  setting.leader.release()
  await setting.settle()
  const forgotten = setting.leader.requests.flatMap((one) => one.forgottenTopicsData ?? [])
  assert.deepEqual(forgotten, [{ topicId: 'id-of-t', partitions: [1] }])
})

const histories: readonly {
  readonly name: string
  readonly leader: readonly number[]
  readonly follower: readonly number[]
  readonly cuts: readonly number[]
}[] = [
  // It had not heard of the high watermark; cutting there would lose what is committed.
  { name: 'KIP-101, a restarted follower', leader: [0, 0, 0], follower: [0, 0, 0], cuts: [] },
  { name: 'KIP-101, a deposed leader', leader: [0, 0, 1], follower: [0, 0, 0, 0], cuts: [2] },
  // Two elections, each leader with a tail that the other does not have.
  { name: 'KIP-279', leader: [0, 0, 2, 2], follower: [0, 0, 1, 1, 1], cuts: [2] },
  { name: 'several steps', leader: [1, 3, 3, 5], follower: [1, 2, 2, 4, 4], cuts: [3, 1] },
  { name: 'nothing in common', leader: [3, 3], follower: [1, 1, 1], cuts: [0] },
  { name: 'a longer tail of the same epoch', leader: [1, 1], follower: [1, 1, 1], cuts: [2] },
]

for (const { name, leader, follower, cuts } of histories) {
  test(`a follower becomes like its leader: ${name}`, async (t) => {
    const setting = new Setting(t)
    const { led, log } = pair(leader, follower)
    led.begun = [[EPOCH, leader.length]]
    setting.leader.add(led)
    setting.follow(log)
    await setting.settle()
    assert.deepEqual(log.epochs, leader)
    assert.deepEqual(log.cuts, cuts)
  })
}

test('a follower becomes like its leader, whatever both had', async (t) => {
  const first = testSeed()
  for (let i = 0; i < HISTORIES; i += 1) {
    const random = new SeededRandom(first + i)
    // Epochs in which somebody else led are missing, and so are those that left no record.
    const tail = (from: number, mine: boolean): number[] => {
      const epochs: number[] = []
      for (let epoch = from; epoch < EPOCH; epoch += 1) {
        if (random.integer(2) === 0) continue
        const own = epoch * 2 + (mine ? 0 : 1)
        epochs.push(...Array.from({ length: random.integer(4) }, () => own))
      }
      return epochs
    }
    const common = tail(0, true).slice(0, random.integer(8))
    const next = Math.floor((common.at(-1) ?? 0) / 2) + 1
    const leader = [...common, ...tail(next, true)]
    const follower = [...common, ...tail(next, false)]
    const setting = new Setting(t)
    setting.leader.leaderEpoch = EPOCH * 2
    const { led, log } = pair(leader, follower)
    led.begun = [[EPOCH * 2, leader.length]]
    setting.leader.add(led)
    setting.follow(log, EPOCH * 2)
    await setting.settle()
    const text = `SHARDLOG_TEST_SEED=${first + i}: ${leader} and ${follower}`
    assert.deepEqual(log.epochs, leader, text)
    for (const cut of log.cuts) assert.ok(cut >= common.length, text)
    setting.fetcher.close()
  }
})

test('a log that ends before its leader begins starts anew there', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([2, 2, 5], [1, 1])
  led.logStart = 100
  led.highWatermark = 103
  setting.leader.add(led)
  log.followedEpoch = EPOCH
  // Its last epoch is before all that the leader knows, which begins later.
  setting.follow(log)
  await setting.settle()
  assert.deepEqual([log.logStart, log.epochs], [100, [2, 2, 5]])
  assert.deepEqual(log.cuts, [100])
})

test('a log follows the start of its leader, and tells of it', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([5, 5, 5, 5], [])
  setting.leader.add(led)
  setting.follow(log)
  await setting.settle()
  led.epochs.splice(0, 2)
  led.logStart = 2
  await setting.settle()
  assert.equal(log.logStart, 2)
  const told = setting.leader.requests.flatMap((one) => one.topics[0]?.partitions ?? [])
  assert.equal(told.at(-1)?.logStartOffset, 2)
})

test('a session that the leader forgot begins anew', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([5, 5], [])
  setting.leader.add(led)
  setting.follow(log)
  await setting.settle()
  setting.leader.sessionsLost = true
  led.epochs.push(5)
  await setting.settle()
  setting.leader.release()
  await setting.settle()
  assert.equal(log.logEnd, 3)
  const epochs = setting.leader.requests.map((one) => one.sessionEpoch)
  assert.ok(epochs.filter((epoch) => epoch === 0).length === 2, `${epochs}`)
  assert.equal(setting.leader.connections, 1)
  assert.deepEqual(setting.lost, [])
})

test('a leader without room for sessions is told everything each time', async (t) => {
  const setting = new Setting(t)
  setting.leader.hasSessions = false
  const logs = [0, 1].map((partition) => {
    setting.leader.add(new SimulatedLog({ partition, epochs: [5, 5, 5, 5, 5], highWatermark: 5 }))
    const log = new SimulatedLog({ partition })
    setting.follow(log)
    return log
  })
  await setting.settle()
  for (const log of logs) assert.equal(log.logEnd, 5)
  for (const { sessionEpoch, topics } of setting.leader.requests) {
    assert.equal(sessionEpoch, 0)
    assert.equal(topics[0]?.partitions.length, 2)
  }
})

test('a lost link is told of, and made again soon, then less often', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([5, 5], [])
  setting.leader.add(led)
  setting.follow(log)
  await setting.settle()
  let attempts = 0
  setting.open = () => {
    attempts += 1
    return Promise.reject(new Error('refused'))
  }
  setting.leader.fail()
  await setting.settle()
  assert.deepEqual(setting.lost, [1])
  for (let ms = 0; ms < 10_000; ms += 10) {
    setting.clock.advance(10)
    await turn()
  }
  assert.ok(attempts >= 12 && attempts <= 18, `${attempts}`)
  assert.equal(setting.lost.length, attempts + 1)
  // The leader is back, in another place: nobody waits for the end of the pause.
  setting.open = async () => setting.leader.open()
  led.epochs.push(5)
  led.highWatermark = 3
  setting.fetcher.reconnect()
  await setting.settle()
  assert.equal(log.logEnd, 3)
  assert.equal(setting.leader.requests.at(-1)?.sessionEpoch === 0, false)
})

test('an attempt to reach the old place of a leader ends nothing', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([5, 5], [])
  setting.leader.add(led)
  let resolveOld: (link: LeaderLink) => void = () => undefined
  setting.open = () =>
    new Promise((resolve) => {
      resolveOld = resolve
    })
  setting.follow(log)
  await setting.settle()
  setting.open = async () => setting.leader.open()
  setting.fetcher.reconnect()
  await setting.settle()
  assert.equal(log.logEnd, 2)
  const late = setting.leader.open()
  resolveOld(late)
  await setting.settle()
  assert.ok(late.isClosed)
  led.epochs.push(5)
  await setting.settle()
  assert.equal(log.logEnd, 3)
})

test('a leader that is not known yet is connected to when it is', async (t) => {
  const setting = new Setting(t)
  setting.address = undefined
  const { led, log } = pair([5], [])
  setting.leader.add(led)
  setting.follow(log)
  await setting.settle()
  assert.equal(setting.leader.connections, 0)
  setting.address = { brokerId: 1, host: 'leader', port: 1 }
  setting.clock.advance(1000)
  await setting.settle()
  assert.equal(log.logEnd, 1)
  assert.deepEqual(setting.lost, [])
})

for (const errorCode of [
  ErrorCode.UNKNOWN_LEADER_EPOCH,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.UNKNOWN_TOPIC_ID,
  ErrorCode.KAFKA_STORAGE_ERROR,
]) {
  test(`a partition that answers error ${errorCode} is tried again, and holds up no other`, async (t) => {
    const setting = new Setting(t)
    const logs = [0, 1].map((partition) => {
      setting.leader.add(new SimulatedLog({ partition, epochs: [5, 5], highWatermark: 2 }))
      const log = new SimulatedLog({ partition })
      setting.follow(log)
      return log
    })
    setting.leader.errors.set(0, errorCode)
    await setting.settle()
    assert.deepEqual(
      logs.map((log) => log.logEnd),
      [0, 2],
    )
    setting.clock.advance(errorCode === ErrorCode.KAFKA_STORAGE_ERROR ? 1000 : 10)
    await setting.settle()
    setting.leader.errors.clear()
    setting.clock.advance(1000)
    await setting.settle()
    assert.equal(logs[0]?.logEnd, 2)
    assert.equal(setting.leader.connections, 1)
  })
}

test('what the log refuses is fetched again', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([5, 5], [])
  setting.leader.add(led)
  log.refuseAppends = 1
  setting.follow(log)
  await setting.settle()
  assert.equal(log.logEnd, 0)
  setting.clock.advance(1000)
  await setting.settle()
  assert.equal(log.logEnd, 2)
})

test('a cut for the leader before does not touch the log of the one after', async (t) => {
  const setting = new Setting(t)
  const { led, log } = pair([0, 0, 5], [0, 0, 1, 1])
  setting.leader.add(led)
  setting.follow(log)
  // As far as the answer that tells of the divergence, and no further.
  while (setting.leader.requests.length === 0) await turn()
  await turn()
  log.followedEpoch = EPOCH + 1
  setting.fetcher.remove(log)
  await setting.settle()
  assert.deepEqual(log.cuts, [])
  assert.deepEqual(log.epochs, [0, 0, 1, 1])
})

test('thousands of partitions that idle cost one empty request now and then', async (t) => {
  const setting = new Setting(t)
  const logs = Array.from({ length: 1667 }, (_, partition) => {
    setting.leader.add(new SimulatedLog({ partition, epochs: [5], highWatermark: 1 }))
    return new SimulatedLog({ partition })
  })
  for (const log of logs) setting.follow(log)
  await setting.settle()
  assert.ok(logs.every((log) => log.logEnd === 1))
  const before = setting.leader.requests.length
  assert.ok(before < 6, `${before}`)
  for (let i = 0; i < 10; i += 1) {
    setting.leader.release()
    await setting.settle()
  }
  const idle = setting.leader.requests.slice(before)
  assert.ok(idle.length >= 10 && idle.length <= 11)
  for (const { topics, forgottenTopicsData } of idle) {
    assert.deepEqual([topics, forgottenTopicsData], [[], []])
  }
})

test('throttled partitions that lag are left out while they have had their share', async (t) => {
  const setting = new Setting(t)
  const logs = [0, 1].map((partition) => {
    const epochs = Array.from({ length: 12 }, () => EPOCH)
    setting.leader.add(new SimulatedLog({ partition, epochs, highWatermark: 12 }))
    return new SimulatedLog({ partition })
  })
  const [throttled, other] = logs as [SimulatedLog, SimulatedLog]
  setting.quota.throttled.add(throttled)
  setting.quota.isExceeded = true
  for (const log of logs) setting.follow(log)
  await setting.settle()
  assert.deepEqual([throttled.logEnd, other.logEnd], [0, 12])
  setting.quota.isExceeded = false
  setting.clock.advance(200)
  await setting.settle()
  assert.equal(throttled.logEnd, 12)
  assert.equal(setting.quota.bytes, 12)
  // In sync it is not held up.
  setting.quota.isExceeded = true
  const led = setting.leader.logs.get('id-of-t-0') as SimulatedLog
  led.epochs.push(EPOCH)
  await setting.settle()
  assert.equal(throttled.logEnd, 13)
})
