/** CreateTopics, DeleteTopics and CreatePartitions in every version: effects, codes, messages. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { CreatePartitions } from '../../src/protocol/messages/create-partitions.ts'
import {
  CreateTopics,
  type CreateTopicsRequestInput,
} from '../../src/protocol/messages/create-topics.ts'
import { DeleteTopics } from '../../src/protocol/messages/delete-topics.ts'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { createCreatePartitionsHandler } from '../../src/server/handlers/create-partitions.ts'
import { createCreateTopicsHandler } from '../../src/server/handlers/create-topics.ts'
import { createDeleteTopicsHandler } from '../../src/server/handlers/delete-topics.ts'
import { until } from '../support/until.ts'
import {
  brokerImage,
  call,
  createServices,
  type TestServices,
  versionsOf,
} from './test-services.ts'

let services: TestServices
beforeEach(async () => {
  services = await createServices({ 'num.partitions': '2' })
})
afterEach(() => services.close())

type NewTopic = CreateTopicsRequestInput['topics'][number]

const topicOf = (name: string, more: Partial<NewTopic> = {}): NewTopic => ({
  name,
  numPartitions: 1,
  replicationFactor: 1,
  assignments: [],
  configs: [],
  ...more,
})

/** Creates with the newest version; code and message of each topic. */
async function create(
  topics: readonly NewTopic[],
  more: { validateOnly?: boolean; timeoutMs?: number } = {},
) {
  const handler = createCreateTopicsHandler(services)
  return (await call(CreateTopics, handler, 7, { topics, ...more })).topics
}

async function failure(topic: NewTopic, code: number): Promise<string> {
  const [answer] = await create([topic])
  assert.equal(answer?.errorCode, code, answer?.errorMessage ?? '')
  assert.equal(answer?.topicId, ZERO_UUID)
  assert.equal(answer?.numPartitions, -1)
  assert.equal(answer?.replicationFactor, -1)
  assert.ok((answer?.errorMessage ?? '').length > 10)
  return answer?.errorMessage ?? ''
}

test('CreateTopics: topics with leaders, their logs, durable', async () => {
  const handler = createCreateTopicsHandler(services)
  for (const version of versionsOf(CreateTopics)) {
    const name = `topic-${version}`
    const configs = [{ name: 'retention.ms', value: '1000' }]
    const request = { topics: [topicOf(name, { numPartitions: 3, configs })], timeoutMs: 1000 }
    const response = await call(CreateTopics, handler, version, request)
    const [topic] = response.topics
    assert.equal(topic?.errorCode, ErrorCode.NONE)
    assert.equal(topic?.errorMessage ?? '', '')
    const image = services.metadata.topic(name)
    assert.deepEqual(
      image?.partitions.map((p) => [p.leader, p.leaderEpoch, p.isr]),
      [
        [1, 0, [1]],
        [1, 0, [1]],
        [1, 0, [1]],
      ],
    )
    assert.equal(topic?.topicId, version < 7 ? ZERO_UUID : image?.topicId)
    assert.match(image?.topicId ?? '', /^[A-Za-z0-9_][A-Za-z0-9_-]{21}$/)
    assert.equal(topic?.numPartitions, version < 5 ? -1 : 3)
    assert.equal(topic?.replicationFactor, version < 5 ? -1 : 1)
    const described = new Map(topic?.configs?.map((config) => [config.name, config]))
    if (version >= 5) {
      assert.equal(described.size, 36)
      assert.equal(described.get('retention.ms')?.value, '1000')
      assert.equal(described.get('retention.ms')?.configSource, 1)
      assert.equal(described.get('segment.bytes')?.configSource, 5)
    }
    assert.equal(services.replicas.configs.get(name)?.retentionMs, 1000)
  }
  const before = services.metadata.topic('topic-7')
  services = await services.restart()
  assert.deepEqual(services.metadata.topic('topic-7'), before)
  assert.equal(services.metadata.topicCount, 8)
})

