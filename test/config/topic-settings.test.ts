/**
 * Topic keys that a broker has in several units: values, sources and synonyms as Apache Kafka 3.9.1
 * told them with the same `server.properties`.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type DescribedConfig,
  describeBrokerConfig,
  describeTopicConfig,
  effectiveTopicConfig,
} from '../../src/config/topic-settings.ts'

const NONE: ReadonlyMap<string, string> = new Map()

interface Layers {
  readonly fixed?: Readonly<Record<string, string>>
  readonly dynamicDefault?: Readonly<Record<string, string>>
  readonly dynamic?: Readonly<Record<string, string>>
}

function textsOf({ fixed = {}, dynamicDefault = {}, dynamic = {} }: Layers) {
  return {
    fixed: new Map(Object.entries(fixed)),
    dynamicDefault: new Map(Object.entries(dynamicDefault)),
    dynamic: new Map(Object.entries(dynamic)),
  }
}

function line(config: DescribedConfig | undefined): string {
  assert.ok(config)
  const synonyms = config.synonyms.map(({ name, value, source }) => `${source} ${name}=${value}`)
  return [`${config.configSource} ${config.value}`, ...synonyms].join(', ')
}

function topicLine(key: string, layers: Layers): string {
  return line(describeTopicConfig(NONE, textsOf(layers), [key])[0])
}

function brokerLine(key: string, layers: Layers): string {
  return line(describeBrokerConfig(textsOf(layers), [key])[0])
}

const ALL = {
  'log.retention.hours': '3',
  'log.retention.ms': '5000',
  'log.retention.minutes': '9',
  'log.roll.ms': '44',
  'log.roll.hours': '2',
  'log.flush.interval.ms': '55',
  'log.flush.scheduler.interval.ms': '66',
}

test('a topic inherits in every unit, and is told of what was set in its own', () => {
  const cases: [key: string, fixed: Record<string, string>, expected: string][] = [
    ['retention.ms', {}, '5 604800000'],
    ['retention.ms', { 'log.retention.hours': '100' }, '5 360000000'],
    ['retention.ms', { 'log.retention.minutes': '30' }, '5 1800000'],
    [
      'retention.ms',
      { 'log.retention.ms': '5000' },
      '4 5000, 4 log.retention.ms=5000, 5 log.retention.hours=168',
    ],
    [
      'retention.ms',
      ALL,
      '4 5000, 4 log.retention.ms=5000, 4 log.retention.minutes=9, 4 log.retention.hours=3, ' +
        '5 log.retention.hours=168',
    ],
    ['segment.ms', { 'log.roll.hours': '5' }, '5 18000000'],
    ['segment.ms', ALL, '4 44, 4 log.roll.ms=44, 4 log.roll.hours=2, 5 log.roll.hours=168'],
    ['segment.jitter.ms', { 'log.roll.jitter.hours': '1' }, '5 3600000'],
    ['flush.ms', { 'log.flush.scheduler.interval.ms': '777' }, '5 777'],
    [
      'flush.ms',
      ALL,
      '4 55, 4 log.flush.interval.ms=55, 4 log.flush.scheduler.interval.ms=66, ' +
        '5 log.flush.scheduler.interval.ms=9223372036854775807',
    ],
    ['max.message.bytes', {}, '5 1048588, 5 message.max.bytes=1048588'],
    ['leader.replication.throttled.replicas', {}, '5 '],
  ]
  for (const [key, fixed, expected] of cases) assert.equal(topicLine(key, { fixed }), expected)
})

test('what was set while running goes first, then what is below it in every unit', () => {
  const set = { 'log.retention.ms': '99000' }
  assert.equal(
    topicLine('retention.ms', { dynamic: set, dynamicDefault: set }),
    '2 99000, 2 log.retention.ms=99000, 3 log.retention.ms=99000, 5 log.retention.hours=168',
  )
  const overrides = new Map([['retention.ms', '5']])
  const own = describeTopicConfig(overrides, textsOf({ dynamicDefault: set }), ['retention.ms'])
  assert.equal(
    line(own[0]),
    '1 5, 1 retention.ms=5, 3 log.retention.ms=99000, 5 log.retention.hours=168',
  )
})

test('a broker is told of a key in the units below its own', () => {
  const cases: [key: string, fixed: Record<string, string>, expected: string][] = [
    ['log.retention.ms', { 'log.retention.hours': '100' }, '5 null'],
    [
      'log.retention.hours',
      { 'log.retention.hours': '100' },
      '4 100, 4 log.retention.hours=100, 5 log.retention.hours=168',
    ],
    [
      'log.retention.minutes',
      ALL,
      '4 9, 4 log.retention.minutes=9, 4 log.retention.hours=3, 5 log.retention.hours=168',
    ],
    ['log.roll.hours', ALL, '4 2, 4 log.roll.hours=2, 5 log.roll.hours=168'],
    [
      'log.flush.scheduler.interval.ms',
      ALL,
      '4 66, 4 log.flush.scheduler.interval.ms=66, ' +
        '5 log.flush.scheduler.interval.ms=9223372036854775807',
    ],
  ]
  for (const [key, fixed, expected] of cases) assert.equal(brokerLine(key, { fixed }), expected)
})

test('a negative number of hours or minutes is no limit', () => {
  for (const key of ['log.retention.hours', 'log.retention.minutes']) {
    const texts = textsOf({ fixed: { [key]: '-1' } })
    assert.equal(effectiveTopicConfig(NONE, texts).retentionMs, -1)
  }
})
