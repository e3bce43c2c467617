/** DescribeConfigs, AlterConfigs and IncrementalAlterConfigs of topics and brokers. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { AlterConfigs } from '../../src/protocol/messages/alter-configs.ts'
import { DescribeConfigs } from '../../src/protocol/messages/describe-configs.ts'
import { IncrementalAlterConfigs } from '../../src/protocol/messages/incremental-alter-configs.ts'
import { createAlterConfigsHandler } from '../../src/server/handlers/alter-configs.ts'
import { createDescribeConfigsHandler } from '../../src/server/handlers/describe-configs.ts'
import { createIncrementalAlterConfigsHandler } from '../../src/server/handlers/incremental-alter-configs.ts'
import { call, createServices, type TestServices, versionsOf } from './test-services.ts'

const [TOPIC, BROKER, BROKER_LOGGER] = [2, 4, 8]
const [SET, DELETE, APPEND, SUBTRACT] = [0, 1, 2, 3]

let services: TestServices
beforeEach(async () => {
  services = await createServices({ 'log.retention.hours': '2', 'num.partitions': '4' })
  await services.controller.createTopics(
    [{ name: 't', numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
    { timeoutMs: 1000, validateOnly: false },
  )
})
afterEach(() => services.close())

async function describe(resourceType: number, resourceName: string, keys: string[] | null = null) {
  const handler = createDescribeConfigsHandler(services)
  const resources = [{ resourceType, resourceName, configurationKeys: keys }]
  const request = { resources, includeSynonyms: true, includeDocumentation: true }
  const [result] = (await call(DescribeConfigs, handler, 4, request)).results
  assert.ok(result)
  return result
}

async function textOf(type: number, name: string, key: string): Promise<string | null> {
  const [config] = (await describe(type, name, [key])).configs
  return config?.value ?? null
}

interface Change {
  readonly name: string
  readonly configOperation: number
  readonly value: string | null
}

/** With the newest version: [code, message]. */
async function change(
  resourceType: number,
  resourceName: string,
  configs: readonly Change[],
  validateOnly = false,
): Promise<[number, string | null]> {
  const handler = createIncrementalAlterConfigsHandler(services)
  const request = { resources: [{ resourceType, resourceName, configs }], validateOnly }
  const [answer] = (await call(IncrementalAlterConfigs, handler, 1, request)).responses
  assert.ok(answer)
  assert.equal((answer.errorMessage ?? '').length > 10, answer.errorCode !== ErrorCode.NONE)
  return [answer.errorCode, answer.errorMessage]
}

const set = (name: string, value: string | null): Change => ({ name, configOperation: SET, value })

test('DescribeConfigs of a topic in every version', async () => {
  const handler = createDescribeConfigsHandler(services)
  for (const version of versionsOf(DescribeConfigs)) {
    const resources = [{ resourceType: TOPIC, resourceName: 't', configurationKeys: null }]
    const response = await call(DescribeConfigs, handler, version, { resources })
    const [result] = response.results
    assert.equal(result?.errorCode, ErrorCode.NONE)
    assert.equal(result?.configs.length, 36)
    const retention = result?.configs.find((config) => config.name === 'retention.ms')
    assert.equal(retention?.value, '7200000')
    // It was set in hours, and Kafka looks for it in milliseconds alone.
    assert.equal(retention?.configSource, version < 1 ? -1 : 5)
    assert.equal(retention?.isDefault, version === 0)
    assert.deepEqual(retention?.synonyms, [])
    assert.equal(retention?.configType, version < 3 ? 0 : 5)
    assert.equal(retention?.documentation ?? '', '')
    const segment = result?.configs.find((config) => config.name === 'segment.bytes')
    assert.equal(segment?.isDefault, version === 0)
  }
})

test('DescribeConfigs tells synonyms and documentation when asked', async () => {
  await change(TOPIC, 't', [set('retention.ms', '5')])
  const result = await describe(TOPIC, 't', ['retention.ms'])
  assert.equal(result.configs.length, 1)
  const [retention] = result.configs
  assert.equal(retention?.value, '5')
  assert.equal(retention?.configSource, 1)
  assert.ok((retention?.documentation ?? '').length > 10)
  assert.deepEqual(
    retention?.synonyms.map((s) => [s.name, s.value, s.source]),
    [['retention.ms', '5', 1]],
  )
  await change(BROKER, '', [set('log.retention.ms', '99000')])
  const [inherited] = (await describe(TOPIC, 't', ['retention.ms'])).configs
  assert.deepEqual(
    inherited?.synonyms.map((s) => [s.name, s.value, s.source]),
    [
      ['retention.ms', '5', 1],
      ['log.retention.ms', '99000', 3],
      ['log.retention.hours', '2', 4],
      ['log.retention.hours', '168', 5],
    ],
  )
})

