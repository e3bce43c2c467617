/**
 * Our tables of configuration keys against Apache Kafka's own (`KafkaConfig`, `LogConfig`), which a
 * small Java program prints: names, types, importance and defaults, and no key of Kafka unknown here.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { brokerConfig } from '../../src/config/broker-config.ts'
import {
  type ConfigKey,
  type ConfigTable,
  formatConfigValue,
} from '../../src/config/define-config.ts'
import { isInertBrokerKey } from '../../src/config/inert-broker-keys.ts'
import { topicConfig } from '../../src/config/topic-config.ts'
import { runJava } from '../support/java-program.ts'
import { peer, skipWithout } from '../support/peers.ts'

/** Where we differ on purpose, and why. */
const OTHER_DEFAULTS = new Map([
  // Only this machine, unless told otherwise.
  ['listeners', null],
  // What the system chooses is faster.
  ['socket.send.buffer.bytes', '-1'],
  ['socket.receive.buffer.bytes', '-1'],
  // A topic of 1,000 partitions takes a third of the time.
  ['zookeeper.max.in.flight.requests', '1000'],
])

/** Kafka 0.8 only. */
const OLD_KEYS = ['host.name', 'port', 'advertised.host.name', 'advertised.port']

interface KafkaKey {
  readonly scope: string
  readonly name: string
  readonly type: string
  readonly importance: string
  readonly default: string | null
}

function kafkaKeys(t: TestContext): readonly KafkaKey[] {
  if (skipWithout(t, 'kafka-server')) return []
  const jar = join(peer('kafka-server'), 'kafka_2.13-3.9.1.jar')
  const lines = runJava(jar, 'ConfigTable.java', Buffer.alloc(0)).toString().split('\n')
  return lines
    .filter((line) => line !== '')
    .map((line) => {
      const [scope, name, type, importance, kind, value] = line.split('\t') as string[]
      return {
        scope: scope as string,
        name: name as string,
        type: type as string,
        importance: importance as string,
        default: kind === 'default' ? (value as string) : null,
      }
    })
}

function byName(table: ConfigTable): ReadonlyMap<string, ConfigKey> {
  return new Map(Object.values(table).map((row) => [row.key, row]))
}

function differences(row: ConfigKey, kafka: KafkaKey): string[] {
  const wrong: string[] = []
  const ours = formatConfigValue(row.default)
  const theirs = OTHER_DEFAULTS.has(row.key)
    ? (OTHER_DEFAULTS.get(row.key) as string | null)
    : kafka.default
  if (row.type !== kafka.type) wrong.push(`${row.key}: type ${row.type}, not ${kafka.type}`)
  if (ours !== theirs) wrong.push(`${row.key}: default ${ours}, not ${theirs}`)
  if ((row.importance ?? 'medium') !== kafka.importance) {
    wrong.push(`${row.key}: importance ${row.importance}, not ${kafka.importance}`)
  }
  return wrong
}

test('broker keys have the types, defaults and importance of Apache Kafka 3.9.1', (t) => {
  const keys = kafkaKeys(t).filter((key) => key.scope === 'broker')
  if (keys.length === 0) return
  const ours = byName(brokerConfig)
  const wrong: string[] = []
  for (const key of keys) {
    const row = ours.get(key.name)
    if (row !== undefined) wrong.push(...differences(row, key))
    else if (!isInertBrokerKey(key.name)) wrong.push(`${key.name}: unknown here`)
  }
  const theirs = new Set(keys.map((key) => key.name))
  for (const key of ours.keys()) {
    const known = theirs.has(key) || OLD_KEYS.includes(key) || key.startsWith('shardlog.')
    if (!known) wrong.push(`${key}: unknown to Kafka`)
    if (isInertBrokerKey(key)) wrong.push(`${key}: declared, and in the list of inert keys too`)
  }
  assert.deepEqual(wrong, [])
})

test('topic keys are exactly those of Apache Kafka 3.9.1', (t) => {
  const keys = kafkaKeys(t).filter((key) => key.scope === 'topic')
  if (keys.length === 0) return
  const ours = byName(topicConfig)
  assert.deepEqual([...ours.keys()].sort(), keys.map((key) => key.name).sort())
  assert.deepEqual(
    keys.flatMap((key) => differences(ours.get(key.name) as ConfigKey, key)),
    [],
  )
})

test("a topic key's synonyms are keys that a broker knows", () => {
  const broker = byName(brokerConfig)
  for (const row of Object.values(topicConfig) as ConfigKey[]) {
    for (const { key } of row.synonyms ?? []) {
      assert.ok(broker.has(key) || isInertBrokerKey(key), `${row.key}: ${key}`)
    }
  }
})
