/** From the texts of a properties file to a broker's configuration: old and new keys, what is refused. */
import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { type LoadedConfig, loadBrokerConfig } from '../../src/config/load-broker-config.ts'

function load(texts: Readonly<Record<string, string>>): LoadedConfig {
  return loadBrokerConfig(new Map(Object.entries(texts)))
}

function refused(texts: Readonly<Record<string, string>>, message: string): void {
  assert.throws(() => load(texts), { name: 'ConfigError', message })
}

const endpoint = (name: string, host: string, port: number) => ({ name, host, port })

test('without a word the broker listens on this machine only', () => {
  const loaded = load({})
  assert.deepEqual(loaded.listeners, [endpoint('PLAINTEXT', '127.0.0.1', 9092)])
  assert.deepEqual(loaded.advertised, loaded.listeners)
  assert.equal(loaded.listensLocallyByDefault, true)
  assert.deepEqual(loaded.logDirs, ['/tmp/kafka-logs'])
})

test("the keys of Kafka 0.8's broker", () => {
  const loaded = load({
    'broker.id': '3',
    port: '9095',
    'host.name': '10.0.0.1',
    'log.dir': '/data',
    'num.partitions': '4',
    'socket.request.max.bytes': '1000000',
    'log.retention.hours': '24',
    'log.segment.bytes': '536870912',
    'num.network.threads': '3',
    'num.io.threads': '8',
    'replica.lag.max.messages': '4000',
  })
  assert.equal(loaded.config.brokerId, 3)
  assert.equal(loaded.config.numPartitions, 4)
  assert.equal(loaded.config.logRetentionHours, 24)
  assert.deepEqual(loaded.listeners, [endpoint('PLAINTEXT', '10.0.0.1', 9095)])
  assert.equal(loaded.listensLocallyByDefault, false)
  assert.deepEqual(loaded.logDirs, ['/data'])
  assert.deepEqual(loaded.inertKeys, [
    'num.network.threads',
    'num.io.threads',
    'replica.lag.max.messages',
  ])
  assert.deepEqual(loaded.unknownKeys, [])
})

test('an empty host is every interface, told as the name of this machine', () => {
  for (const texts of [{ 'host.name': '' }, { listeners: 'PLAINTEXT://:9092' }]) {
    const loaded = load(texts)
    assert.deepEqual(loaded.listeners, [endpoint('PLAINTEXT', '', 9092)])
    assert.deepEqual(loaded.advertised, [endpoint('PLAINTEXT', hostname(), 9092)])
    assert.equal(loaded.listensLocallyByDefault, false)
  }
  for (const host of ['0.0.0.0', '[::]']) {
    const loaded = load({ listeners: `PLAINTEXT://${host}:9092` })
    assert.equal(loaded.advertised[0]?.host, hostname())
  }
})

test('listeners win over host.name and port; several have their names', () => {
  const loaded = load({
    'host.name': '10.9.9.9',
    port: '1',
    listeners: 'inside://10.0.0.1:9092, OUTSIDE://[2001:db8::1]:9093',
    'listener.security.protocol.map': 'INSIDE:PLAINTEXT,outside:plaintext',
    'advertised.listeners': 'OUTSIDE://kafka.example.com:443',
  })
  assert.deepEqual(loaded.listeners, [
    endpoint('INSIDE', '10.0.0.1', 9092),
    endpoint('OUTSIDE', '2001:db8::1', 9093),
  ])
  assert.deepEqual(loaded.advertised, [
    endpoint('INSIDE', '10.0.0.1', 9092),
    endpoint('OUTSIDE', 'kafka.example.com', 443),
  ])
})

test('advertised.host.name and advertised.port stand in for advertised.listeners', () => {
  const old = { 'advertised.host.name': 'old.example.com', 'advertised.port': '19092' }
  assert.deepEqual(load(old).advertised, [endpoint('PLAINTEXT', 'old.example.com', 19092)])
  const both = { ...old, 'advertised.listeners': 'PLAINTEXT://new.example.com:9092' }
  assert.deepEqual(load(both).advertised, [endpoint('PLAINTEXT', 'new.example.com', 9092)])
})

