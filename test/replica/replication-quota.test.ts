/** How much replicas that catch up may have: which they are, and the rate over some seconds. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { replicationRates } from '../../src/config/broker-quotas.ts'
import { wrongBrokerConfig, wrongTopicConfig } from '../../src/config/topic-settings.ts'
import { ReplicationQuota } from '../../src/replica/replication-quota.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { topicConfig } from './harness.ts'

const LEADERS = 'leader.replication.throttled.replicas'
const FOLLOWERS = 'follower.replication.throttled.replicas'

function quotaOf(side: 'leader' | 'follower', clock = new ManualClock()): ReplicationQuota {
  return new ReplicationQuota({ side, brokerId: 3, clock })
}

test('the topic says which replicas are throttled', () => {
  const config = topicConfig({ [LEADERS]: '0:3,1:4,2:3', [FOLLOWERS]: '*' })
  const throttled = (side: 'leader' | 'follower'): number[] =>
    [0, 1, 2, 3].filter((partition) => quotaOf(side).isThrottled({ partition, config }))
  assert.deepEqual(throttled('leader'), [0, 2])
  assert.deepEqual(throttled('follower'), [0, 1, 2, 3])
  assert.ok(!quotaOf('leader').isThrottled({ partition: 0, config: topicConfig({}) }))
})

test('a rate is kept over some seconds, and burst or not makes no difference', () => {
  const clock = new ManualClock()
  const quota = quotaOf('leader', clock)
  quota.record(1e9)
  assert.ok(!quota.isExceeded, 'without a limit')
  clock.advance(60_000)
  quota.bytesPerSecond = 1000
  assert.ok(!quota.isExceeded, 'that was long ago')
  quota.record(5000)
  assert.ok(quota.isExceeded)
  clock.advance(4900)
  assert.ok(quota.isExceeded)
  clock.advance(200)
  assert.ok(!quota.isExceeded)

  let sent = 0
  for (let ms = 0; ms < 60_000; ms += 50) {
    if (!quota.isExceeded) {
      quota.record(400)
      sent += 400
    }
    clock.advance(50)
  }
  assert.ok(sent > 55_000 && sent < 66_000, `${sent}`)
  quota.bytesPerSecond = 0
  quota.record(1)
  assert.ok(quota.isExceeded)
})

test('rates and lists are checked where they are set', () => {
  const rate = 'leader.replication.throttled.rate'
  assert.equal(wrongBrokerConfig(rate, '1000', true), null)
  assert.match(wrongBrokerConfig(rate, '1000', false) ?? '', /broker id must be specified/)
  assert.match(wrongBrokerConfig(rate, '-1', true) ?? '', /at least 0/)
  assert.equal(wrongTopicConfig(new Map([[LEADERS, '0:1,1:2']])), null)
  assert.equal(wrongTopicConfig(new Map([[LEADERS, '*']])), null)
  assert.match(wrongTopicConfig(new Map([[FOLLOWERS, '0-1']])) ?? '', /list of replicas/)
  const { leader, follower } = replicationRates(new Map([[rate, '1000']]))
  assert.deepEqual([leader, follower], [1000, Number.MAX_SAFE_INTEGER])
})
