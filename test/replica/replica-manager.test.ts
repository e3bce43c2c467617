/**
 * What a broker does with what the controller tells it, on real logs: roles, epochs, topic ids,
 * logs that are missing or broken, deletion, expiry of the session, and what is kept over a restart.
 */
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { buildBatch } from '../../src/log/record-format.ts'
import { addon } from '../../src/native/addon.ts'
import type { AppendResult } from '../../src/network/internal-connection.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { AlterPartitionRequest } from '../../src/protocol/messages/alter-partition.ts'
import type { LeaderAndIsrRequest } from '../../src/protocol/messages/leader-and-isr.ts'
import type { StopReplicaRequest } from '../../src/protocol/messages/stop-replica.ts'
import type { Partition } from '../../src/replica/partition.ts'
import type { ReplicaManagerOptions } from '../../src/replica/replica-manager.ts'
import { until } from '../support/until.ts'
import { Harness, topicConfig } from './harness.ts'
import { SimulatedLeader, SimulatedLog } from './simulated-log.ts'

const TOPIC_ID = 'AAAAAAAAAAAAAAAAAAAAAQ'
/** As in src/shard/published.ts. */
const ROW_WORDS = 8
const OFFLINE_WORD = 5
const OTHER_ID = 'AAAAAAAAAAAAAAAAAAAAAg'
const { FENCED_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER } = ErrorCode

interface Told {
  readonly topic?: string
  readonly topicId?: string
  readonly partition?: number
  readonly leader?: number
  readonly leaderEpoch?: number
  readonly partitionEpoch?: number
  readonly replicas?: readonly number[]
  readonly isr?: readonly number[]
}

function leaderAndIsr(told: readonly Told[], type = 0): LeaderAndIsrRequest {
  return {
    ...{ controllerId: 9, isKRaftController: false, controllerEpoch: 1, brokerEpoch: 1, type },
    ...{ ungroupedPartitionStates: [], liveLeaders: [] },
    topicStates: told.map((one) => ({
      topicName: one.topic ?? 't',
      topicId: one.topicId ?? TOPIC_ID,
      partitionStates: [
        {
          ...{ topicName: '', partitionIndex: one.partition ?? 0, controllerEpoch: 1 },
          ...{ leader: one.leader ?? 0, leaderEpoch: one.leaderEpoch ?? 1 },
          ...{ partitionEpoch: one.partitionEpoch ?? 0, isr: [...(one.isr ?? [0, 1, 2])] },
          ...{ replicas: [...(one.replicas ?? [0, 1, 2])], addingReplicas: [] },
          ...{ removingReplicas: [], isNew: false, leaderRecoveryState: 0 },
        },
      ],
    })),
  }
}

function stopReplica(
  partitions: readonly {
    topic?: string
    partition?: number
    epoch?: number
    isDeleted?: boolean
  }[],
): StopReplicaRequest {
  return {
    ...{ controllerId: 9, isKRaftController: false, controllerEpoch: 1, brokerEpoch: 1 },
    ...{ deletePartitions: false, ungroupedPartitions: [], topics: [] },
    topicStates: partitions.map(({ topic = 't', partition = 0, epoch = 1, isDeleted = false }) => ({
      topicName: topic,
      partitionStates: [
        { partitionIndex: partition, leaderEpoch: epoch, deletePartition: isDeleted },
      ],
    })),
  }
}

class Setting {
  readonly harness: Harness
  readonly changed: string[]
  readonly asked: AlterPartitionRequest[]
  readonly failures: number[]

  private constructor(harness: Harness, kept: Pick<Setting, 'changed' | 'asked' | 'failures'>) {
    this.harness = harness
    this.changed = kept.changed
    this.asked = kept.asked
    this.failures = kept.failures
  }

