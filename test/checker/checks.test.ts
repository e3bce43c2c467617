/** The checker itself, with histories made up: each anomaly is found, and a clean one passes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { longestSilences, median } from './availability.ts'
import { type Anomaly, checkHistory, reportLines, violations } from './checks.ts'
import {
  type FinalRead,
  type History,
  type Outcome,
  type ProducerTraits,
  parseValue,
  type Read,
  type Write,
} from './history.ts'

const idempotent: ProducerTraits = {
  name: 'java-idempotent',
  kind: 'java',
  isIdempotent: true,
  isOrdered: true,
}
const plain: ProducerTraits = {
  name: 'kafkajs-plain',
  kind: 'kafkajs',
  isIdempotent: false,
  isOrdered: true,
}

function write(producer: ProducerTraits, sequence: number, outcome: Outcome, offset = -1): Write {
  const times = { sentMs: sequence * 10, endedMs: sequence * 10 + 5 }
  return { producer: producer.name, partition: 0, sequence, outcome, offset, ...times }
}

function value(producer: ProducerTraits, sequence: number): string {
  return `${producer.name}:0:${sequence}`
}

function finalRead(brokerId: number, values: readonly string[]): FinalRead {
  const highWatermark = values.length
  return { brokerId, partition: 0, logStart: 0, highWatermark, values: new Map(values.entries()) }
}

function read(offset: number, what: string, reader = 'java-reader'): Read {
  return { reader, partition: 0, offset, value: what, atMs: 0 }
}

const VALUES = [value(idempotent, 0), value(plain, 0), value(idempotent, 1), value(plain, 1)]

/** Two producers, four records, read by all. */
const clean: History = {
  producers: [idempotent, plain],
  writes: [
    write(idempotent, 0, 'ok', 0),
    write(plain, 0, 'ok', 1),
    write(idempotent, 1, 'ok', 2),
    write(plain, 1, 'ok', 3),
  ],
  sent: new Map([
    [idempotent.name, new Map([[0, 5]])],
    [plain.name, new Map([[0, 5]])],
  ]),
  reads: VALUES.map((what, offset) => read(offset, what)),
  watermarks: [],
  readErrors: [],
  finishedReaders: ['java-reader'],
  finalReads: [finalRead(0, VALUES), finalRead(1, VALUES)],
}

/** The anomalies of a history and how many of each, violations only. */
function found(changes: Partial<History>): Partial<Record<Anomaly, number>> {
  const counts: Partial<Record<Anomaly, number>> = {}
  for (const { anomaly } of violations(checkHistory({ ...clean, ...changes }))) {
    counts[anomaly] = (counts[anomaly] ?? 0) + 1
  }
  return counts
}

test('a clean history passes', () => {
  assert.deepEqual(checkHistory(clean).findings, [])
  assert.deepEqual(reportLines(checkHistory(clean)), [
    'java: 2 acknowledged, 0 indeterminate, 0 failed, 0 lost, 0 unseen, 0 duplicated, 0 reordered, 0 inconsistent',
    'kafkajs: 2 acknowledged, 0 indeterminate, 0 failed, 0 lost, 0 unseen, 0 duplicated, 0 reordered, 0 inconsistent',
  ])
})

test('values say who sent them', () => {
  assert.deepEqual(parseValue('franz-go-plain:3:17'), {
    producer: 'franz-go-plain',
    partition: 3,
    sequence: 17,
  })
  assert.equal(parseValue('something else'), null)
})

test('an acknowledged record that no broker has is lost, once for each', () => {
  const writes = [...clean.writes, write(plain, 2, 'ok', 4)]
  assert.deepEqual(found({ writes }), { lost: 2 })
})

test('an acknowledged record that one broker does not have is lost there', () => {
  const finalReads = [finalRead(0, VALUES), finalRead(1, VALUES.slice(0, 3))]
  assert.deepEqual(found({ finalReads }), { lost: 1 })
})

test('a record that was read and is gone is lost, acknowledged or not', () => {
  const reads = [...clean.reads, read(4, value(plain, 2))]
  assert.deepEqual(found({ reads }), { lost: 2 })
})

test('an indeterminate write may be there or not', () => {
  const writes = [...clean.writes, write(plain, 2, 'indeterminate')]
  assert.deepEqual(found({ writes }), {})
  const more = [...VALUES, value(plain, 2)]
  const reads = more.map((what, offset) => read(offset, what))
  assert.deepEqual(found({ writes, reads, finalReads: [finalRead(0, more)] }), {})
})

test('a write that was never sent must not be there', () => {
  const more = [...VALUES, value(plain, 2)]
  const writes = [...clean.writes, write(plain, 2, 'failed')]
  const reads = more.map((what, offset) => read(offset, what))
  assert.deepEqual(found({ writes, reads, finalReads: [finalRead(0, more)] }), { phantom: 1 })
})

test('what nobody has sent must not be there', () => {
  for (const stranger of ['bytes', value(plain, 99), 'kafkajs-plain:1:0']) {
    const more = [...VALUES, stranger]
    const reads = more.map((what, offset) => read(offset, what))
    assert.deepEqual(found({ reads, finalReads: [finalRead(0, more)] }), { phantom: 1 })
  }
})

test('a record that a reader passed over is unseen', () => {
  const reads = clean.reads.filter(({ offset }) => offset !== 1)
  assert.deepEqual(found({ reads }), { unseen: 1 })
  assert.deepEqual(found({ reads, finishedReaders: [] }), {})
})

