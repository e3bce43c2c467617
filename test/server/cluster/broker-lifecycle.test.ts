/**
 * A broker leads nothing from the moment that it sees that it is not registered any more, and
 * registers anew, with a higher epoch, as soon as it can.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ClusterRegistry, SessionState } from '../../../src/registry/cluster-registry.ts'
import { RegistryError } from '../../../src/registry/cluster-registry.ts'
import { BrokerLifecycle } from '../../../src/server/cluster/broker-lifecycle.ts'
import { ManualClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { TimerQueue } from '../../../src/util/timer-queue.ts'
import { until } from '../../support/until.ts'
import { openRegistry, registrationOf } from './harness.ts'

const SESSION_MS = 6000

/** A registry whose session a test ends, and whose registrations it refuses. */
function withSession(registry: ClusterRegistry) {
  const listeners = new Set<(state: SessionState) => void>()
  const control = { refuse: 0 }
  const faulty = new Proxy(registry, {
    get(target, name) {
      if (name === 'onSessionState') {
        return (listener: (state: SessionState) => void) => {
          listeners.add(listener)
          return () => listeners.delete(listener)
        }
      }
      if (name === 'sessionTimeoutMs') return SESSION_MS
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      const method = value.bind(target) as (...args: unknown[]) => unknown
      if (name !== 'registerBroker') return method
      return async (...args: unknown[]) => {
        if (control.refuse > 0) {
          control.refuse -= 1
          throw new RegistryError('unavailable', 'no ZooKeeper')
        }
        return method(...args)
      }
    },
  })
  const enter = (state: SessionState): void => {
    for (const listener of [...listeners]) listener(state)
  }
  return { faulty, control, enter }
}

async function harness(t: TestContext) {
  const registry = await openRegistry(t)
  const { faulty, control, enter } = withSession(registry)
  const clock = new ManualClock()
  const timers = new TimerQueue(clock)
  t.after(() => timers.close())
  const calls: number[] = []
  const leases: boolean[] = []
  const lifecycle: BrokerLifecycle = new BrokerLifecycle({
    ...{ registry: faulty, brokerId: 1, timers, logger: silentLogger, patienceMs: 1000 },
    registration: () => registrationOf(1),
    stopLeading: () => calls.push(lifecycle.brokerEpoch),
    leaseLost: () => leases.push(false),
    leaseRegained: () => leases.push(true),
  })
  t.after(() => lifecycle.stop())
  return { registry, control, enter, clock, calls, leases, lifecycle }
}

test('a session that expires ends all leadership, the next one begins with a new epoch', async (t) => {
  const { registry, enter, calls, lifecycle } = await harness(t)
  assert.equal(lifecycle.brokerEpoch, -1)
  await lifecycle.register()
  const first = lifecycle.brokerEpoch
  assert.ok(first > 0)
  assert.equal(lifecycle.brokerEpochMin, first)
  enter('disconnected')
  assert.equal(lifecycle.brokerEpoch, first)
  await registry.unregisterBroker(1)
  enter('expired')
  // It is registered nowhere when it stops leading, so that nothing is done in the old epoch.
  assert.deepEqual(calls, [-1])
  assert.equal(lifecycle.brokerEpochMin, first + 1)
  enter('connected')
  await until('it is registered anew', () => lifecycle.brokerEpoch > first)
  assert.equal((await registry.broker(1))?.brokerEpoch, lifecycle.brokerEpoch)
})

test('the lease ends before the session can have, and not while there is a connection', async (t) => {
  const { enter, clock, leases, lifecycle } = await harness(t)
  await lifecycle.register()
  enter('disconnected')
  clock.advance(SESSION_MS / 3 - 1)
  assert.deepEqual(leases, [])
  enter('connected')
  clock.advance(SESSION_MS)
  assert.deepEqual(leases, [true])
  enter('disconnected')
  clock.advance(SESSION_MS / 3)
  assert.deepEqual(leases, [true, false])
  enter('expired')
  assert.deepEqual(leases, [true, false, true])
  enter('disconnected')
  lifecycle.stop()
  clock.advance(SESSION_MS)
  assert.deepEqual(leases, [true, false, true])
})

test('a broker whose registration was taken away registers anew', async (t) => {
  const { registry, calls, lifecycle } = await harness(t)
  await lifecycle.register()
  const first = lifecycle.brokerEpoch
  await registry.fenceBroker(1, first)
  await until('it is registered anew', () => lifecycle.brokerEpoch > first)
  assert.deepEqual(calls, [-1])
  const second = lifecycle.brokerEpoch
  await registry.fenceBroker(1, second)
  await until('and again', () => lifecycle.brokerEpoch > second)
  assert.deepEqual(calls, [-1, -1])
})

test('what cannot be registered is tried again', async (t) => {
  const { registry, control, clock, lifecycle } = await harness(t)
  await lifecycle.register()
  const first = lifecycle.brokerEpoch
  control.refuse = 2
  await registry.fenceBroker(1, first)
  await until('it failed', () => control.refuse === 1)
  await until('it is registered anew', () => {
    clock.advance(100)
    return lifecycle.brokerEpoch > first
  })
})

test('after its end it neither registers nor stops anything', async (t) => {
  const { registry, enter, calls, lifecycle } = await harness(t)
  await lifecycle.register()
  lifecycle.stop()
  await registry.unregisterBroker(1)
  enter('expired')
  enter('connected')
  assert.equal(await registry.broker(1), null)
  assert.deepEqual(calls, [])
})