  static async start(
    t: TestContext,
    options: {
      threaded?: boolean
      path?: string
      roles?: Partial<ReplicaManagerOptions>
      configs?: Readonly<Record<string, string>>
    } = {},
  ): Promise<Setting> {
    const kept = {
      changed: [] as string[],
      asked: [] as AlterPartitionRequest[],
      failures: [] as number[],
    }
    const harness = await Harness.start(t, {
      ...options,
      roles: {
        epochOf: (id) => 100 + id,
        roleChanged: ({ topic, partition, isLeader, leaderId }) =>
          kept.changed.push(`${topic}-${partition} ${isLeader ? 'leads' : leaderId}`),
        logDirFailed: () => kept.failures.push(1),
        topicConfig: () => topicConfig({ 'cleanup.policy': 'delete', ...options.configs }),
        controller: {
          alterPartition: (request) => {
            kept.asked.push(request)
            return new Promise(() => undefined)
          },
        },
        ...options.roles,
      },
    })
    return new Setting(harness, kept)
  }

  async tell(...told: Told[]): Promise<number[]> {
    const answer = await this.harness.replicas.applyLeaderAndIsr(leaderAndIsr(told))
    assert.equal(answer.errorCode, 0)
    const byTopic = answer.topics.flatMap(({ partitionErrors }) => partitionErrors)
    const errors = answer.partitionErrors.map(({ errorCode }) => errorCode)
    assert.equal(byTopic.length, errors.length)
    return errors
  }

  async stop(...stops: Parameters<typeof stopReplica>[0]): Promise<number[]> {
    const answer = await this.harness.replicas.stopReplicas(stopReplica(stops))
    return answer.partitionErrors.map(({ errorCode }) => errorCode)
  }

  partition(topic = 't', number = 0): Partition {
    const partition = this.harness.replicas.partition(topic, number)
    assert.ok(partition)
    return partition
  }

  append(partition: Partition, acks: 1 | -1 = 1): Promise<AppendResult> {
    const records = [{ timestamp: 1, key: Buffer.from('k'), value: Buffer.alloc(20) }]
    return this.harness.transport.openInternal().append(partition.log, buildBatch(records, 0), {
      leaderEpoch: partition.leaderEpoch,
      acks,
      nowMs: this.harness.clock.nowMs(),
    })
  }

  fetched(brokerId: number, fetchOffset: number, partition = this.partition()): void {
    const fetch = { fetchOffset, logStart: partition.logStart, brokerEpoch: 100 + brokerId }
    this.harness.replicas.followerFetched(partition, brokerId, fetch)
  }
}

for (const threaded of [false, true]) {
  const where = threaded ? 'on a shard thread' : 'on the main thread'

  test(`leader, follower, leader again: what is committed and what is refused, ${where}`, async (t) => {
    const setting = await Setting.start(t, { threaded })
    assert.deepEqual(await setting.tell({}), [0])
    const partition = setting.partition()
    assert.ok(partition.isLeader && partition.isOnline)
    assert.equal(partition.topicId, TOPIC_ID)
    const metadata = join(setting.harness.path, 't-0', 'partition.metadata')
    setting.harness.clock.advance(1000)
    await until('the name', () => existsSync(metadata) && readFileSync(metadata).length > 40)
    assert.equal(readFileSync(metadata, 'utf8'), `version: 0\ntopic_id: ${TOPIC_ID}\n`)

    const waiting = setting.append(partition, -1)
    assert.equal((await setting.append(partition)).baseOffset, 1)
    assert.equal(partition.highWatermark, 0)
    setting.fetched(1, 2)
    setting.fetched(2, 1)
    assert.deepEqual(await waiting, { errorCode: 0, baseOffset: 0 })
    await until('the high watermark', () => partition.highWatermark === 1)

    const unanswered = setting.append(partition, -1)
    await setting.append(partition)
    assert.deepEqual(await setting.tell({ leader: 1, leaderEpoch: 2 }), [0])
    assert.equal((await unanswered).errorCode, NOT_LEADER_OR_FOLLOWER)
    assert.ok(partition.isFollower && !partition.isLeader)
    assert.equal((await setting.append(partition)).errorCode, NOT_LEADER_OR_FOLLOWER)
    // Whoever fetches now fetches from nobody.
    setting.fetched(1, 4)
    setting.fetched(2, 4)
    assert.equal(partition.highWatermark, 1)

    assert.deepEqual(await setting.tell({ leaderEpoch: 3 }), [0])
    assert.equal((await setting.append(partition)).errorCode, 0)
    assert.equal(partition.highWatermark, 1, 'kept over roles')
    const epochs = await setting.harness.replicas.control(partition, 'epochEndOffset', (log) => ({
      log,
      epoch: 2,
    }))
    assert.deepEqual(epochs, [1, 4])
    assert.deepEqual(setting.changed, ['t-0 leads', 't-0 1', 't-0 leads'])
  })
}

