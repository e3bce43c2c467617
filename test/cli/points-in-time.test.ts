/** Dates, durations and reset plans of kafka-consumer-groups. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDateTime, parseDuration } from '../../src/cli/consumer-groups/points-in-time.ts'
import { parseResetPlan, resetPlanLines } from '../../src/cli/consumer-groups/reset-plan.ts'

test('points in time are UTC unless a zone is given', () => {
  const noon = Date.UTC(2026, 10, 22, 12, 0, 0, 500)
  for (const [text, ms] of [
    ['2026-11-22T12:00:00.500', noon],
    ['2026-11-22T12:00:00.5', noon],
    ['2026-11-22T12:00:00.500Z', noon],
    ['2026-11-22T13:00:00.500+01', noon],
    ['2026-11-22T13:30:00.500+0130', noon],
    ['2026-11-22T10:30:00.500-01:30', noon],
    ['2026-11-22T12:00:00', noon - 500],
  ] as const) {
    assert.equal(parseDateTime(text), ms, text)
  }
  for (const text of ['', '2026-11-22', '2026-02-31T12:00:00.000', '22/11/2026', 'now']) {
    assert.throws(() => parseDateTime(text), /is not a point in time; write it as YYYY/, text)
  }
})

test('durations are those of ISO 8601 with days and time', () => {
  for (const [text, ms] of [
    ['P1D', 86_400_000],
    ['PT1H30M', 5_400_000],
    ['P1DT1H1M1.5S', 90_061_500],
    ['PT-1H', -3_600_000],
    ['-PT1H', -3_600_000],
    ['PT0.25S', 250],
    ['PT-0.5S', -500],
  ] as const) {
    assert.equal(parseDuration(text), ms, text)
  }
  for (const text of ['', 'P', 'PT', 'P1DT', '1D', 'P1Y', 'PT1X']) {
    assert.throws(() => parseDuration(text), /is not a duration; write it as PnDTnHnMnS/, text)
  }
})

test('a plan that is printed is read again', () => {
  const group = fc.string({ minLength: 1 }).filter((text) => !/[\r\n]/.test(text))
  const topic = fc.stringMatching(/^[a-zA-Z0-9._-]{1,20}$/)
  const offset = fc.record(
    { topic, partition: fc.nat(), offset: fc.nat() },
    { noNullPrototype: true },
  )
  fc.assert(
    fc.property(
      group,
      fc.array(offset, { minLength: 1 }),
      fc.boolean(),
      (name, offsets, withGroup) => {
        const text = resetPlanLines(name, offsets, { withGroup }).join('\n')
        const groups = withGroup ? [name, 'other'] : [name]
        assert.deepEqual(parseResetPlan(text, groups).get(name), offsets)
      },
    ),
  )
})

test('lines that are no plan are refused', () => {
  for (const text of ['t,0', 't,0,x', 't,x,0', 'a,t,0,1,2', 't,0,-1', '"t,0,1']) {
    assert.throws(() => parseResetPlan(text, ['g']), /not a line of/, text)
  }
  assert.throws(() => parseResetPlan('t,0,1', ['g', 'h']), /not a line of a reset plan/)
  assert.equal(parseResetPlan('\n\n', ['g']).size, 0)
})