test('DescribeConfigs of this broker and of all brokers', async () => {
  const broker = await describe(BROKER, '1')
  assert.equal(broker.errorCode, ErrorCode.NONE)
  const partitions = broker.configs.find((config) => config.name === 'num.partitions')
  assert.deepEqual(
    [partitions?.value, partitions?.configSource, partitions?.readOnly],
    ['4', 4, true],
  )
  assert.deepEqual((await describe(BROKER, '')).configs, [])
})

test('configs of what is not there, or has none', async () => {
  for (const [type, name, code] of [
    [TOPIC, 'none', ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    [TOPIC, '?', ErrorCode.INVALID_TOPIC_EXCEPTION],
    [BROKER, '2', ErrorCode.INVALID_REQUEST],
    [BROKER, 'one', ErrorCode.INVALID_REQUEST],
    [BROKER_LOGGER, '1', ErrorCode.INVALID_REQUEST],
    [16, 'x', ErrorCode.INVALID_REQUEST],
    [0, '', ErrorCode.INVALID_REQUEST],
  ] as const) {
    const result = await describe(type, name)
    assert.equal(result.errorCode, code, `${type} ${name}`)
    assert.ok((result.errorMessage ?? '').length > 10)
    assert.deepEqual(result.configs, [])
    assert.equal((await change(type, name, [set('retention.ms', '1')]))[0], code)
  }
})

test('AlterConfigs replaces all configs of a topic', async () => {
  const handler = createAlterConfigsHandler(services)
  for (const version of versionsOf(AlterConfigs)) {
    const alter = async (configs: { name: string; value: string | null }[], only = false) => {
      const resources = [{ resourceType: TOPIC, resourceName: 't', configs }]
      const request = { resources, validateOnly: only }
      const [answer] = (await call(AlterConfigs, handler, version, request)).responses
      assert.equal((answer?.errorMessage ?? '').length > 10, answer?.errorCode !== 0)
      return answer?.errorCode
    }
    const both = [
      { name: 'retention.ms', value: '7' },
      { name: 'segment.bytes', value: '2000' },
    ]
    assert.equal(await alter(both), ErrorCode.NONE)
    assert.equal(services.replicas.configs.get('t')?.retentionMs, 7)
    assert.equal(await alter([{ name: 'retention.ms', value: '8' }], true), ErrorCode.NONE)
    assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '7')
    assert.equal(await alter([{ name: 'retention.ms', value: '9' }]), ErrorCode.NONE)
    assert.equal(await textOf(TOPIC, 't', 'segment.bytes'), '1073741824')
    assert.equal(await alter([{ name: 'retention.ms', value: null }]), ErrorCode.INVALID_REQUEST)
    assert.equal(await alter([...both, ...both]), ErrorCode.INVALID_REQUEST)
    assert.equal(await alter([{ name: 'retention.ms', value: 'x' }]), ErrorCode.INVALID_CONFIG)
    assert.equal(await alter([{ name: 'no.such', value: 'x' }]), ErrorCode.INVALID_CONFIG)
    assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '9')
    assert.equal(await alter([]), ErrorCode.NONE)
    assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '7200000')
  }
})

test('IncrementalAlterConfigs sets, deletes, appends and subtracts, durably', async () => {
  const handler = createIncrementalAlterConfigsHandler(services)
  for (const version of versionsOf(IncrementalAlterConfigs)) {
    const configs = [set('retention.ms', String(version + 10))]
    const resources = [{ resourceType: TOPIC, resourceName: 't', configs }]
    const response = await call(IncrementalAlterConfigs, handler, version, {
      resources,
      validateOnly: false,
    })
    assert.deepEqual(response.responses, [
      { errorCode: 0, errorMessage: null, resourceType: TOPIC, resourceName: 't' },
    ])
    assert.equal(await textOf(TOPIC, 't', 'retention.ms'), String(version + 10))
  }
  const policy = (configOperation: number, value: string): Change[] => [
    { name: 'cleanup.policy', configOperation, value },
  ]
  assert.equal((await change(TOPIC, 't', policy(APPEND, 'compact')))[0], ErrorCode.NONE)
  assert.equal(await textOf(TOPIC, 't', 'cleanup.policy'), 'delete,compact')
  assert.equal((await change(TOPIC, 't', policy(SUBTRACT, 'delete')))[0], ErrorCode.NONE)
  assert.equal(await textOf(TOPIC, 't', 'cleanup.policy'), 'compact')
  services = await services.restart()
  assert.equal(await textOf(TOPIC, 't', 'cleanup.policy'), 'compact')
  assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '11')
  const remove = { name: 'retention.ms', configOperation: DELETE, value: null }
  assert.equal((await change(TOPIC, 't', [remove]))[0], ErrorCode.NONE)
  assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '7200000')
})