test('what is older than what is known is refused, and what is known changes nothing', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({ leaderEpoch: 5, partitionEpoch: 3 })
  const { leader } = setting.partition()
  assert.deepEqual(await setting.tell({ leaderEpoch: 4, partitionEpoch: 9 }), [FENCED_LEADER_EPOCH])
  assert.deepEqual(await setting.tell({ leaderEpoch: 5, partitionEpoch: 3 }), [0])
  assert.equal(setting.partition().leader, leader)
  // The same leadership with another ISR.
  assert.deepEqual(await setting.tell({ leaderEpoch: 5, partitionEpoch: 4, isr: [0, 1] }), [0])
  assert.equal(setting.partition().leader, leader)
  assert.deepEqual(setting.partition().isr, [0, 1])
  assert.equal(setting.partition().partitionEpoch, 4)
  assert.deepEqual(await setting.tell({ leaderEpoch: 5, partitionEpoch: 3, isr: [0] }), [0])
  assert.deepEqual(setting.partition().isr, [0, 1])
  assert.deepEqual(setting.changed, ['t-0 leads'])

  const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
  assert.deepEqual(await setting.tell({ partition: 7, replicas: [1, 2] }), [unknown])
  assert.equal(setting.harness.replicas.partition('t', 7), undefined)
})

test('a topic of the same name and another id is another topic', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({}, { topic: 'u', partition: 3 })
  assert.deepEqual(
    await setting.tell(
      { topicId: OTHER_ID, leaderEpoch: 7 },
      { topic: 'u', partition: 3, leaderEpoch: 7 },
    ),
    [ErrorCode.INCONSISTENT_TOPIC_ID, 0],
  )
  assert.equal(setting.partition().leaderEpoch, 1)
  assert.equal(setting.harness.replicas.partitionById(TOPIC_ID, 3)?.topic, 'u')
  assert.equal(setting.harness.replicas.partitionById(OTHER_ID, 0), undefined)
  // Once it is deleted it may come again.
  assert.deepEqual(await setting.stop({ isDeleted: true, epoch: -2 }), [0])
  assert.equal(setting.harness.replicas.partition('t', 0), undefined)
  assert.deepEqual(await setting.tell({ topicId: OTHER_ID, leaderEpoch: 0 }), [0])
  assert.equal(setting.partition().topicId, OTHER_ID)
})

test('a replica is stopped, and deleted, only in its own epoch or a later one', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({ leaderEpoch: 5 }, { partition: 1, leader: 2, leaderEpoch: 5 })
  const partition = setting.partition()
  await setting.append(partition)
  const waiting = setting.append(partition, -1)
  assert.deepEqual(await setting.stop({ epoch: 4 }), [FENCED_LEADER_EPOCH])
  assert.ok(partition.isLeader)
  assert.deepEqual(await setting.stop({ epoch: 5 }, { partition: 1, epoch: 5 }), [0, 0])
  assert.equal((await waiting).errorCode, NOT_LEADER_OR_FOLLOWER)
  assert.ok(!partition.isLeader && !partition.isFollower && partition.isOnline)
  assert.equal(setting.harness.replicas.followedLeaderCount, 0)
  // Told again, in the same epoch, it goes on.
  assert.deepEqual(await setting.tell({ leaderEpoch: 5, partitionEpoch: 1 }), [0])
  assert.ok(partition.isLeader)
  assert.equal(partition.logEnd, 2)

  assert.deepEqual(await setting.stop({ epoch: 6, isDeleted: true }), [0])
  assert.equal(setting.harness.replicas.partition('t', 0), undefined)
  assert.ok(!existsSync(join(setting.harness.path, 't-0')))
  assert.deepEqual(await setting.stop({ epoch: 6, isDeleted: true }), [0], 'once more')
  assert.deepEqual(await setting.stop({ topic: 'nobody', isDeleted: true }), [0])
  await setting.harness.close()
  const left = readdirSync(setting.harness.path).filter((name) => name.startsWith('t-'))
  assert.deepEqual(left, ['t-1'])
  const checkpoint = join(setting.harness.path, 'replication-offset-checkpoint')
  assert.equal(readFileSync(checkpoint, 'utf8'), '0\n1\nt 1 0\n')
})