test('port 0 may be listened on more than once, another may not', () => {
  const map = { 'listener.security.protocol.map': 'A:PLAINTEXT,B:PLAINTEXT' }
  assert.equal(load({ ...map, listeners: 'A://127.0.0.1:0,B://127.0.0.1:0' }).listeners.length, 2)
  refused(
    { ...map, listeners: 'A://127.0.0.1:1,B://127.0.0.1:1' },
    'Invalid value A://127.0.0.1:1,B://127.0.0.1:1 for configuration listeners: each listener must have its own port',
  )
})

test('what is wrong with listeners is said', () => {
  const texts: readonly [string, string][] = [
    ['localhost:9092', 'localhost:9092 for configuration listeners: expected NAME://host:port'],
    [
      'PLAINTEXT://h:65536',
      'PLAINTEXT://h:65536 for configuration listeners: expected NAME://host:port',
    ],
    [
      'INSIDE://:9092',
      'INSIDE for configuration listeners: listener.security.protocol.map names no security protocol for it',
    ],
    [
      'SSL://:9093',
      'SSL for configuration listeners: security protocol SSL is not supported; only PLAINTEXT is',
    ],
    [
      'PLAINTEXT://:1,PLAINTEXT://:2',
      'PLAINTEXT://:1,PLAINTEXT://:2 for configuration listeners: each listener must have its own name',
    ],
  ]
  for (const [listeners, rest] of texts) refused({ listeners }, `Invalid value ${rest}`)
  refused({ listeners: ' , ' }, 'Invalid value for configuration listeners: at least one is needed')
  refused(
    { 'listener.security.protocol.map': 'PLAINTEXT' },
    'Invalid value PLAINTEXT for configuration listener.security.protocol.map: expected NAME:PROTOCOL,...',
  )
})

test('what is wrong with advertised.listeners is said', () => {
  refused(
    { 'advertised.listeners': 'OTHER://h:1' },
    'Invalid value OTHER://h:1 for configuration advertised.listeners: there is no listener OTHER',
  )
  refused(
    { 'advertised.listeners': 'PLAINTEXT://0.0.0.0:9092' },
    'Invalid value PLAINTEXT://0.0.0.0:9092 for configuration advertised.listeners: 0.0.0.0 is no address that a client can connect to',
  )
})

test('log.dirs wins over log.dir; one directory, and not an empty one', () => {
  assert.deepEqual(load({ 'log.dir': '/a', 'log.dirs': ' /b ' }).logDirs, ['/b'])
  refused(
    { 'log.dirs': '/a,/b' },
    'Invalid value /a,/b for configuration log.dirs: one directory is supported',
  )
  refused({ 'log.dirs': '' }, 'Invalid value for configuration log.dirs: a directory must be named')
})

test('broker.id and node.id are one number', () => {
  assert.equal(load({ 'node.id': '7' }).config.nodeId, 7)
  assert.equal(load({ 'node.id': '7', 'broker.id': '7' }).config.brokerId, 7)
  refused(
    { 'node.id': '7', 'broker.id': '8' },
    'Invalid value 7 for configuration node.id: it must equal broker.id (8)',
  )
})

test('keys without effect and unknown keys are told apart', () => {
  const loaded = load({
    'queued.max.requests': '500',
    'listener.name.internal.ssl.keystore.location': '/keys',
    'log.preallocate': 'true',
    'log.retention.hour': '24',
  })
  assert.deepEqual(loaded.inertKeys, [
    'queued.max.requests',
    'listener.name.internal.ssl.keystore.location',
    'log.preallocate',
  ])
  assert.deepEqual(loaded.unknownKeys, ['log.retention.hour'])
  assert.equal(loaded.explicit.get('log.retention.hour'), '24')
})

test('a wrong value names key, value and what is allowed', () => {
  refused(
    { 'num.partitions': '0' },
    'Invalid value 0 for configuration num.partitions: Value must be at least 1',
  )
  refused(
    { 'compression.gzip.level': '10' },
    'Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9, or -1',
  )
})