test('CreateTopics: the defaults of the broker', async () => {
  const [topic] = await create([topicOf('d', { numPartitions: -1, replicationFactor: -1 })])
  assert.equal(topic?.numPartitions, 2)
  assert.equal(topic?.replicationFactor, 1)
})

test('CreateTopics: what a topic cannot be', async () => {
  await create([topicOf('there'), topicOf('a.b')])
  assert.match(await failure(topicOf('there'), ErrorCode.TOPIC_ALREADY_EXISTS), /there/)
  assert.match(await failure(topicOf('a_b'), ErrorCode.INVALID_TOPIC_EXCEPTION), /a\.b/)
  for (const name of ['', '.', '..', 'a b', 'ä', 'x'.repeat(250)]) {
    await failure(topicOf(name), ErrorCode.INVALID_TOPIC_EXCEPTION)
  }
  await failure(topicOf('t', { numPartitions: 0 }), ErrorCode.INVALID_PARTITIONS)
  await failure(topicOf('t', { numPartitions: -2 }), ErrorCode.INVALID_PARTITIONS)
  await failure(topicOf('t', { replicationFactor: 0 }), ErrorCode.INVALID_REPLICATION_FACTOR)
  await failure(topicOf('t', { replicationFactor: 2 }), ErrorCode.INVALID_REPLICATION_FACTOR)
  await failure(topicOf('t', { numPartitions: 2 ** 31 - 1 }), ErrorCode.POLICY_VIOLATION)
  for (const [name, value] of [
    ['no.such.config', '1'],
    ['retention.ms', 'soon'],
    ['segment.bytes', '1'],
    ['retention.ms', null],
  ] as const) {
    const message = await failure(
      topicOf('t', { configs: [{ name, value }] }),
      ErrorCode.INVALID_CONFIG,
    )
    assert.match(message, new RegExp(name))
  }
  assert.deepEqual(services.metadata.topicNames(), ['a.b', 'there'])
  assert.equal((await create([topicOf('x'.repeat(249))]))[0]?.errorCode, ErrorCode.NONE)
})

test('CreateTopics: replicas that the client chose', async () => {
  await services.setOthers([2, 3].map((id) => brokerImage(id)))
  const chosen = (assignments: NewTopic['assignments'], more: Partial<NewTopic> = {}): NewTopic =>
    topicOf('t', { numPartitions: -1, replicationFactor: -1, assignments, ...more })
  const assign = (partitionIndex: number, ...brokerIds: number[]) => ({ partitionIndex, brokerIds })
  const code = ErrorCode.INVALID_REPLICA_ASSIGNMENT
  await failure(chosen([assign(0, 1)], { numPartitions: 1 }), ErrorCode.INVALID_REQUEST)
  await failure(chosen([assign(0, 1)], { replicationFactor: 1 }), ErrorCode.INVALID_REQUEST)
  await failure(chosen([assign(0, 1, 1)]), code)
  await failure(chosen([assign(0, 9)]), code)
  await failure(chosen([assign(0)]), code)
  await failure(chosen([assign(1, 1)]), code)
  await failure(chosen([assign(0, 1), assign(0, 2)]), code)
  await failure(chosen([assign(-1, 1)]), code)
  await failure(chosen([assign(0, 1, 2), assign(1, 3)]), code)
  const [topic] = await create([chosen([assign(1, 3, 2), assign(0, 2, 1)])])
  assert.equal(topic?.errorCode, ErrorCode.NONE)
  const partitions = services.metadata.topic('t')?.partitions
  assert.deepEqual(
    partitions?.map((p) => [p.leader, p.replicas]),
    [
      [2, [2, 1]],
      [3, [3, 2]],
    ],
  )
})

