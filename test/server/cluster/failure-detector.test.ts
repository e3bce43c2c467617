/** Who is fenced early: a broker whose port refuses, by the controller, or a dead controller. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { ClusterRegistry } from '../../../src/registry/cluster-registry.ts'
import { FailureDetector } from '../../../src/server/cluster/failure-detector.ts'
import { ManualClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { until } from '../../support/until.ts'
import { brokersOf, ControllerView, openRegistry, registrationOf } from './harness.ts'

async function harness(t: TestContext) {
  const registry: ClusterRegistry = await openRegistry(t)
  const clock = new ManualClock()
  const brokers = brokersOf(registry, undefined, clock)
  const controller = new ControllerView()
  const state = { refuses: true, probes: 0 }
  const detector = new FailureDetector({
    ...{ registry, brokers, controller, logger: silentLogger },
    probe: async () => {
      state.probes += 1
      return state.refuses
    },
  })
  detector.start()
  for (const id of [1, 2]) await registry.registerBroker(registrationOf(id))
  await until('both brokers are known', () => brokers.epochOf(1) > 0 && brokers.epochOf(2) > 0)
  clock.advance(10_000)
  return { registry, brokers, clock, controller, state, detector }
}

/** Lets everything that was begun come to its end. */
const settled = async (registry: ClusterRegistry): Promise<void> => {
  for (let i = 0; i < 5; i += 1) await registry.brokers()
}

test('the controller fences a broker whose port refuses', async (t) => {
  const { registry, controller, detector } = await harness(t)
  controller.isActive = true
  controller.tell(1)
  detector.suspect(2)
  await until('broker 2 is fenced', async () => (await registry.broker(2)) === null)
  assert.notEqual(await registry.broker(1), null)
})

test('a broker that is no controller fences nobody but a dead controller', async (t) => {
  const { registry, controller, state, detector } = await harness(t)
  assert.ok((await registry.electController({ brokerId: 1, timestampMs: 1 })) !== null)
  const registered = await registry.controller()
  assert.ok(registered)
  controller.tell(1, registered.registrationId)
  detector.suspect(2)
  await settled(registry)
  assert.equal(state.probes, 0)
  assert.notEqual(await registry.broker(2), null)
  detector.suspect(1)
  await until('the controller is fenced', async () => (await registry.controller()) === null)
  assert.equal(await registry.broker(1), null)
})

test('a broker that answers, or of which nothing is known, is left alone', async (t) => {
  const { registry, controller, state, detector } = await harness(t)
  controller.isActive = true
  controller.tell(1)
  state.refuses = false
  detector.suspect(2)
  detector.suspect(7)
  await settled(registry)
  assert.equal(state.probes, 1)
  assert.notEqual(await registry.broker(2), null)
})

test('a broker that has just registered may not listen yet: it is left alone for a while', async (t) => {
  const { registry, brokers, clock, controller, state, detector } = await harness(t)
  controller.isActive = true
  controller.tell(1)
  await registry.unregisterBroker(2)
  const { brokerEpoch } = await registry.registerBroker(registrationOf(2))
  await until('it is known', () => brokers.epochOf(2) === brokerEpoch)
  detector.suspect(2)
  await settled(registry)
  assert.equal(state.probes, 0)
  clock.advance(3000)
  detector.suspect(2)
  await until('broker 2 is fenced', async () => (await registry.broker(2)) === null)
})

test('a broker that was reached and then refuses is fenced however young it is', async (t) => {
  const { registry, brokers, controller, detector } = await harness(t)
  controller.isActive = true
  controller.tell(1)
  await registry.unregisterBroker(2)
  const { brokerEpoch } = await registry.registerBroker(registrationOf(2))
  await until('it is known', () => brokers.epochOf(2) === brokerEpoch)
  const registered = await registry.broker(2)
  assert.ok(registered)
  // A connection that was made to its former life says nothing.
  brokers.reached({ ...registered, brokerEpoch: registered.brokerEpoch - 1 })
  detector.suspect(2)
  await settled(registry)
  assert.notEqual(await registry.broker(2), null)
  brokers.reached(registered)
  detector.suspect(2)
  await until('broker 2 is fenced', async () => (await registry.broker(2)) === null)
})

test('a later registration of the broker is not taken for the dead one', async (t) => {
  const { registry, brokers, controller, detector } = await harness(t)
  controller.isActive = true
  controller.tell(1)
  const before = brokers.epochOf(2)
  await registry.unregisterBroker(2)
  const { brokerEpoch } = await registry.registerBroker(registrationOf(2))
  await until('it is known', () => brokers.epochOf(2) === brokerEpoch)
  await registry.fenceBroker(2, before)
  assert.equal((await registry.broker(2))?.brokerEpoch, brokerEpoch)
  detector.stop()
  detector.suspect(2)
  await settled(registry)
  assert.notEqual(await registry.broker(2), null)
})
