/** ManualClock moves when it is told to, and not otherwise. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ManualClock, systemClock } from '../../src/util/clock.ts'

test('both faces of a manual clock move together', () => {
  const clock = new ManualClock(1000)
  assert.equal(clock.nowMs(), 1000)
  assert.equal(clock.monotonicMs(), 0)
  clock.advance(250)
  assert.equal(clock.nowMs(), 1250)
  assert.equal(clock.monotonicMs(), 250)
})

test('the system clock tells the time, and its monotonic face does not go back', () => {
  const before = Date.now()
  const told = systemClock.nowMs()
  assert.ok(before <= told && told <= Date.now())
  const first = systemClock.monotonicMs()
  assert.ok(systemClock.monotonicMs() >= first)
})