test('when the session expires nothing is led or followed, until that is told anew', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({ leaderEpoch: 5 }, { partition: 1, leader: 2, leaderEpoch: 5 })
  const [led, followed] = [setting.partition(), setting.partition('t', 1)]
  const waiting = setting.append(led, -1)
  await setting.append(led)
  setting.harness.replicas.stopLeading()
  assert.equal((await waiting).errorCode, NOT_LEADER_OR_FOLLOWER)
  assert.equal((await setting.append(led)).errorCode, NOT_LEADER_OR_FOLLOWER)
  assert.deepEqual([led.isLeader, led.leaderId, followed.isFollower], [false, -1, false])
  assert.equal(setting.harness.replicas.followedLeaderCount, 0)
  // The fetch of a follower that has not heard of it.
  setting.fetched(1, 2)
  assert.equal(led.highWatermark, 0)
  assert.deepEqual(await setting.tell({ leaderEpoch: 4 }), [FENCED_LEADER_EPOCH])
  assert.deepEqual(await setting.tell({ leaderEpoch: 5 }), [0])
  assert.ok(led.isLeader)
  assert.equal((await setting.append(led)).errorCode, 0)
})

test('what was told before the session expired has no effect afterwards', async (t) => {
  const setting = await Setting.start(t, { threaded: true })
  const { replicas } = setting.harness
  const answered = replicas.applyLeaderAndIsr(leaderAndIsr([{}]))
  replicas.stopLeading()
  const { errorCode, partitionErrors } = await answered
  assert.equal(errorCode, ErrorCode.STALE_BROKER_EPOCH)
  assert.equal(partitionErrors[0]?.errorCode, ErrorCode.STALE_BROKER_EPOCH)
  assert.ok(!setting.partition().isLeader)
  assert.deepEqual(await setting.tell({}), [0])
  assert.ok(setting.partition().isLeader)
})

test('below min.insync.replicas appends are refused, and those that wait fail', async (t) => {
  const setting = await Setting.start(t, { configs: { 'min.insync.replicas': '2' } })
  await setting.tell({})
  const partition = setting.partition()
  const waiting = setting.append(partition, -1)
  await setting.append(partition)
  await setting.tell({ partitionEpoch: 1, isr: [0] })
  const { NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND } = ErrorCode
  assert.equal((await waiting).errorCode, NOT_ENOUGH_REPLICAS_AFTER_APPEND)
  assert.equal((await setting.append(partition, -1)).errorCode, NOT_ENOUGH_REPLICAS)
  assert.equal((await setting.append(partition, 1)).errorCode, 0)
  assert.equal(partition.highWatermark, 0)
  // The topic asks for less from now on.
  const config = topicConfig({ 'cleanup.policy': 'delete', 'min.insync.replicas': '1' })
  await setting.harness.replicas.reconfigureTopic('t', config)
  assert.equal((await setting.append(partition, -1)).errorCode, 0)
  assert.equal(partition.highWatermark, partition.logEnd)
})

