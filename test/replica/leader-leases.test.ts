/** Which leaderships hold while the registry cannot be reached. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { LeaderLeases } from '../../src/replica/leader-leases.ts'
import type { Partition } from '../../src/replica/partition.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'

const OWN = 1
const SILENCE_MS = 1500

/** What the leases look at: a leader with an ISR, or a follower. */
function partitionWith(isr: readonly number[] | null) {
  const failed: number[] = []
  const partition = {
    leader: isr === null ? null : { isr },
    hasLease: true,
    storedLog: { failParked: (errorCode: number) => failed.push(errorCode) },
  }
  return { partition: partition as unknown as Partition, failed }
}

function harness(t: TestContext, isrs: readonly (readonly number[] | null)[]) {
  const clock = new ManualClock()
  const timers = new TimerQueue(clock)
  t.after(() => timers.close())
  const all = isrs.map(partitionWith)
  const changed: [number, boolean][] = []
  const leases = new LeaderLeases({
    ...{ brokerId: OWN, silenceMs: SILENCE_MS, clock, timers, logger: silentLogger },
    partitions: () => all.map(({ partition }) => partition),
    roleChanged: (partition) => {
      changed.push([all.findIndex((one) => one.partition === partition), partition.hasLease])
    },
  })
  t.after(() => leases.close())
  const held = () => all.map(({ partition }) => partition.hasLease)
  return { clock, leases, all, changed, held }
}

test('a leadership without followers ends with the lease, and comes back with the registry', (t) => {
  const { leases, all, changed, held } = harness(t, [[1, 2, 3], [2, 1], null])
  leases.lost()
  assert.deepEqual(held(), [false, false, true])
  assert.deepEqual(
    all.map(({ failed }) => failed),
    [[ErrorCode.NOT_LEADER_OR_FOLLOWER], [ErrorCode.NOT_LEADER_OR_FOLLOWER], []],
  )
  leases.regained()
  assert.deepEqual(held(), [true, true, true])
  assert.deepEqual(changed, [
    [0, false],
    [1, false],
    [0, true],
    [1, true],
  ])
})

test('a leadership holds as long as another one of its ISR fetches', (t) => {
  const { clock, leases, held } = harness(t, [
    [1, 2],
    [1, 3],
    [1, 2, 3],
  ])
  leases.heard(2)
  leases.heard(3)
  leases.lost()
  assert.deepEqual(held(), [true, true, true])
  for (let ms = 0; ms < SILENCE_MS; ms += 250) {
    leases.heard(2)
    clock.advance(250)
  }
  assert.deepEqual(held(), [true, true, true])
  leases.heard(2)
  clock.advance(250)
  assert.deepEqual(held(), [true, false, true])
  leases.heard(3)
  clock.advance(250)
  assert.deepEqual(held(), [true, true, true])
  clock.advance(SILENCE_MS + 250)
  assert.deepEqual(held(), [false, false, false])
})

test('a replica that has given up its connection counts no more', (t) => {
  const { clock, leases, held } = harness(t, [[1, 2]])
  leases.heard(2)
  leases.lost()
  leases.left(2)
  clock.advance(250)
  assert.deepEqual(held(), [false])
  leases.heard(2)
  clock.advance(250)
  assert.deepEqual(held(), [true])
})

test('who is alone in its ISR leads on: nobody else can', (t) => {
  const { clock, leases, held } = harness(t, [[1]])
  leases.lost()
  clock.advance(60_000)
  assert.deepEqual(held(), [true])
})

test('with the registry at hand silence says nothing', (t) => {
  const { clock, leases, changed } = harness(t, [[1, 2]])
  clock.advance(60_000)
  leases.lost()
  leases.regained()
  clock.advance(60_000)
  assert.deepEqual(changed, [
    [0, false],
    [0, true],
  ])
})
