/** ApiVersions, FindCoordinator, InitProducerId and DescribeCluster in every version. */
import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { encodeResponse } from '../../src/protocol/codec.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { writeResponseHeader } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { ApiVersions } from '../../src/protocol/messages/api-versions.ts'
import { DescribeCluster } from '../../src/protocol/messages/describe-cluster.ts'
import { FindCoordinator } from '../../src/protocol/messages/find-coordinator.ts'
import { InitProducerId } from '../../src/protocol/messages/init-producer-id.ts'
import {
  createApiVersionsHandler,
  unsupportedApiVersions,
} from '../../src/server/handlers/api-versions.ts'
import { createDescribeClusterHandler } from '../../src/server/handlers/describe-cluster.ts'
import { createFindCoordinatorHandler } from '../../src/server/handlers/find-coordinator.ts'
import { createInitProducerIdHandler } from '../../src/server/handlers/init-producer-id.ts'
import {
  brokerImage,
  CLUSTER_ID,
  call,
  contextOf,
  createServices,
  type TestServices,
  versionsOf,
} from './test-services.ts'

let services: TestServices
beforeEach(async () => {
  services = await createServices()
})
afterEach(() => services.close())

const ranges = [
  { apiKey: 3, minVersion: 0, maxVersion: 12 },
  { apiKey: 18, minVersion: 0, maxVersion: 4 },
]

test('ApiVersions lists what is served and keeps the name of the software', async () => {
  const handler = createApiVersionsHandler(() => ranges)
  for (const version of versionsOf(ApiVersions)) {
    const context = contextOf(ApiVersions, version)
    const request = { clientSoftwareName: 'a-client.x', clientSoftwareVersion: '1.2-rc' }
    const response = await call(ApiVersions, handler, version, request, context)
    assert.equal(response.errorCode, ErrorCode.NONE)
    assert.deepEqual(response.apiKeys, ranges)
    assert.equal(response.finalizedFeaturesEpoch, -1)
    assert.deepEqual(
      context.clientSoftware,
      version < 3 ? null : { name: 'a-client.x', version: '1.2-rc' },
    )
  }
})

test('ApiVersions refuses names that are empty or odd, without listing anything', async () => {
  const handler = createApiVersionsHandler(() => ranges)
  const odd = ['', '-a', 'a-', 'a b', 'ä', 'a\n']
  const pairs = [...odd.map((name) => [name, '1']), ...odd.map((version) => ['a', version])]
  for (const version of [3, 4]) {
    for (const [name, software] of pairs) {
      const context = contextOf(ApiVersions, version)
      const request = { clientSoftwareName: name, clientSoftwareVersion: software }
      const response = await call(ApiVersions, handler, version, request, context)
      assert.equal(response.errorCode, ErrorCode.INVALID_REQUEST)
      assert.deepEqual(response.apiKeys, [])
      assert.equal(context.clientSoftware, null)
    }
  }
})

test('too new a version of ApiVersions is answered with the 20 bytes of Apache Kafka', () => {
  const writer = new MessageWriter()
  writer.int32(16)
  writeResponseHeader(writer, ApiVersions, 0, 77)
  encodeResponse(ApiVersions, 0, writer, unsupportedApiVersions())
  assert.equal(writer.written.toString('hex'), '000000100000004d002300000001001200000004')
})

test('FindCoordinator names this broker for groups', async () => {
  const handler = createFindCoordinatorHandler(services)
  for (const version of versionsOf(FindCoordinator)) {
    const request = version < 4 ? { key: 'g1' } : { coordinatorKeys: ['g1', 'g2'] }
    const response = await call(FindCoordinator, handler, version, request)
    const answers = version < 4 ? [{ ...response, key: 'g1' }] : response.coordinators
    assert.equal(answers.length, version < 4 ? 1 : 2)
    for (const [i, answer] of answers.entries()) {
      assert.equal(answer.key, `g${i + 1}`)
      assert.equal(answer.errorCode, ErrorCode.NONE)
      assert.equal(answer.nodeId, 1)
      assert.equal(answer.host, 'broker-1')
      assert.equal(answer.port, 9092)
    }
  }
})

