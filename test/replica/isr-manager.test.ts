/** ISR changes on their way to the controller: batches, answers, lost answers, other controllers. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../../src/protocol/messages/alter-partition.ts'
import { IsrManager } from '../../src/replica/isr-manager.ts'
import type { Partition } from '../../src/replica/partition.ts'
import type { IsrDecision, PartitionLeader } from '../../src/replica/partition-leader.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'

interface Asked {
  readonly request: AlterPartitionRequest
  readonly answer: (response: AlterPartitionResponse) => void
  readonly fail: () => void
}

class Setting {
  readonly clock = new ManualClock()
  readonly timers = new TimerQueue(this.clock)
  readonly asked: Asked[] = []
  readonly manager: IsrManager

  constructor(t: TestContext) {
    this.manager = new IsrManager({
      brokerId: 1,
      brokerEpoch: () => 40,
      controller: {
        alterPartition: (request) =>
          new Promise((resolve, reject) => {
            const fail = (): void => reject(new Error('the answer is lost'))
            this.asked.push({ request, answer: resolve, fail })
          }),
      },
      timers: this.timers,
      logger: silentLogger,
    })
    t.after(() => {
      this.manager.close()
      this.timers.close()
    })
  }

  async next(): Promise<Asked> {
    for (let i = 0; i < 5; i += 1) await turn()
    const asked = this.asked.shift()
    assert.ok(asked)
    assert.equal(this.asked.length, 0)
    return asked
  }
}

/** A partition with a leader that keeps what it is told. */
function leading(topic: string, partition: number) {
  const decisions: IsrDecision[] = []
  const leader = {
    leaderEpoch: 3,
    partitionEpoch: 7,
    decided: (decision: IsrDecision) => decisions.push(decision),
  } as unknown as PartitionLeader
  const hosted = { topic, topicId: `id-of-${topic}`, partition, leader } as unknown as Partition
  return { decisions, leader, partition: hosted }
}

const ISR = [
  { brokerId: 1, brokerEpoch: 40 },
  { brokerId: 2, brokerEpoch: 50 },
]

function response(
  partitions: readonly { topic: string; partition: number; errorCode: number; epoch?: number }[],
): AlterPartitionResponse {
  return {
    throttleTimeMs: 0,
    errorCode: 0,
    topics: partitions.map(({ topic, partition, errorCode, epoch = 3 }) => ({
      topicName: '',
      topicId: `id-of-${topic}`,
      partitions: [
        {
          ...{ partitionIndex: partition, errorCode, leaderId: 1, leaderEpoch: epoch },
          ...{ isr: [1, 2], leaderRecoveryState: 0, partitionEpoch: 8 },
        },
      ],
    })),
  }
}

function refusal(errorCode: number): AlterPartitionResponse {
  return { throttleTimeMs: 0, errorCode, topics: [] }
}

test('what is proposed in one turn, or while the controller is asked, goes together', async (t) => {
  const { manager, ...setting } = new Setting(t)
  const next = Setting.prototype.next.bind(setting as Setting)
  const [a, b, c, d] = [leading('t', 0), leading('t', 1), leading('u', 0), leading('u', 1)] as const
  manager.propose(a.partition, a.leader, ISR)
  manager.propose(b.partition, b.leader, ISR)
  const first = await next()
  assert.deepEqual([first.request.brokerId, first.request.brokerEpoch], [1, 40])
  assert.deepEqual(first.request.topics, [
    {
      topicName: 't',
      topicId: 'id-of-t',
      partitions: [0, 1].map((partitionIndex) => ({
        partitionIndex,
        leaderEpoch: 3,
        newIsr: [],
        newIsrWithEpochs: ISR,
        leaderRecoveryState: 0,
        partitionEpoch: 7,
      })),
    },
  ])
  manager.propose(c.partition, c.leader, ISR)
  manager.propose(d.partition, d.leader, ISR)
  await turn()
  assert.equal(setting.asked.length, 0, 'one request at a time')
  const done = { topic: 't', errorCode: 0 }
  first.answer(
    response([
      { ...done, partition: 0 },
      { ...done, partition: 1 },
    ]),
  )
  const second = await next()
  assert.deepEqual(
    second.request.topics.map((topic) => [topic.topicName, topic.partitions.length]),
    [['u', 2]],
  )
  assert.deepEqual(a.decisions, [{ kind: 'stored', isr: [1, 2], partitionEpoch: 8 }])
  assert.deepEqual(b.decisions, a.decisions)
  assert.equal(manager.size, 2)
})

