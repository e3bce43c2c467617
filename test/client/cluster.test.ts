/**
 * What a client knows of a cluster, and how it goes on when brokers are not there: against our
 * broker in this process, and scripted answers where a broker cannot be brought to give them.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { parseHostAndPort, resolveClientOptions } from '../../src/client/client-options.ts'
import { Cluster, type TopicMetadata } from '../../src/client/cluster.ts'
import {
  ClientClosedError,
  ClientError,
  ConnectionError,
  errorFor,
  InvalidArgumentError,
  KafkaError,
  UnknownTopicOrPartitionError,
} from '../../src/client/errors.ts'
import { createBroker } from '../../src/index.ts'
import { writeResponseFrame } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { ZERO_UUID } from '../../src/protocol/schema.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { until } from '../support/until.ts'
import { startPeer } from './scripted-peer.ts'

/** A port where nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

test('addresses are host:port, with or without a protocol and brackets', () => {
  assert.deepEqual(parseHostAndPort('a.b:9092'), { host: 'a.b', port: 9092 })
  assert.deepEqual(parseHostAndPort('PLAINTEXT://a:1'), { host: 'a', port: 1 })
  assert.deepEqual(parseHostAndPort('[::1]:65535'), { host: '::1', port: 65535 })
  for (const wrong of ['', 'a', 'a:', ':1', 'a:0', 'a:65536', '::1:9092', 'a b:1']) {
    assert.throws(() => parseHostAndPort(wrong), InvalidArgumentError, wrong)
  }
  const { bootstrap } = resolveClientOptions({ bootstrapServers: 'a:1, b:2,' })
  assert.deepEqual(bootstrap, [
    { host: 'a', port: 1 },
    { host: 'b', port: 2 },
  ])
  for (const none of ['', ' , ', []]) {
    assert.throws(() => resolveClientOptions({ bootstrapServers: none }), InvalidArgumentError)
  }
})

test('one bootstrap server that is there is enough', async () => {
  await using broker = await createBroker({ topics: { t: { partitions: 2 } } })
  const dead = await deadPort()
  const cluster = new Cluster({
    bootstrapServers: [`127.0.0.1:${dead}`, broker.bootstrapServers],
  })
  const { topics, brokers, controllerId } = await cluster.metadata(['t', 'not-there'])
  assert.deepEqual(
    topics.get('t')?.partitions.map(({ partition, leaderId }) => [partition, leaderId]),
    [
      [0, 0],
      [1, 0],
    ],
  )
  assert.equal(topics.get('not-there')?.errorCode, 3)
  assert.deepEqual([brokers.length, controllerId], [1, 0])
  const { connection } = await cluster.leader('t', 1)
  assert.equal(await cluster.controller(), connection)
  assert.equal(await cluster.any(), connection)
  await assert.rejects(cluster.leader('t', 2), UnknownTopicOrPartitionError)
  await assert.rejects(cluster.leader('not-there', 0), UnknownTopicOrPartitionError)
  await assert.rejects(cluster.broker(77), ConnectionError)
  // The first question has the topic of the offsets created.
  const coordinator = await cluster.retry(() => cluster.coordinator('group', 'g'))
  assert.equal(coordinator.port, broker.port)
  assert.equal(await cluster.coordinator('group', 'g'), coordinator)
  await cluster.close()
  assert.equal(connection.isOpen, false)
  await assert.rejects(cluster.metadata(null), ClientClosedError)
})

test('metadata is asked for once, and again when it is old or called stale', async () => {
  await using broker = await createBroker({ topics: { t: { partitions: 1 } } })
  const clock = new ManualClock()
  const cluster = new Cluster({ bootstrapServers: broker.bootstrapServers, clock })
  const first = (await cluster.metadata(['t'])).topics.get('t')
  const again = async () => (await cluster.metadata(['t'])).topics.get('t')
  assert.equal(await again(), first)
  clock.advance(300_001)
  const second = await again()
  assert.notEqual(second, first)
  assert.equal(await again(), second)
  cluster.invalidate('t')
  assert.notEqual(await again(), second)
  const all = await cluster.metadata(null)
  assert.ok(all.topics.has('t'))
  await cluster.close()
})

test('a broker that lags behind takes back no leader', async (t) => {
  type Image = Pick<TopicMetadata, 'topicId' | 'errorCode'> & { leader?: [number, number] }
  let image: Image = { topicId: ZERO_UUID, errorCode: 0 }
  const peer = await startPeer(t, ({ apiVersion, correlationId }, socket) => {
    const { leader, ...rest } = image
    const partitions = leader
      ? [{ partitionIndex: 0, leaderId: leader[0], leaderEpoch: leader[1] }]
      : []
    const filled = partitions.map((one) => {
      return { ...one, errorCode: 0, replicaNodes: [], isrNodes: [], offlineReplicas: [] }
    })
    const writer = new MessageWriter()
    writeResponseFrame(
      writer,
      Metadata,
      { apiVersion, correlationId },
      {
        ...{ brokers: [], clusterId: null, controllerId: -1 },
        topics: [{ ...rest, name: 't', isInternal: false, partitions: filled }],
      },
    )
    socket.write(Buffer.from(writer.written))
  })
  const cluster = new Cluster({ bootstrapServers: `127.0.0.1:${peer.port}` })
  t.after(() => cluster.close())
  const heard = async (next: Image) => {
    image = next
    const { topics } = await cluster.metadata(['t'], { refresh: true })
    const one = topics.get('t')?.partitions[0]
    return one && [one.leaderId, one.leaderEpoch]
  }
  const [first, second] = ['abcdefghijklmnopqrstuA', 'bcdefghijklmnopqrstuvA'] as const
  const topic = { topicId: first, errorCode: 0 }
  assert.deepEqual(await heard({ ...topic, leader: [2, 5] }), [2, 5])
  assert.deepEqual(await heard({ ...topic, leader: [1, 4] }), [2, 5])
  assert.deepEqual(await heard({ ...topic, leader: [-1, 5] }), [-1, 5])
  assert.deepEqual(await heard({ ...topic, leader: [3, 6] }), [3, 6])
  // Another topic of the name, and one that was gone in between.
  assert.deepEqual(await heard({ ...topic, topicId: second, leader: [1, 0] }), [1, 0])
  assert.deepEqual(await heard({ ...topic, topicId: second, leader: [1, 7] }), [1, 7])
  assert.equal(await heard({ topicId: ZERO_UUID, errorCode: 3 }), undefined)
  assert.deepEqual(await heard({ ...topic, topicId: second, leader: [1, 2] }), [1, 2])
})

test('a connection that broke is opened anew', async () => {
  await using broker = await createBroker({ topics: { t: { partitions: 1 } } })
  const cluster = new Cluster({ bootstrapServers: broker.bootstrapServers })
  const { connection } = await cluster.leader('t', 0)
  await connection.close()
  const [one, other] = await Promise.all([cluster.leader('t', 0), cluster.leader('t', 0)])
  assert.notEqual(one.connection, connection)
  assert.equal(one.connection, other.connection)
  assert.equal(one.connection.isOpen, true)
  await cluster.close()
})

test('a broker that does not answer is asked nothing while another one does', async (t) => {
  await using broker = await createBroker({ topics: { t: {} } })
  // The same broker by another address, until the way to it is stopped.
  const streams: Socket[] = []
  let isStopped = false
  const way = createServer((from) => {
    streams.push(from)
    if (isStopped) return
    const to = connect(broker.port, '127.0.0.1')
    streams.push(to)
    for (const one of [from, to]) one.on('error', () => undefined)
    from.pipe(to).pipe(from)
  }).listen(0, '127.0.0.1')
  await once(way, 'listening')
  t.after(() => {
    for (const one of streams) one.destroy()
    way.close()
  })
  const stopped = { host: '127.0.0.1', port: (way.address() as { port: number }).port }
  const cluster = new Cluster({ bootstrapServers: `127.0.0.1:${stopped.port}` })
  t.after(() => cluster.close())
  const silent = await cluster.connectTo(stopped)
  const other = await cluster.broker(0)
  const found = new Set([await cluster.any(), await cluster.any()])
  assert.deepEqual(found, new Set([silent, other]))
  isStopped = true
  for (const one of streams) one.unpipe().pause()
  const unanswered = assert.rejects(silent.send(Metadata, { topics: [] }), ClientClosedError)
  await until('its request is overdue', () => silent.isOverdue)
  for (let i = 0; i < 4; i += 1) assert.equal(await cluster.any(), other)
  await silent.close()
  await unanswered
  const before = streams.length
  const opening = assert.rejects(cluster.connectTo(stopped), ClientError)
  for (let i = 0; i < 4; i += 1) assert.equal(await cluster.any(), other)
  await until('it is connected to again', () => streams.length > before)
  for (const one of streams) one.destroy()
  await opening
})

test('what may pass is tried again with backoff, until time is up', async () => {
  const cluster = new Cluster({
    bootstrapServers: `127.0.0.1:${await deadPort()}`,
    retryBackoffMs: 5,
    retryBackoffMaxMs: 10,
  })
  let tries = 0
  const result = await cluster.retry(async () => {
    tries += 1
    if (tries < 4) throw errorFor(6)
    return 'done'
  })
  assert.deepEqual([result, tries], ['done', 4])
  const refused = async (): Promise<never> => {
    tries += 1
    throw errorFor(29)
  }
  await assert.rejects(cluster.retry(refused), { code: 29, retriable: false })
  assert.equal(tries, 5)
  await assert.rejects(
    cluster.retry(() => cluster.any(), { timeoutMs: 60 }),
    ConnectionError,
  )
  const aborted = AbortSignal.abort(new Error('enough'))
  await assert.rejects(cluster.retry(refused, { signal: aborted }), /enough/)
  const waiting = cluster.retry(() => cluster.any())
  const closed = assert.rejects(waiting, ClientClosedError)
  await cluster.close()
  await closed
})

test('an error code has its class, its name and says whether to try again', () => {
  const error = errorFor(3)
  assert.ok(error instanceof UnknownTopicOrPartitionError && error instanceof KafkaError)
  assert.deepEqual(
    [error.name, error.code, error.retriable],
    ['UnknownTopicOrPartitionError', 3, true],
  )
  assert.equal(errorFor(29).name, 'TopicAuthorizationFailedError')
  assert.deepEqual([errorFor(17).name, errorFor(17).retriable], ['InvalidTopicError', false])
  assert.match(errorFor(9999).message, /9999/)
})
