/** A history is made of the lines that clients print. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkHistory } from './checks.ts'
import { HistoryRecorder } from './recorder.ts'

function recorded(...lines: readonly string[]): HistoryRecorder {
  const recorder = new HistoryRecorder(['java'])
  for (const line of lines) recorder.take(line)
  return recorder
}

test('a client that prints something else than numbers is found', () => {
  assert.throws(() => recorded('ok java-plain 2 0 None 1000 1005'), /printed ok with/)
})

test('every line of a client is kept', () => {
  const recorder = recorded(
    'ok java-plain 2 0 7 1000 1005',
    'indeterminate java-idempotent 2 3 1000 6000 TimeoutException: too late',
    'read java-reader 2 1010 7 java-plain:2:0 8 java-idempotent:2:3',
    'watermark java-reader latest 2 1020 9',
    'watermark java-reader fetch 2 1021 8',
    'refused java-reader 2 1030 9 OffsetOutOfRange at 9',
    'sent java-plain 2 1',
    'sent java-plain 0 0',
    'stopped',
  )
  const history = recorder.history([], ['java-reader'])
  const place = { partition: 2, sentMs: 1000 }
  assert.deepEqual(history.writes, [
    {
      ...{ ...place, producer: 'java-plain', sequence: 0 },
      ...{ outcome: 'ok', offset: 7, endedMs: 1005 },
    },
    {
      ...{ ...place, producer: 'java-idempotent', sequence: 3, outcome: 'indeterminate' },
      ...{ offset: -1, endedMs: 6000, error: 'TimeoutException: too late' },
    },
  ])
  const read = { reader: 'java-reader', partition: 2 }
  assert.deepEqual(history.reads, [
    { ...read, offset: 7, value: 'java-plain:2:0', atMs: 1010 },
    { ...read, offset: 8, value: 'java-idempotent:2:3', atMs: 1010 },
  ])
  assert.deepEqual(history.watermarks, [
    { ...read, source: 'latest', highWatermark: 9, atMs: 1020 },
    { ...read, source: 'fetch', highWatermark: 8, atMs: 1021 },
  ])
  assert.deepEqual(history.readErrors, [
    { ...read, offset: 9, error: 'OffsetOutOfRange at 9', atMs: 1030 },
  ])
  assert.deepEqual(
    history.sent.get('java-plain'),
    new Map([
      [2, 1],
      [0, 0],
    ]),
  )
  assert.equal(recorder.stopped, 1)
  assert.equal(recorder.positionOf('java-reader', 2), 9)
  assert.equal(recorder.acknowledgedUpTo('java-plain', 2), 1000)
  assert.equal(recorder.acknowledgedUpTo('java-plain', 0), 0)
})

test('what a program prints besides is an error', () => {
  assert.throws(() => recorded('panic: out of memory'), /a client printed: panic/)
})

test('its history can be checked', () => {
  const recorder = recorded('ok java-plain 0 0 0 1 2', 'sent java-plain 0 1', 'stopped')
  const values = new Map([[0, 'java-plain:0:0']])
  const final = { brokerId: 1, partition: 0, logStart: 0, highWatermark: 1, values }
  assert.deepEqual(checkHistory(recorder.history([final], [])).findings, [])
})