test('an append that waits for too long is given up at its deadline', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({})
  const partition = setting.partition()
  const { replicas, clock } = setting.harness
  // Appends of the broker itself have no deadline: this is one that has passed already.
  replicas.deadlines.note(partition, clock.monotonicMs() + 250)
  assert.equal(replicas.deadlines.size, 1)
  const posted: number[] = []
  const { storedLog } = partition
  storedLog.expireParked = (nowMs) => posted.push(nowMs)
  await setting.append(partition)
  for (let ms = 0; ms < 1000; ms += 50) clock.advance(50)
  assert.ok((posted[0] ?? 0) >= 250 && (posted[0] ?? 0) <= 350, `${posted[0]}`)
  setting.fetched(1, 1)
  setting.fetched(2, 1)
  await until('the high watermark', () => partition.highWatermark === 1)
  const before = posted.length
  clock.advance(100)
  assert.equal(posted.length, before)
  for (let ms = 0; ms < 6000; ms += 100) clock.advance(100)
  assert.equal(replicas.deadlines.size, 0, 'nobody is looked at when nobody waits')
  // What nobody noted is found when lags are looked at.
  await setting.append(partition)
  clock.advance(15_100)
  assert.equal(replicas.deadlines.size, 1)
})

test('a follower that lags leaves the ISR, and comes back when it has everything', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({})
  const partition = setting.partition()
  setting.fetched(1, 0)
  await setting.append(partition)
  for (let ms = 0; ms < 46_000; ms += 1000) {
    setting.harness.clock.advance(1000)
    setting.fetched(2, partition.logEnd)
  }
  await turn()
  const isrs = (): number[][] =>
    setting.asked.map(({ topics }) =>
      (topics[0]?.partitions[0]?.newIsrWithEpochs ?? []).map(({ brokerId }) => brokerId),
    )
  assert.deepEqual(isrs(), [[0, 2]])
  const first = setting.asked[0]?.topics[0]?.partitions[0]?.newIsrWithEpochs
  assert.deepEqual(first?.[1], { brokerId: 2, brokerEpoch: 102 })
  assert.equal(partition.highWatermark, 0, 'not before the change is stored')
  await setting.tell({ partitionEpoch: 1, isr: [0, 2] })
  await until('the high watermark', () => partition.highWatermark === 1)
})

test('DeleteRecords waits for the replicas that are alive, and no longer than it may', async (t) => {
  const epochs = new Map([
    [1, 101],
    [2, 102],
  ])
  const setting = await Setting.start(t, { roles: { epochOf: (id) => epochs.get(id) ?? -1 } })
  await setting.tell({}, { partition: 1, leader: 1 })
  const partition = setting.partition()
  const { replicas, clock } = setting.harness
  for (let i = 0; i < 5; i += 1) await setting.append(partition)
  for (const brokerId of [1, 2]) setting.fetched(brokerId, 5)
  await until('the high watermark', () => partition.highWatermark === 5)
  const fetched = (brokerId: number, logStart: number): void =>
    replicas.followerFetched(partition, brokerId, {
      ...{ fetchOffset: 5, logStart, brokerEpoch: 100 + brokerId },
    })
  const waiting = replicas.deleteRecords(partition, 3, 1000)
  await turn()
  assert.equal(partition.logStart, 3)
  fetched(1, 3)
  fetched(2, 3)
  assert.deepEqual(await waiting, [0, 3])

  const late = replicas.deleteRecords(partition, -1, 1000)
  await turn()
  fetched(1, 5)
  clock.advance(999)
  await turn()
  clock.advance(1)
  assert.deepEqual(await late, [ErrorCode.REQUEST_TIMED_OUT, 3])

  const alone = replicas.deleteRecords(partition, 5, 1000)
  await turn()
  epochs.delete(2)
  replicas.brokersChanged()
  assert.deepEqual(await alone, [0, 5])

  epochs.set(2, 103)
  const deposed = replicas.deleteRecords(partition, 5, 1000)
  await turn()
  await setting.tell({ leader: 1, leaderEpoch: 2 })
  assert.deepEqual(await deposed, [NOT_LEADER_OR_FOLLOWER, -1])
  const other = setting.partition('t', 1)
  assert.deepEqual(await replicas.deleteRecords(other, 0, 1000), [NOT_LEADER_OR_FOLLOWER, -1])
})

