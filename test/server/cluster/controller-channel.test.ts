/** The way to the controller: found, followed when it moves, kept open, and told when it breaks. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ErrorCode } from '../../../src/protocol/error-codes.ts'
import {
  ControllerChannel,
  type ControllerConnection,
} from '../../../src/server/cluster/controller-channel.ts'
import { ManualClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { TimerQueue } from '../../../src/util/timer-queue.ts'
import { until } from '../../support/until.ts'
import { brokersOf, ControllerView, openRegistry, registrationOf } from './harness.ts'

const ENVELOPE = {
  requestData: Buffer.from('request'),
  requestPrincipal: null,
  clientHostAddress: Buffer.alloc(4),
}
const SHUTDOWN = { brokerId: 1, brokerEpoch: 5 }

/** A connection whose answers are what the test makes them. */
class ScriptedConnection implements ControllerConnection {
  readonly to: number
  readonly asked: string[] = []
  onLost: (() => void) | null = null
  isClosed = false
  errorCode: number = ErrorCode.NONE

  constructor(to: number) {
    this.to = to
  }

  async alterPartition() {
    this.asked.push('alterPartition')
    return { throttleTimeMs: 0, errorCode: this.errorCode, topics: [] }
  }

  async controlledShutdown() {
    this.asked.push('controlledShutdown')
    return { errorCode: this.errorCode, remainingPartitions: [] }
  }

  async allocateProducerIds() {
    this.asked.push('allocateProducerIds')
    return { throttleTimeMs: 0, errorCode: this.errorCode, producerIdStart: 0, producerIdLen: 9 }
  }

  async envelope() {
    this.asked.push('envelope')
    return { errorCode: this.errorCode, responseData: Buffer.from(`from ${this.to}`) }
  }

  close(): void {
    this.isClosed = true
  }
}

class OwnController extends ControllerView {
  readonly here = new ScriptedConnection(1)
  readonly alterPartition = () => this.here.alterPartition()
  readonly controlledShutdown = () => this.here.controlledShutdown()
  readonly allocateProducerIds = () => this.here.allocateProducerIds()
}

async function harness(t: TestContext) {
  const registry = await openRegistry(t)
  const brokers = brokersOf(registry)
  const controller = new OwnController()
  const clock = new ManualClock()
  const timers = new TimerQueue(clock)
  const opened: ScriptedConnection[] = []
  const lost: number[] = []
  const state = { isAway: false }
  const channel = new ControllerChannel({
    ...{ brokerId: 1, controller, brokers, timers, timeoutMs: 1000, logger: silentLogger },
    open: async ({ brokerId }) => {
      if (state.isAway) throw new Error('refused')
      const connection = new ScriptedConnection(brokerId)
      opened.push(connection)
      return connection
    },
    lost: (brokerId) => lost.push(brokerId),
  })
  for (const id of [1, 2, 3]) await registry.registerBroker(registrationOf(id))
  await until('the brokers are known', () => brokers.epochOf(3) > 0)
  channel.start()
  t.after(() => {
    channel.stop()
    brokers.stop()
    timers.close()
  })
  return { registry, controller, clock, opened, lost, state, channel }
}

test('the controller is asked where it is, also by this broker itself', async (t) => {
  const { controller, opened, channel } = await harness(t)
  controller.tell(2)
  assert.equal((await channel.allocateProducerIds(SHUTDOWN)).producerIdLen, 9)
  await channel.alterPartition({ brokerId: 1, brokerEpoch: 5, topics: [] })
  const answer = await channel.forward(ENVELOPE, 1000)
  assert.equal(String(answer?.responseData), 'from 2')
  assert.deepEqual(opened[0]?.asked, ['allocateProducerIds', 'alterPartition', 'envelope'])

  controller.isActive = true
  controller.tell(1)
  assert.equal(opened[0]?.isClosed, true)
  await channel.controlledShutdown(SHUTDOWN)
  assert.deepEqual(controller.here.asked, ['controlledShutdown'])
  assert.equal(await channel.forward(ENVELOPE, 1000), null)

  controller.isActive = false
  controller.tell(3)
  await channel.controlledShutdown(SHUTDOWN)
  assert.equal(opened[1]?.to, 3)
})

test('who asks before there is a controller waits for one', async (t) => {
  const { controller, clock, channel } = await harness(t)
  const answered = channel.forward(ENVELOPE, 1000)
  controller.tell(3)
  assert.equal(String((await answered)?.responseData), 'from 3')
  controller.tell(-1)
  const never = channel.forward(ENVELOPE, 1000)
  await until('its time is up', async () => {
    clock.advance(200)
    return (await Promise.race([never, 'waits'])) === null
  })
})

test('a broken connection is told, and made anew', async (t) => {
  const { controller, clock, opened, lost, state, channel } = await harness(t)
  controller.tell(2)
  await channel.controlledShutdown(SHUTDOWN)
  state.isAway = true
  opened[0]?.onLost?.()
  assert.deepEqual(lost, [2])
  await until('it was tried again', () => {
    clock.advance(50)
    return lost.length > 3
  })
  state.isAway = false
  await until('there is another one', () => {
    clock.advance(50)
    return opened.length === 2
  })
  await channel.controlledShutdown(SHUTDOWN)
  assert.deepEqual(opened[1]?.asked, ['controlledShutdown'])
})

test('a controller that is none any more is asked until there is another', async (t) => {
  const { controller, clock, opened, channel } = await harness(t)
  controller.tell(2)
  await channel.forward(ENVELOPE, 1000)
  const old = opened[0] as ScriptedConnection
  old.errorCode = ErrorCode.NOT_CONTROLLER
  const answered = Promise.all([
    channel.forward(ENVELOPE, 60_000),
    channel.controlledShutdown(SHUTDOWN),
  ])
  await until('it was asked again', () => {
    clock.advance(20)
    return old.asked.length > 6
  })
  controller.tell(3)
  const moved = async () => {
    clock.advance(20)
    return (await Promise.race([answered, null])) !== null
  }
  await until('the new one answers', moved)
  const [forwarded, shutdown] = await answered
  assert.equal(String(forwarded?.responseData), 'from 3')
  assert.equal(shutdown.errorCode, ErrorCode.NONE)
})

test('a controller that registers anew is connected to anew', async (t) => {
  const { registry, controller, opened, channel } = await harness(t)
  controller.tell(2)
  await channel.controlledShutdown(SHUTDOWN)
  await registry.unregisterBroker(2)
  await registry.registerBroker(registrationOf(2))
  await until('the old connection is closed', () => opened[0]?.isClosed === true)
  await channel.controlledShutdown(SHUTDOWN)
  assert.equal(opened.length, 2)
})

test('after its end nobody waits', async (t) => {
  const { channel } = await harness(t)
  const waiting = channel.alterPartition({ brokerId: 1, brokerEpoch: 5, topics: [] })
  const forwarded = channel.forward(ENVELOPE, 60_000)
  channel.stop()
  await assert.rejects(waiting, /no controller/)
  assert.equal(await forwarded, null)
})