test('CreateTopics: a name twice is one answer, and neither is created', async () => {
  const answers = await create([topicOf('twice'), topicOf('once'), topicOf('twice')])
  assert.deepEqual(
    answers.map((t) => [t.name, t.errorCode]),
    [
      ['twice', ErrorCode.INVALID_REQUEST],
      ['once', ErrorCode.NONE],
    ],
  )
  assert.deepEqual(services.metadata.topicNames(), ['once'])
  const colliding = await create([topicOf('p.q'), topicOf('p_q')])
  assert.deepEqual(
    colliding.map((t) => t.errorCode),
    [ErrorCode.NONE, ErrorCode.INVALID_TOPIC_EXCEPTION],
  )
})

test('CreateTopics: validateOnly checks and creates nothing', async () => {
  const handler = createCreateTopicsHandler(services)
  for (const version of versionsOf(CreateTopics).filter((v) => v >= 1)) {
    const topics = [topicOf('good'), topicOf('bad', { numPartitions: 0 })]
    const request = { topics, validateOnly: true }
    const response = await call(CreateTopics, handler, version, request)
    assert.deepEqual(
      response.topics.map((t) => t.errorCode),
      [ErrorCode.NONE, ErrorCode.INVALID_PARTITIONS],
    )
    assert.ok((response.topics[1]?.errorMessage ?? '').length > 10)
  }
  assert.equal(services.metadata.topicCount, 0)
  assert.deepEqual(services.replicas.calls, [])
  assert.deepEqual(await services.registry.topicNames(), [])
})