test('IncrementalAlterConfigs: what is refused changes nothing', async () => {
  const cases: [readonly Change[], number][] = [
    [[set('retention.ms', 'x')], ErrorCode.INVALID_CONFIG],
    [[set('no.such', '1')], ErrorCode.INVALID_CONFIG],
    [[set('retention.ms', '1'), set('segment.bytes', '0')], ErrorCode.INVALID_CONFIG],
    [[set('retention.ms', null)], ErrorCode.INVALID_REQUEST],
    [[set('retention.ms', '1'), set('retention.ms', '2')], ErrorCode.INVALID_REQUEST],
    [[{ name: 'retention.ms', configOperation: 7, value: '1' }], ErrorCode.INVALID_REQUEST],
    [[{ name: 'retention.ms', configOperation: APPEND, value: '1' }], ErrorCode.INVALID_CONFIG],
  ]
  for (const [changes, code] of cases) {
    assert.equal((await change(TOPIC, 't', changes))[0], code, JSON.stringify(changes))
  }
  assert.equal((await change(TOPIC, 't', [set('retention.ms', '1')], true))[0], ErrorCode.NONE)
  assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '7200000')
  const handler = createIncrementalAlterConfigsHandler(services)
  const resource = { resourceType: TOPIC, resourceName: 't', configs: [set('retention.ms', '1')] }
  const twice = { resources: [resource, resource], validateOnly: false }
  const response = await call(IncrementalAlterConfigs, handler, 1, twice)
  assert.deepEqual(
    response.responses.map((r) => r.errorCode),
    [ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_REQUEST],
  )
  assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '7200000')
})

test('what changes on the broker reaches its topics, and survives a restart', async () => {
  assert.equal((await change(BROKER, '', [set('log.retention.ms', '300')]))[0], ErrorCode.NONE)
  assert.equal(services.replicas.configs.get('t')?.retentionMs, 300)
  const [topicRetention] = (await describe(TOPIC, 't', ['retention.ms'])).configs
  assert.deepEqual([topicRetention?.value, topicRetention?.configSource], ['300', 3])
  assert.equal((await change(BROKER, '1', [set('log.retention.ms', '400')]))[0], ErrorCode.NONE)
  assert.equal(services.replicas.configs.get('t')?.retentionMs, 400)
  services = await services.restart()
  const [own] = (await describe(BROKER, '1', ['log.retention.ms'])).configs
  assert.deepEqual([own?.value, own?.configSource], ['400', 2])
  const [all] = (await describe(BROKER, '', ['log.retention.ms'])).configs
  assert.deepEqual([all?.value, all?.configSource], ['300', 3])
  const remove = { name: 'log.retention.ms', configOperation: DELETE, value: null }
  assert.equal((await change(BROKER, '1', [remove]))[0], ErrorCode.NONE)
  assert.equal(await textOf(TOPIC, 't', 'retention.ms'), '300')
})

test('configs of a broker that cannot change while it runs', async () => {
  assert.equal(
    (await change(BROKER, '1', [set('num.partitions', '3')]))[0],
    ErrorCode.INVALID_CONFIG,
  )
  assert.equal((await change(BROKER, '1', [set('no.such', '3')]))[0], ErrorCode.INVALID_CONFIG)
  assert.equal(
    (await change(BROKER, '', [set('log.retention.ms', 'x')]))[0],
    ErrorCode.INVALID_CONFIG,
  )
})

test('the rates of throttled replicas are of one broker, and told when they are set', async () => {
  const key = 'leader.replication.throttled.rate'
  assert.deepEqual((await describe(BROKER, '1', [key])).configs, [])
  assert.equal(services.replicas.rates?.leader, Number.MAX_SAFE_INTEGER)
  assert.deepEqual(await change(BROKER, '1', [set(key, '5000')]), [0, null])
  assert.equal(services.replicas.rates?.leader, 5000)
  assert.equal(await textOf(BROKER, '1', key), '5000')
  const [code] = await change(BROKER, '', [set(key, '5000')])
  assert.equal(code, ErrorCode.INVALID_CONFIG)
  await change(BROKER, '1', [{ name: key, configOperation: DELETE, value: null }])
  assert.equal(services.replicas.rates?.leader, Number.MAX_SAFE_INTEGER)
})
