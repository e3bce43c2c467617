/** Which part of a log may be cleaned and when: the rules of Apache Kafka, one by one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CleanableLog, cleanablePart } from '../../src/replica/cleaning-policy.ts'

const NOW = 1_000_000

/** Segments of 100 offsets and 1000 bytes each; record times rise by 100 a segment. */
function log(segments: number, changes: Partial<CleanableLog> = {}): CleanableLog {
  return {
    segments: Array.from({ length: segments }, (_, i) => ({
      baseOffset: i * 100,
      bytes: 1000,
      firstTimestamp: NOW - (segments - i) * 100,
      largestTimestamp: NOW - (segments - i) * 100 + 99,
    })),
    logStart: 0,
    logEnd: segments * 100 - 50,
    lastStable: segments * 100 - 50,
    checkpoint: undefined,
    minLagMs: 0,
    maxLagMs: Number.MAX_SAFE_INTEGER,
    minDirtyRatio: 0.5,
    nowMs: NOW,
    ...changes,
  }
}

test('what was never cleaned is dirty up to the active segment', () => {
  assert.deepEqual(cleanablePart(log(4)), {
    firstDirty: 0,
    firstUncleanable: 300,
    cleanableBytes: 3000,
    dirtyRatio: 1,
    isDue: true,
    isCheckpointWrong: false,
  })
  const alone = cleanablePart(log(1))
  assert.deepEqual([alone.cleanableBytes, alone.dirtyRatio, alone.isDue], [0, 0, false])
})

test('it is due above the dirty ratio, not at it', () => {
  const half = cleanablePart(log(5, { checkpoint: 200 }))
  assert.deepEqual([half.firstDirty, half.dirtyRatio, half.isDue], [200, 0.5, false])
  assert.ok(cleanablePart(log(5, { checkpoint: 200, minDirtyRatio: 0.49 })).isDue)
  assert.ok(!cleanablePart(log(5, { checkpoint: 400, minDirtyRatio: 0 })).isDue)
})

test('a segment with an offset that is not stable is not touched', () => {
  assert.equal(cleanablePart(log(5, { lastStable: 399 })).firstUncleanable, 300)
  assert.equal(cleanablePart(log(5, { lastStable: 200 })).firstUncleanable, 200)
  const none = cleanablePart(log(5, { lastStable: 150, checkpoint: 200 }))
  assert.deepEqual([none.firstDirty, none.cleanableBytes, none.isDue], [200, 0, false])
})

test('records younger than the lag keep their segment and what follows', () => {
  // The segments' newest records are 401, 301, 201 and 101 ms old, the active one's 1.
  assert.equal(cleanablePart(log(5, { minLagMs: 201 })).firstUncleanable, 300)
  assert.equal(cleanablePart(log(5, { minLagMs: 202 })).firstUncleanable, 200)
  assert.equal(cleanablePart(log(5, { minLagMs: 50 })).firstUncleanable, 400)
  assert.equal(cleanablePart(log(5, { minLagMs: 9999 })).cleanableBytes, 0)
})

test('records older than the longest lag make it due whatever the ratio', () => {
  const rules = { checkpoint: 300, minDirtyRatio: 0.9 }
  assert.ok(!cleanablePart(log(5, rules)).isDue)
  assert.ok(cleanablePart(log(5, { ...rules, maxLagMs: 199 })).isDue)
  assert.ok(!cleanablePart(log(5, { ...rules, maxLagMs: 200 })).isDue)
})

test('a checkpoint outside the log is none', () => {
  const beyond = cleanablePart(log(5, { checkpoint: 451 }))
  assert.deepEqual([beyond.firstDirty, beyond.isCheckpointWrong], [0, true])
  const before = cleanablePart(log(5, { checkpoint: 120, logStart: 130 }))
  assert.deepEqual([before.firstDirty, before.isCheckpointWrong], [130, true])
  assert.equal(cleanablePart(log(5, { checkpoint: 450 })).isCheckpointWrong, false)
})

test('a log cleaned to the middle of a segment is dirty from there', () => {
  const part = cleanablePart(log(4, { checkpoint: 150 }))
  assert.deepEqual([part.firstDirty, part.cleanableBytes], [150, 2000])
  assert.equal(part.dirtyRatio, 2 / 3)
})
