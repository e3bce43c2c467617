/** Which brokers are registered, in which epoch, and which connections may be theirs. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { until } from '../../support/until.ts'
import { brokersOf, openRegistry, registrationOf } from './harness.ts'

test('epochs and addresses follow the registry', async (t) => {
  const registry = await openRegistry(t)
  const brokers = brokersOf(registry)
  let changes = 0
  brokers.onChange(() => {
    changes += 1
  })
  assert.equal(brokers.epochOf(1), -1)
  assert.equal(brokers.addressOf(1), undefined)
  const { brokerEpoch } = await registry.registerBroker(registrationOf(1))
  await until('broker 1 is known', () => brokers.epochOf(1) === brokerEpoch)
  assert.deepEqual(brokers.addressOf(1), { brokerId: 1, host: '127.0.0.1', port: 19093 })
  const before = changes
  await registry.unregisterBroker(1)
  const { brokerEpoch: next } = await registry.registerBroker(registrationOf(1))
  await until('its new epoch is known', () => brokers.epochOf(1) === next)
  assert.ok((next ?? 0) > (brokerEpoch ?? 0))
  assert.ok(changes > before)
  await registry.unregisterBroker(1)
  await until('it is gone', () => brokers.epochOf(1) === -1)
  brokers.stop()
})

test('a connection is a broker only from its address, on the listener between brokers', async (t) => {
  const registry = await openRegistry(t)
  const brokers = brokersOf(registry, async (host) => (host === 'b2' ? ['10.0.0.2'] : []))
  await registry.registerBroker(registrationOf(1, '10.0.0.1'))
  await registry.registerBroker(registrationOf(2, 'b2'))
  await until('the host of broker 2 is resolved', () =>
    brokers.isAddressOf(2, '10.0.0.2', 'INSIDE'),
  )
  assert.ok(brokers.isAddressOf(1, '10.0.0.1', 'INSIDE'))
  assert.ok(brokers.isAddressOf(1, '::ffff:10.0.0.1', 'INSIDE'))
  assert.ok(!brokers.isAddressOf(1, '10.0.0.1', 'OUTSIDE'))
  assert.ok(!brokers.isAddressOf(1, '10.0.0.2', 'INSIDE'))
  assert.ok(!brokers.isAddressOf(3, '10.0.0.1', 'INSIDE'))
  assert.ok(brokers.isBrokerAddress('10.0.0.2', 'INSIDE'))
  assert.ok(!brokers.isBrokerAddress('10.0.0.3', 'INSIDE'))
  assert.ok(await brokers.mayBe(2, '10.0.0.2', 'INSIDE'))
  assert.ok(!(await brokers.mayBe(2, '10.0.0.2', 'OUTSIDE')))
  brokers.stop()
  // Registered after the last look: it is asked for.
  await registry.registerBroker(registrationOf(3, 'b2'))
  assert.ok(await brokers.mayBe(3, '10.0.0.2', 'INSIDE'))
  assert.ok(!(await brokers.mayBe(3, '10.0.0.1', 'INSIDE')))
  assert.ok(!(await brokers.mayBe(4, '10.0.0.1', 'INSIDE')))
})