test('FindCoordinator refuses transactions for good, and types it does not know', async () => {
  const handler = createFindCoordinatorHandler(services)
  for (const version of versionsOf(FindCoordinator).filter((v) => v >= 1)) {
    for (const [keyType, code] of [
      [1, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
      [2, ErrorCode.INVALID_REQUEST],
    ] as const) {
      const request = { keyType, ...(version < 4 ? { key: 't' } : { coordinatorKeys: ['t'] }) }
      const response = await call(FindCoordinator, handler, version, request)
      const answer = version < 4 ? response : response.coordinators[0]
      assert.equal(answer?.errorCode, code)
      assert.ok((answer?.errorMessage ?? '').length > 10)
      assert.equal(answer?.nodeId, -1)
    }
  }
})

test('FindCoordinator knows no coordinator behind a listener that it does not have', async () => {
  const handler = createFindCoordinatorHandler(services)
  const context = contextOf(FindCoordinator, 2, 'OTHER')
  const response = await call(FindCoordinator, handler, 2, { key: 'g', keyType: 0 }, context)
  assert.equal(response.errorCode, ErrorCode.COORDINATOR_NOT_AVAILABLE)
})

test('InitProducerId gives each producer another id, also after a restart', async () => {
  let handler = createInitProducerIdHandler(services)
  const seen = new Set<number>()
  for (const version of versionsOf(InitProducerId)) {
    const request = { transactionalId: null, transactionTimeoutMs: 60_000 }
    const response = await call(InitProducerId, handler, version, request)
    assert.equal(response.errorCode, ErrorCode.NONE)
    assert.equal(response.producerEpoch, 0)
    assert.ok(!seen.has(response.producerId) && response.producerId >= 0)
    seen.add(response.producerId)
  }
  services = await services.restart()
  handler = createInitProducerIdHandler(services)
  const request = { transactionalId: null, transactionTimeoutMs: 60_000 }
  const response = await call(InitProducerId, handler, 5, request)
  assert.ok(response.producerId > Math.max(...seen))
  assert.equal((response.producerId - Math.min(...seen)) % 1000, 0)
})

test('InitProducerId refuses transactions for good, and an empty transactional id', async () => {
  const handler = createInitProducerIdHandler(services)
  for (const version of versionsOf(InitProducerId)) {
    for (const [transactionalId, code] of [
      ['t', ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED],
      ['', ErrorCode.INVALID_REQUEST],
    ] as const) {
      const request = { transactionalId, transactionTimeoutMs: 60_000 }
      const response = await call(InitProducerId, handler, version, request)
      assert.equal(response.errorCode, code)
      assert.equal(response.producerId, -1)
      assert.equal(response.producerEpoch, -1)
    }
  }
})

test('InitProducerId asks clients to try again while the registry cannot be written', async () => {
  const handler = createInitProducerIdHandler(services)
  const stopped = await services.restart()
  const request = { transactionalId: null, transactionTimeoutMs: 60_000 }
  const response = await call(InitProducerId, handler, 4, request)
  assert.equal(response.errorCode, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
  services = stopped
})

test('DescribeCluster lists the brokers of the listener', async () => {
  services.metadata.setBrokers([
    brokerImage(2, ['INSIDE']),
    brokerImage(1, ['PLAINTEXT', 'INSIDE']),
  ])
  const handler = createDescribeClusterHandler(services)
  for (const version of versionsOf(DescribeCluster)) {
    for (const isAsked of [false, true]) {
      const request = { includeClusterAuthorizedOperations: isAsked, endpointType: 1 }
      const response = await call(DescribeCluster, handler, version, request)
      assert.equal(response.errorCode, ErrorCode.NONE)
      assert.equal(response.clusterId, CLUSTER_ID)
      assert.equal(response.controllerId, 1)
      assert.deepEqual(response.brokers, [
        { brokerId: 1, host: 'broker-1', port: 9092, rack: 'rack-1' },
      ])
      assert.equal(response.clusterAuthorizedOperations, isAsked ? 8096 : -2147483648)
      const inside = contextOf(DescribeCluster, version, 'INSIDE')
      const both = await call(DescribeCluster, handler, version, request, inside)
      assert.deepEqual(
        both.brokers.map((broker) => [broker.brokerId, broker.port]),
        [
          [1, 9093],
          [2, 9092],
        ],
      )
    }
  }
})

test('DescribeCluster is no endpoint of controllers', async () => {
  const handler = createDescribeClusterHandler(services)
  for (const [endpointType, code] of [
    [2, ErrorCode.MISMATCHED_ENDPOINT_TYPE],
    [9, ErrorCode.UNSUPPORTED_ENDPOINT_TYPE],
  ] as const) {
    const request = { includeClusterAuthorizedOperations: false, endpointType }
    const response = await call(DescribeCluster, handler, 1, request)
    assert.equal(response.errorCode, code)
    assert.ok((response.errorMessage ?? '').length > 10)
    assert.deepEqual(response.brokers, [])
  }
})