test('CreateTopics: answered as timed out, the topic comes all the same', async () => {
  let open = (): void => undefined
  services.replicas.gate = new Promise((resolve) => {
    open = resolve
  })
  const answer = create([topicOf('slow'), topicOf('b d')], { timeoutMs: 500 })
  while (services.replicas.calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
  services.clock.advance(500)
  services.timers.run()
  assert.deepEqual(
    (await answer).map((t) => [t.errorCode, (t.errorMessage ?? '').length > 10]),
    [
      [ErrorCode.REQUEST_TIMED_OUT, true],
      [ErrorCode.INVALID_TOPIC_EXCEPTION, true],
    ],
  )
  open()
  assert.equal((await create([topicOf('slow')]))[0]?.errorCode, ErrorCode.TOPIC_ALREADY_EXISTS)
  const [unwaited] = await create([topicOf('later')], { timeoutMs: 0 })
  assert.equal(unwaited?.errorCode, ErrorCode.REQUEST_TIMED_OUT)
  assert.equal((await create([topicOf('later')]))[0]?.errorCode, ErrorCode.TOPIC_ALREADY_EXISTS)
})

test('CreateTopics: a topic whose logs do not open is taken back', async () => {
  services.replicas.broken.add('t')
  const message = await failure(topicOf('t'), ErrorCode.KAFKA_STORAGE_ERROR)
  assert.match(message, /t-0/)
  services.replicas.broken.clear()
  await until('it is taken back', async () => {
    const left = [
      ...(await services.registry.topicNames()),
      ...(await services.registry.topicDeletions()),
    ]
    return left.length === 0
  })
  assert.equal((await create([topicOf('t')]))[0]?.errorCode, ErrorCode.NONE)
})

test('DeleteTopics by name in every version', async () => {
  const handler = createDeleteTopicsHandler(services)
  for (const version of versionsOf(DeleteTopics)) {
    await create([topicOf('t')])
    const topicId = services.metadata.topic('t')?.topicId
    const request =
      version < 6
        ? { topicNames: ['t', 'none'], timeoutMs: 1000 }
        : { topics: [{ name: 't' }, { name: 'none' }], timeoutMs: 1000 }
    const response = await call(DeleteTopics, handler, version, request)
    const answers = new Map(response.responses.map((answer) => [answer.name, answer]))
    assert.equal(answers.get('t')?.errorCode, ErrorCode.NONE)
    assert.equal(answers.get('t')?.topicId, version < 6 ? ZERO_UUID : topicId)
    const none = answers.get('none')
    assert.equal(none?.errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if (version >= 5) assert.ok((none?.errorMessage ?? '').length > 10)
    assert.equal(services.metadata.topic('t'), undefined)
    assert.equal(services.replicas.calls.at(-1), 'delete t')
    assert.deepEqual(await services.registry.topicNames(), [])
    assert.equal(await services.registry.config({ type: 'topics', name: 't' }), null)
    assert.deepEqual(await services.registry.topicDeletions(), [])
  }
})

test('DeleteTopics by id, both, neither and twice', async () => {
  await create([topicOf('a'), topicOf('b')])
  const handler = createDeleteTopicsHandler(services)
  const idOf = (name: string): string => services.metadata.topic(name)?.topicId ?? ''
  const [a, b] = [idOf('a'), idOf('b')]
  const other = 'AAAAAAAAAAAAAAAAAAAAAQ'
  const request = {
    topics: [
      { name: null, topicId: a },
      { name: null, topicId: other },
      { name: 'b', topicId: b },
      { name: null, topicId: ZERO_UUID },
      { name: 'a', topicId: ZERO_UUID },
    ],
    timeoutMs: 1000,
  }
  const response = await call(DeleteTopics, handler, 6, request)
  const byCode = (code: number) => response.responses.filter((r) => r.errorCode === code)
  assert.deepEqual(
    byCode(ErrorCode.NONE).map((r) => [r.name, r.topicId]),
    [['a', a]],
  )
  assert.equal(byCode(ErrorCode.UNKNOWN_TOPIC_ID)[0]?.topicId, other)
  assert.equal(byCode(ErrorCode.INVALID_REQUEST).length, 3)
  for (const { errorCode, errorMessage } of response.responses) {
    assert.equal((errorMessage ?? '').length > 10, errorCode !== ErrorCode.NONE)
  }
  assert.deepEqual(services.metadata.topicNames(), ['b'])
})

test('DeleteTopics on a broker that does not allow it', async () => {
  await services.close()
  services = await createServices({ 'delete.topic.enable': 'false' })
  await create([topicOf('t')])
  const handler = createDeleteTopicsHandler(services)
  for (const version of versionsOf(DeleteTopics)) {
    const request =
      version < 6 ? { topicNames: ['t'], timeoutMs: 1 } : { topics: [{ name: 't' }], timeoutMs: 1 }
    const [answer] = (await call(DeleteTopics, handler, version, request)).responses
    const code = version < 3 ? ErrorCode.INVALID_REQUEST : ErrorCode.TOPIC_DELETION_DISABLED
    assert.equal(answer?.errorCode, code)
  }
  assert.deepEqual(services.metadata.topicNames(), ['t'])
})

/** What comes of it while the clock goes on. */
async function asTimePasses<T>(result: Promise<T>): Promise<T> {
  let isSettled = false
  const settled = (): void => {
    isSettled = true
  }
  result.then(settled, settled)
  await until('an answer', () => {
    if (!isSettled) services.clock.advance(100)
    return isSettled
  })
  return result
}

test('a deletion that a disk held up is completed after a restart', async () => {
  const handler = createDeleteTopicsHandler(services)
  await create([topicOf('t')])
  services.replicas.broken.add('t')
  const request = { topics: [{ name: 't' }], timeoutMs: 60_000 }
  const response = await asTimePasses(call(DeleteTopics, handler, 6, request))
  assert.equal(response.responses[0]?.errorCode, ErrorCode.NONE)
  assert.equal(services.metadata.topic('t'), undefined)
  await until('the replica is told', () => services.replicas.calls.at(-1) === 'delete t')
  assert.deepEqual(await services.registry.topicDeletions(), ['t'])
  const [again] = await asTimePasses(create([topicOf('t')]))
  assert.equal(again?.errorCode, ErrorCode.TOPIC_ALREADY_EXISTS)

  services = await services.restart()
  const isGone = async () => (await services.registry.topicNames()).length === 0
  await until('the topic is gone', isGone)
  assert.equal(services.replicas.calls[0], 'delete t')
  await until('nothing is left of it', async () => {
    return (await services.registry.topicDeletions()).length === 0
  })
  assert.equal((await create([topicOf('t')]))[0]?.errorCode, ErrorCode.NONE)
})

test('CreatePartitions widens a topic', async () => {
  await services.setOthers([2].map((id) => brokerImage(id)))
  const handler = createCreatePartitionsHandler(services)
  for (const version of versionsOf(CreatePartitions)) {
    const name = `t${version}`
    await create([topicOf(name, { replicationFactor: 2 })])
    const topics = [{ name, count: 3, assignments: [{ brokerIds: [2, 1] }, { brokerIds: [1, 2] }] }]
    const request = { topics, timeoutMs: 1000, validateOnly: false }
    const check = { ...request, validateOnly: true }
    const checked = await call(CreatePartitions, handler, version, check)
    assert.equal(checked.results[0]?.errorCode, ErrorCode.NONE)
    assert.equal(services.metadata.topic(name)?.partitions.length, 1)
    const response = await call(CreatePartitions, handler, version, request)
    assert.deepEqual(response.results, [{ name, errorCode: 0, errorMessage: null }])
    const partitions = services.metadata.topic(name)?.partitions
    assert.deepEqual(
      partitions?.slice(1).map((p) => [p.leader, p.replicas]),
      [
        [2, [2, 1]],
        [1, [1, 2]],
      ],
    )
    assert.equal(services.replicas.calls.at(-1), `open ${name} 1-2`)
    const more = { ...request, topics: [{ name, count: 5, assignments: null }] }
    assert.equal((await call(CreatePartitions, handler, version, more)).results[0]?.errorCode, 0)
    assert.equal(services.metadata.topic(name)?.partitions.length, 5)
  }
  const before = services.metadata.topic('t3')?.partitions.map((p) => p.replicas)
  services = await services.restart()
  const after = services.metadata.topic('t3')?.partitions.map((p) => p.replicas)
  assert.deepEqual(after, before)
})

test('CreatePartitions: what is refused', async () => {
  await create([topicOf('t', { numPartitions: 2 })])
  const handler = createCreatePartitionsHandler(services)
  const refuse = async (
    code: number,
    name: string,
    count: number,
    assignments: { brokerIds: number[] }[] | null = null,
  ): Promise<void> => {
    const request = { topics: [{ name, count, assignments }], timeoutMs: 9, validateOnly: false }
    const [answer] = (await call(CreatePartitions, handler, 3, request)).results
    assert.equal(answer?.errorCode, code, answer?.errorMessage ?? '')
    assert.ok((answer?.errorMessage ?? '').length > 10)
  }
  for (const count of [2, 1, 0, -1]) await refuse(ErrorCode.INVALID_PARTITIONS, 't', count)
  await refuse(ErrorCode.POLICY_VIOLATION, 't', 2 ** 31 - 1)
  await refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'none', 3)
  await refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, '?', 3)
  const wrong = ErrorCode.INVALID_REPLICA_ASSIGNMENT
  await refuse(wrong, 't', 4, [{ brokerIds: [1] }])
  await refuse(wrong, 't', 3, [{ brokerIds: [9] }])
  await refuse(wrong, 't', 3, [{ brokerIds: [1, 1] }])
  await refuse(wrong, 't', 3, [{ brokerIds: [] }])
  const topic = { name: 't', count: 3, assignments: null }
  const twice = { topics: [topic, topic], timeoutMs: 9, validateOnly: false }
  const response = await call(CreatePartitions, handler, 3, twice)
  assert.deepEqual(
    response.results.map((r) => r.errorCode),
    [ErrorCode.INVALID_REQUEST],
  )
  assert.equal(services.metadata.topic('t')?.partitions.length, 2)
})