test('a follower cuts what its leader does not have, beside the cleaner', async (t) => {
  const leader = new SimulatedLeader()
  leader.leaderEpoch = 3
  const led = leader.add(new SimulatedLog({ topicId: TOPIC_ID, epochs: [1, 1, 1] }))
  led.begun = [[3, 3]]
  const setting = await Setting.start(t, {
    roles: {
      addressOf: () => ({ brokerId: 1, host: 'leader', port: 1 }),
      openLink: async () => leader.open(),
    },
    configs: { 'cleanup.policy': 'compact', 'segment.bytes': '1000' },
  })
  await setting.tell({})
  const partition = setting.partition()
  for (let i = 0; i < 40; i += 1) await setting.append(partition)
  setting.fetched(1, 40)
  setting.fetched(2, 40)
  await until('the high watermark', () => partition.highWatermark === 40)
  const log = setting.harness.log('t')
  await setting.harness.logs.cleaner.run()
  assert.ok(((await setting.harness.logs.cleaner.cleanOffset(log)) ?? 0) > 3)
  const cleaning = setting.harness.logs.cleaner.run()
  await setting.tell({ leader: 1, leaderEpoch: 3 })
  await until('the cut', () => partition.logEnd === 3)
  await cleaning
  assert.equal(partition.highWatermark, 3)
  assert.equal(await setting.harness.logs.cleaner.cleanOffset(log), 3)
  assert.equal(setting.harness.replicas.followedLeaderCount, 1)
})

test('what is committed is known again after a restart, and never more than there is', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({}, { partition: 1 })
  const [a, b] = [setting.partition(), setting.partition('t', 1)]
  for (let i = 0; i < 5; i += 1) {
    await setting.append(a)
    await setting.append(b)
  }
  for (const brokerId of [1, 2]) {
    setting.fetched(brokerId, 3, a)
    setting.fetched(brokerId, 5, b)
  }
  await until('the high watermarks', () => a.highWatermark === 3 && b.highWatermark === 5)
  setting.harness.logs.startUpkeep()
  setting.harness.clock.advance(5000)
  const path = join(setting.harness.path, 'replication-offset-checkpoint')
  await until('the checkpoint', () => existsSync(path))
  assert.equal(readFileSync(path, 'utf8'), '0\n2\nt 0 3\nt 1 5\n')
  // Nothing moved: nothing is written.
  rmSync(path)
  setting.harness.clock.advance(5000)
  await setting.harness.logs.settle()
  assert.ok(!existsSync(path))
  await setting.harness.close()

  // Of another log than this one.
  writeFileSync(path, '0\n2\nt 0 3\nt 1 500\n')
  const again = await Setting.start(t, { path: setting.harness.path })
  const { logs, directory } = again.harness
  logs.beginStart(await directory.readCheckpoints(), await directory.takeCleanShutdownMark())
  assert.equal(await logs.openFolders(await directory.partitionFolders(), () => topicConfig({})), 2)
  logs.endStart()
  assert.deepEqual(
    await again.tell(
      { leader: 1, leaderEpoch: 2 },
      { partition: 1, leader: 1, leaderEpoch: 2, topicId: OTHER_ID },
    ),
    [0, ErrorCode.INCONSISTENT_TOPIC_ID],
  )
  const reopened = again.partition()
  assert.deepEqual([reopened.highWatermark, reopened.logEnd], [3, 5])
  assert.equal(logs.find('t', 1)?.highWatermark, 5)
  // A log that no role was ever told of can be deleted too.
  assert.deepEqual(await again.stop({ partition: 1, isDeleted: true, epoch: -2 }), [0])
  assert.equal(logs.find('t', 1), undefined)
  await again.harness.close()
})

test('a log that cannot be opened takes its own partition offline, and only that', async (t) => {
  const setting = await Setting.start(t)
  writeFileSync(join(setting.harness.path, 't-1'), 'this is no folder')
  const errors = await setting.tell({}, { partition: 1 }, { partition: 2 })
  assert.deepEqual(errors, [0, ErrorCode.KAFKA_STORAGE_ERROR, 0])
  assert.ok(!setting.partition('t', 1).isOnline && !setting.partition('t', 1).isLeader)
  assert.ok(setting.partition('t', 2).isLeader)
  rmSync(join(setting.harness.path, 't-1'))
  assert.deepEqual(await setting.tell({ partition: 1 }), [0])
  assert.ok(setting.partition('t', 1).isLeader)
})