test('a repeated record is a violation with idempotence only', () => {
  const again = [...VALUES, value(idempotent, 1)]
  const reads = again.map((what, offset) => read(offset, what))
  const finalReads = [finalRead(0, again)]
  assert.deepEqual(found({ reads, finalReads }), { duplicated: 1 })
  const allowed = [...VALUES, value(plain, 1)]
  const report = checkHistory({
    ...clean,
    reads: allowed.map((what, offset) => read(offset, what)),
    finalReads: [finalRead(0, allowed)],
  })
  assert.deepEqual(violations(report), [])
  assert.deepEqual(
    report.findings.map(({ anomaly }) => anomaly),
    ['duplicated'],
  )
})

test('a record behind a later one of its producer is reordered', () => {
  const values = [value(plain, 0), value(plain, 2), value(plain, 1)]
  const changes = {
    writes: [write(plain, 0, 'ok', 0), write(plain, 2, 'ok', 1), write(plain, 1, 'ok', 2)],
    reads: values.map((what, offset) => read(offset, what)),
    finalReads: [finalRead(0, values)],
  }
  assert.deepEqual(found(changes), { reordered: 1 })
  assert.deepEqual(found({ ...changes, producers: [{ ...plain, isOrdered: false }] }), {})
})

test('a write without idempotence that was given up may arrive late', () => {
  const values = [value(plain, 0), value(plain, 2), value(plain, 1)]
  const changes = {
    writes: [write(plain, 0, 'ok', 0), write(plain, 2, 'ok', 1), write(plain, 1, 'indeterminate')],
    reads: values.map((what, offset) => read(offset, what)),
    finalReads: [finalRead(0, values)],
  }
  assert.deepEqual(found(changes), {})
  assert.deepEqual(found({ ...changes, producers: [{ ...plain, isIdempotent: true }] }), {
    reordered: 1,
  })
})

test('an offset has one value, whoever tells it and when', () => {
  const writes = [...clean.writes.slice(0, 3), write(plain, 1, 'ok', 2)]
  assert.deepEqual(found({ writes }), { inconsistent: 1 })
  const swapped = [VALUES[0], VALUES[1], VALUES[3], VALUES[2]] as string[]
  const finalReads = [finalRead(0, VALUES), finalRead(1, swapped)]
  assert.deepEqual(found({ finalReads }), { inconsistent: 2 })
  const reads = [...clean.reads, read(0, value(plain, 1), 'franz-go-reader')]
  assert.deepEqual(found({ reads }), { inconsistent: 1 })
})

test('offsets have no holes', () => {
  const values = new Map([...VALUES.entries()].map(([i, what]) => [i < 2 ? i : i + 1, what]))
  const final = { ...finalRead(0, []), values, highWatermark: 5 }
  const writes = clean.writes.map((one) => ({ ...one, offset: -1 }))
  const reads = [...values].map(([offset, what]) => read(offset, what))
  assert.deepEqual(found({ writes, reads, finalReads: [final] }), { inconsistent: 1 })
  const short = { ...finalRead(0, VALUES), highWatermark: 6 }
  assert.deepEqual(found({ finalReads: [short] }), { inconsistent: 1 })
})

test('a reader never goes back', () => {
  const reads = [...clean.reads, read(3, VALUES[3] as string)]
  assert.deepEqual(found({ reads }), { 'reader-went-back': 1 })
})

test('a reader is not told that what it has read up to is not there', () => {
  const place = { partition: 0, offset: 4, atMs: 0 }
  const readErrors = [{ reader: 'java-reader', error: 'OFFSET_OUT_OF_RANGE', ...place }]
  assert.deepEqual(found({ readErrors }), { 'reader-refused': 1 })
})

test('the high watermark never goes back; of Fetch it is only told', () => {
  const seen = [3, 4, 2, 4].map((highWatermark) => ({
    ...{ reader: 'java-reader', partition: 0, highWatermark, atMs: 0 },
  }))
  const latest = seen.map((one) => ({ ...one, source: 'latest' as const }))
  assert.deepEqual(found({ watermarks: latest }), { 'watermark-went-back': 1 })
  const watermarks = seen.map((one) => ({ ...one, source: 'fetch' as const }))
  const report = checkHistory({ ...clean, watermarks })
  assert.deepEqual(
    report.findings.map(({ anomaly, isViolation }) => [anomaly, isViolation]),
    [['fetch-watermark-went-back', false]],
  )
})

test('findings are counted for the client that they belong to', () => {
  const writes = [...clean.writes, write(plain, 2, 'ok', 4), write(plain, 3, 'indeterminate')]
  const lines = reportLines(checkHistory({ ...clean, writes }))
  assert.match(lines[0] ?? '', /^java: 2 acknowledged.* 0 lost/)
  assert.match(lines[1] ?? '', /^kafkajs: 3 acknowledged, 1 indeterminate, 0 failed, 2 lost/)
  assert.equal(lines[2], 'lost: 2')
  assert.match(lines[3] ?? '', /kafkajs-plain:0:2 acknowledged at 4/)
})

test('silence is counted from the last acknowledgement before the fault', () => {
  const at = (partition: number, ...ends: readonly number[]): Write[] =>
    ends.map((endedMs, sequence) => ({
      ...write(idempotent, sequence, 'ok', sequence),
      ...{ partition, endedMs },
    }))
  const history = {
    ...clean,
    producers: [idempotent],
    writes: [...at(0, 0, 90, 700, 710, 2000), ...at(1, 0, 95, 105, 150, 480, 995)],
  }
  const window = { name: 'kill', fromMs: 100, toMs: 1000 }
  // From 90 to 700 in partition 0; what comes after the window does not count.
  assert.deepEqual([...longestSilences(history, window)], [['java', 610]])
  assert.deepEqual([...longestSilences(history, { ...window, partitions: [1] })], [['java', 515]])
  const never = { ...history, writes: at(0, 0, 90) }
  assert.deepEqual([...longestSilences(never, window)], [['java', 910]])
  assert.equal(median([5, 1, 9]), 5)
})