for (const [errorCode, kind] of [
  [ErrorCode.INELIGIBLE_REPLICA, 'retry'],
  [ErrorCode.OPERATION_NOT_ATTEMPTED, 'retry'],
  [ErrorCode.FENCED_LEADER_EPOCH, 'refused'],
  [ErrorCode.INVALID_UPDATE_VERSION, 'refused'],
  [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'refused'],
  [ErrorCode.UNKNOWN_TOPIC_ID, 'refused'],
  [ErrorCode.INVALID_REQUEST, 'refused'],
  [ErrorCode.NEW_LEADER_ELECTED, 'refused'],
] as const) {
  test(`error ${errorCode} of a partition ends its proposal: ${kind}`, async (t) => {
    const setting = new Setting(t)
    const a = leading('t', 0)
    setting.manager.propose(a.partition, a.leader, ISR)
    const { answer } = await setting.next()
    answer(response([{ topic: 't', partition: 0, errorCode }]))
    await turn()
    assert.deepEqual(a.decisions, [{ kind }])
    setting.clock.advance(60_000)
    await turn()
    assert.equal(setting.asked.length, 0)
  })
}

for (const what of ['lost', 'no answer for it', 'unknown', 41, 77, 29]) {
  test(`a proposal is asked for again: ${what}`, async (t) => {
    const setting = new Setting(t)
    const a = leading('t', 0)
    setting.manager.propose(a.partition, a.leader, ISR)
    for (let i = 0; i < 3; i += 1) {
      const { request, answer, fail } = await setting.next()
      assert.equal(request.topics[0]?.partitions[0]?.partitionEpoch, 7)
      if (what === 'lost') fail()
      else if (what === 'no answer for it') answer(response([]))
      else if (what === 'unknown') {
        answer(response([{ topic: 't', partition: 0, errorCode: ErrorCode.UNKNOWN_SERVER_ERROR }]))
      } else answer(refusal(what as number))
      await turn()
      assert.equal(setting.asked.length, 0, 'there is a pause')
      setting.clock.advance(1000)
    }
    const { answer } = await setting.next()
    answer(response([{ topic: 't', partition: 0, errorCode: 0 }]))
    await turn()
    assert.equal(a.decisions.length, 1)
    assert.equal(setting.manager.size, 0)
  })
}

test('a new controller is asked at once', async (t) => {
  const setting = new Setting(t)
  const a = leading('t', 0)
  setting.manager.propose(a.partition, a.leader, ISR)
  const first = await setting.next()
  first.fail()
  await turn()
  setting.manager.controllerChanged()
  await setting.next()
})

test('a controller that says nothing is not waited for, nor is one that was deposed', async (t) => {
  const setting = new Setting(t)
  const [a, b] = [leading('t', 0), leading('t', 1)] as const
  setting.manager.propose(a.partition, a.leader, ISR)
  const silent = await setting.next()
  setting.clock.advance(5000)
  await turn()
  setting.clock.advance(1000)
  await setting.next()
  setting.manager.propose(b.partition, b.leader, ISR)
  await turn()
  assert.equal(setting.asked.length, 0)
  setting.manager.controllerChanged()
  const { request, answer } = await setting.next()
  assert.equal(request.topics[0]?.partitions.length, 2)
  silent.answer(response([{ topic: 't', partition: 0, errorCode: ErrorCode.INVALID_REQUEST }]))
  await turn()
  assert.equal(a.decisions.length, 0)
  answer(response([{ topic: 't', partition: 0, errorCode: 0 }]))
  await turn()
  assert.equal(a.decisions[0]?.kind, 'stored')
})

test('an answer to what was withdrawn or replaced is dropped', async (t) => {
  const setting = new Setting(t)
  const [a, b] = [leading('t', 0), leading('t', 1)] as const
  setting.manager.propose(a.partition, a.leader, ISR)
  setting.manager.propose(b.partition, b.leader, ISR)
  const first = await setting.next()
  setting.manager.withdraw(a.partition)
  setting.manager.withdraw(b.partition)
  setting.manager.propose(b.partition, b.leader, ISR.slice(0, 1))
  const late = { topic: 't', errorCode: ErrorCode.INELIGIBLE_REPLICA }
  first.answer(
    response([
      { ...late, partition: 0 },
      { ...late, partition: 1 },
    ]),
  )
  const second = await setting.next()
  assert.deepEqual([a.decisions, b.decisions], [[], []])
  const isr = second.request.topics[0]?.partitions[0]?.newIsrWithEpochs
  assert.deepEqual(
    isr?.map(({ brokerId }) => brokerId),
    [1],
  )
})

test('an answer of another leadership is a refusal', async (t) => {
  const setting = new Setting(t)
  const a = leading('t', 0)
  setting.manager.propose(a.partition, a.leader, ISR)
  const { answer } = await setting.next()
  answer(response([{ topic: 't', partition: 0, errorCode: 0, epoch: 4 }]))
  await turn()
  assert.deepEqual(a.decisions, [{ kind: 'refused' }])
})