test('a shard that dies takes no role with it', async (t) => {
  const setting = await Setting.start(t, { threaded: true })
  await setting.tell({}, { partition: 1, leader: 1 })
  const [led, followed] = [setting.partition(), setting.partition('t', 1)]
  await setting.append(led)
  const { leader } = led
  setting.fetched(1, 1)
  setting.fetched(2, 1)
  await assert.rejects(setting.harness.shard.run('crash', null))
  await until('the logs to be there again', () => led.isOnline && followed.isOnline)
  assert.equal(led.leader, leader)
  assert.ok(followed.isFollower)
  await until('the high watermark', () => led.highWatermark === 1)
  assert.equal((await setting.append(led)).errorCode, 0)
  assert.equal((await setting.append(followed)).errorCode, NOT_LEADER_OR_FOLLOWER)
  assert.equal(setting.harness.replicas.byRow(led.row), led)
})

test('a thousand partitions are opened, led and deleted', { timeout: 60_000 }, async (t) => {
  const setting = await Setting.start(t)
  const told = Array.from({ length: 1000 }, (_, partition) => ({
    partition,
    leader: partition % 3,
  }))
  const startedMs = performance.now()
  const errors = await setting.tell(...told)
  const openMs = performance.now() - startedMs
  assert.ok(errors.every((error) => error === 0))
  const again = performance.now()
  await setting.tell(...told.map((one) => ({ ...one, leaderEpoch: 2, leader: 0 })))
  const electMs = performance.now() - again
  const stopping = performance.now()
  await setting.stop(...told.map(({ partition }) => ({ partition, epoch: -2, isDeleted: true })))
  const deleteMs = performance.now() - stopping
  t.diagnostic(
    `opened in ${openMs.toFixed()} ms, led in ${electMs.toFixed()} ms, deleted in ${deleteMs.toFixed()} ms`,
  )
})

test('a log whose disk failed has no role, and the others are told', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({}, { partition: 1 })
  const partition = setting.partition()
  const waiting = setting.append(partition, -1)
  await setting.append(partition)
  // What the add-on notes when it does not know any more what is on the disk.
  const words = new BigInt64Array(addon.publishedRows())
  Atomics.store(words, partition.row * ROW_WORDS + OFFLINE_WORD, 1n)
  setting.harness.logs.storageError(partition.row, 5)
  assert.notEqual((await waiting).errorCode, 0)
  assert.deepEqual([partition.isLeader, partition.isOnline], [false, false])
  assert.equal(setting.failures.length, 1)
  const told = [{ leaderEpoch: 2 }, { partition: 1, leaderEpoch: 2 }]
  assert.deepEqual(await setting.tell(...told), [ErrorCode.KAFKA_STORAGE_ERROR, 0])
  assert.deepEqual(await setting.stop({ epoch: 2, isDeleted: true }), [
    ErrorCode.KAFKA_STORAGE_ERROR,
  ])
  assert.ok(setting.partition('t', 1).isLeader)
  const { directory } = setting.harness
  await setting.harness.close()
  await directory.takeCleanShutdownMark()
  assert.ok(directory.mayHaveLostTail, 'the next start tells that records may be gone')
})

test('a log that a full disk takes no records for is given up if others have it', async (t) => {
  const setting = await Setting.start(t)
  await setting.tell({}, { partition: 1, leader: 1 }, { partition: 2, isr: [0] })
  const [led, followed, alone] = [0, 1, 2].map((number) => setting.partition('t', number))
  assert.ok(led && followed && alone)
  const appended = setting.append(alone)
  for (const { row } of [led, followed, alone]) setting.harness.logs.storageError(row, 28)
  assert.deepEqual(
    [led, followed, alone].map((one) => [one.isOnline, one.isLeader, one.isFollower]),
    [
      [false, false, false],
      [false, false, false],
      [true, true, false],
    ],
  )
  assert.equal(setting.failures.length, 2)
  assert.equal((await appended).errorCode, 0)
  assert.deepEqual(
    await setting.tell({ leaderEpoch: 2 }, { partition: 1, leaderEpoch: 2 }),
    Array(2).fill(ErrorCode.KAFKA_STORAGE_ERROR),
  )
})
