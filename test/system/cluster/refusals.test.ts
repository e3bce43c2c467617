/**
 * What a cluster cannot grant: brokers that cannot join end with one line that says why, requests
 * are answered with one code, tools with one line.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Admin } from '../../../src/client/admin.ts'
import { ErrorCode } from '../../../src/protocol/error-codes.ts'
import { ZooKeeperView } from '../../checker/zookeeper-view.ts'
import { ShardlogServer } from '../../support/broker.ts'
import { skipWithoutCluster, startCluster, type TestCluster } from '../../support/cluster.ts'
import { runTool } from '../../support/tools.ts'

const skip = skipWithoutCluster('shardlog')
const OTHER_CLUSTER = 'AAAAAAAAAAAAAAAAAAAAAA'
const folder = mkdtempSync(join(tmpdir(), 'refusals-test-'))
let cluster: TestCluster

before(async () => {
  if (skip) return
  cluster = await startCluster({ kind: 'shardlog', brokers: 1 })
  await cluster.createTopic({ name: 'there', partitions: 2, replicationFactor: 1 })
})
after(async () => {
  await cluster?.close()
  rmSync(folder, { recursive: true })
})

/** The line that a broker ends with which cannot start. */
async function refusal(config: Readonly<Record<string, string>>): Promise<string> {
  const common = {
    'broker.id': '7',
    'log.dirs': mkdtempSync(join(folder, 'data-')),
    listeners: 'PLAINTEXT://127.0.0.1:0',
    'zookeeper.connect': cluster.zookeeper.connect,
    'zookeeper.session.timeout.ms': '6000',
  }
  const settings = Object.entries({ ...common, ...config })
  const words = settings.flatMap(([key, value]) => ['--override', `${key}=${value}`])
  const { code, stderr } = await runTool('shardlog-server', words)
  assert.equal(code, 1, stderr)
  // Beside its log, which has JSON in every line.
  const lines = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'))
  assert.equal(lines.length, 1, stderr)
  return lines.join()
}

interface PackageClient {
  on(event: 'connect', listener: () => void): void
  init(options: { connect: string; timeout: number; debug_level: number }): void
  a_set_acl(path: string, version: number, acl: unknown[], done: (code: number) => void): void
  close(): void
}

/** Lets the world read a node that is there, and nothing else. */
async function makeReadOnly(path: string): Promise<void> {
  const Package = createRequire(import.meta.url)('zookeeper') as new () => PackageClient
  const client = new Package()
  const code = await new Promise<number>((set) => {
    const acl = [{ perms: 1, scheme: 'world', auth: 'anyone' }]
    client.on('connect', () => client.a_set_acl(path, -1, acl, set))
    client.init({ connect: cluster.zookeeper.connect, timeout: 6000, debug_level: 0 })
  })
  client.close()
  assert.equal(code, 0)
}

test('a broker id that is in use', { skip, timeout: 60_000 }, async () => {
  assert.equal(
    await refusal({ 'broker.id': '0' }),
    `shardlog-server: broker.id 0 is in use: a broker with it is registered at ${cluster.bootstrap}`,
  )
})

test('a ZooKeeper that cannot be reached', { skip, timeout: 60_000 }, async () => {
  assert.match(
    await refusal({
      'zookeeper.connect': '127.0.0.1:1',
      'zookeeper.connection.timeout.ms': '400',
    }),
    /^shardlog-server: ZooKeeper at 127\.0\.0\.1:1 cannot be reached within 400 ms \(.*ECONNREFUSED\)$/,
  )
})

test('a data directory of another cluster', { skip, timeout: 60_000 }, async () => {
  const directory = join(folder, 'other')
  mkdirSync(directory)
  const properties = `version=0\nbroker.id=7\ncluster.id=${OTHER_CLUSTER}\n`
  writeFileSync(join(directory, 'meta.properties'), properties)
  const { clusterId } = await cluster.broker(0).metadata()
  assert.equal(
    await refusal({ 'log.dirs': directory }),
    `shardlog-server: the data directory belongs to cluster ${OTHER_CLUSTER} (meta.properties), ` +
      `but zookeeper.connect leads to cluster ${clusterId}`,
  )
})

test('a chroot is made, and not where that is forbidden', { skip, timeout: 60_000 }, async () => {
  const { connect } = cluster.zookeeper
  await using server = new ShardlogServer()
  await server.start({ 'broker.id': '7', 'zookeeper.connect': `${connect}/some/where` })
  using view = await ZooKeeperView.open(connect)
  assert.ok(await view.node('/some/where/brokers/ids/7'))
  await server.stop()

  // Below a node that is read only another that is there is good enough, and a new one is not.
  await makeReadOnly('/some')
  await server.start({ 'broker.id': '7', 'zookeeper.connect': `${connect}/some/where` })
  await server.stop()
  assert.equal(
    await refusal({ 'zookeeper.connect': `${connect}/some/else` }),
    'shardlog-server: zookeeper.connect: the chroot /some/else cannot be created: NO_AUTH',
  )
  assert.match(
    await refusal({ 'zookeeper.connect': `${connect}/some` }),
    /^shardlog-server: ZooKeeper refuses \/some\/[a-z/]+: NO_AUTH$/,
  )
  await makeReadOnly('/some/where/brokers/ids')
  assert.equal(
    await refusal({ 'zookeeper.connect': `${connect}/some/where` }),
    'shardlog-server: ZooKeeper refuses /some/where/brokers/ids/7: NO_AUTH',
  )
})

test('more replicas than there are brokers', { skip, timeout: 60_000 }, async () => {
  await using admin = new Admin({ bootstrapServers: cluster.bootstrap })
  const [created] = await admin.createTopics([{ name: 'wide', replicationFactor: 3 }])
  assert.equal(created?.error?.code, ErrorCode.INVALID_REPLICATION_FACTOR)
  const words = ['--create', '--topic', 'wide', '--partitions', '1', '--replication-factor', '3']
  for (const where of [
    ['--bootstrap-server', cluster.bootstrap],
    ['--zookeeper', cluster.zookeeper.connect],
  ]) {
    const { code, stderr } = await runTool('kafka-topics', [...words, ...where])
    assert.equal(code, 1)
    assert.match(stderr, /^[^\n]*3[^\n]*larger than[^\n]*1[^\n]*\n$/)
  }
})

test('fewer partitions than there are', { skip, timeout: 60_000 }, async () => {
  await using admin = new Admin({ bootstrapServers: cluster.bootstrap })
  const [changed] = await admin.createPartitions([{ topic: 'there', count: 1 }])
  assert.equal(changed?.error?.code, ErrorCode.INVALID_PARTITIONS)
  const words = ['--alter', '--topic', 'there', '--partitions', '1']
  for (const where of [
    ['--bootstrap-server', cluster.bootstrap],
    ['--zookeeper', cluster.zookeeper.connect],
  ]) {
    const { code, stderr } = await runTool('kafka-topics', [...words, ...where])
    assert.equal(code, 1)
    assert.match(stderr, /^[^\n]*2[^\n]*\n$/)
  }
})
