/**
 * What is said to have no effect is read by nothing, and every other key by something: a broker
 * names the former at start.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { brokerConfig } from '../../src/config/broker-config.ts'
import type { ConfigTable } from '../../src/config/define-config.ts'
import { inertBrokerKeys } from '../../src/config/inert-broker-keys.ts'
import { topicConfig } from '../../src/config/topic-config.ts'

const SOURCE = join(import.meta.dirname, '..', '..', '..', 'src')
const TABLES = ['broker-config.ts', 'topic-config.ts', 'inert-broker-keys.ts']
/** Rooms that clients and tools are made of, and the names in messages. */
const NOT_OF_BROKERS = ['cli', 'client', 'protocol']

const words = new Set(
  readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !NOT_OF_BROKERS.includes(name.split('/')[0] ?? ''))
    .filter((name) => !TABLES.includes(name.split('/').at(-1) ?? ''))
    .flatMap((name) => readFileSync(join(SOURCE, name), 'utf8').match(/\w+/g) ?? []),
)
/** It can have one value only. */
const CHECKED_ALONE = ['zookeeper.set.acl']
const broker: ConfigTable = brokerConfig
const topic: ConfigTable = topicConfig
const topicRows = Object.entries(topic)
const isInertTopicKey = (key: string): boolean =>
  topicRows.some(([, row]) => row.inert && row.synonyms?.some((one) => one.key === key))

test('topic keys have an effect, or are said to have none', () => {
  for (const [property, { key, inert = false }] of topicRows) {
    assert.notEqual(words.has(property), inert, key)
  }
})

test('broker keys have an effect, of their own or on topics, or are said to have none', () => {
  for (const [property, { key, inert = false }] of Object.entries(broker)) {
    const onTopics = topicRows.some(
      ([, row]) => !row.inert && row.synonyms?.some((one) => one.key === key),
    )
    const hasEffect = words.has(property) || onTopics || CHECKED_ALONE.includes(key)
    assert.notEqual(hasEffect, inert, key)
  }
})

test('keys without a row are read by nothing', () => {
  const rows = new Set(Object.values(broker).map(({ key }) => key))
  for (const key of inertBrokerKeys) {
    assert.ok(!rows.has(key), key)
    const isSynonym = topicRows.some(([, row]) => row.synonyms?.some((one) => one.key === key))
    assert.equal(isSynonym, isInertTopicKey(key), key)
  }
})
