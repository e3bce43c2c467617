/**
 * The checks of a history, in the style of Jepsen's Kafka workload: what was acknowledged or read
 * must be there at the end, on every broker, once and in order, at the offset that was told.
 */
import {
  CLIENT_KINDS,
  type ClientKind,
  type FinalRead,
  type History,
  type ProducerTraits,
  parseValue,
  type Read,
  recordValue,
} from './history.ts'

/**
 * - `lost`: acknowledged or read, and not to be read at the end from some broker.
 * - `unseen`: there at the end, and a reader that went to the end was never given it.
 * - `duplicated`: at more than one offset.
 * - `reordered`: behind what its producer sent later to the same partition.
 * - `inconsistent`: an offset with two values, or a hole between offsets.
 * - `phantom`: there, though its producer says it did not send it, or nobody sent such a thing.
 * - `reader-went-back`: a reader got an offset that it had passed already.
 * - `reader-refused`: a reader was told that an offset up to which it had read is not there.
 * - `watermark-went-back`: ListOffsets answered with less than before.
 * - `fetch-watermark-went-back`: a Fetch did. Kafka promises nothing here after a change of leader.
 */
export const ANOMALIES = [
  'lost',
  'unseen',
  'duplicated',
  'reordered',
  'inconsistent',
  'phantom',
  'reader-went-back',
  'reader-refused',
  'watermark-went-back',
  'fetch-watermark-went-back',
] as const
export type Anomaly = (typeof ANOMALIES)[number]

export interface Finding {
  readonly anomaly: Anomaly
  /** Whose record or reader it is; null if nobody's. */
  readonly kind: ClientKind | null
  /** False for what the client does not promise: repeats without idempotence, say. */
  readonly isViolation: boolean
  readonly text: string
}

export interface KindCounts {
  readonly acknowledged: number
  readonly indeterminate: number
  readonly failed: number
}

export interface Report {
  readonly findings: readonly Finding[]
  readonly counts: ReadonlyMap<ClientKind, KindCounts>
}

/** What must not be. */
export function violations(report: Report): readonly Finding[] {
  return report.findings.filter(({ isViolation }) => isViolation)
}

type Producers = ReadonlyMap<string, ProducerTraits>

export function checkHistory(history: History): Report {
  const producers: Producers = new Map(history.producers.map((one) => [one.name, one]))
  const findings = [
    ...lost(history, producers),
    ...unseen(history, producers),
    ...repeatedAndReordered(history, producers),
    ...inconsistent(history, producers),
    ...phantoms(history, producers),
    ...readersWentBack(history),
    ...watermarksWentBack(history),
    ...history.readErrors.map(({ reader, partition, offset, error }) => ({
      anomaly: 'reader-refused' as const,
      kind: kindOfReader(reader),
      isViolation: true,
      text: `${reader} at ${partition}@${offset}: ${error}`,
    })),
  ]
  return { findings, counts: countsByKind(history, producers) }
}

/** Readers carry the name of their library: `java-reader`. */
function kindOfReader(reader: string): ClientKind | null {
  return CLIENT_KINDS.find((kind) => reader === `${kind}-reader`) ?? null
}

function kindOfValue(value: string, producers: Producers): ClientKind | null {
  return producers.get(parseValue(value)?.producer ?? '')?.kind ?? null
}

function groupByPartition<T extends { readonly partition: number }>(
  items: readonly T[],
): Map<number, T[]> {
  const groups = new Map<number, T[]>()
  for (const item of items) {
    const group = groups.get(item.partition)
    if (group) group.push(item)
    else groups.set(item.partition, [item])
  }
  return groups
}

function* lost(history: History, producers: Producers): Generator<Finding> {
  const wanted = new Map<number, Map<string, string>>()
  const want = (partition: number, value: string, why: string) => {
    const ofPartition = wanted.get(partition) ?? new Map<string, string>()
    wanted.set(partition, ofPartition)
    if (!ofPartition.has(value)) ofPartition.set(value, why)
  }
  for (const write of history.writes) {
    if (write.outcome === 'ok') {
      want(write.partition, recordValue(write), `acknowledged at ${write.offset}, ${write.endedMs}`)
    }
  }
  for (const { partition, offset, value, reader } of history.reads) {
    want(partition, value, `read by ${reader} at ${offset}`)
  }
  for (const final of history.finalReads) {
    const there = new Set(final.values.values())
    for (const [value, why] of wanted.get(final.partition) ?? []) {
      if (there.has(value)) continue
      const text = `${value} ${why}, not on broker ${final.brokerId} up to ${final.highWatermark}`
      yield { anomaly: 'lost', kind: kindOfValue(value, producers), isViolation: true, text }
    }
  }
}

function* unseen(history: History, producers: Producers): Generator<Finding> {
  const finals = groupByPartition(history.finalReads)
  const byReader = new Map<string, Read[]>()
  for (const read of history.reads) {
    const reads = byReader.get(read.reader)
    if (reads) reads.push(read)
    else byReader.set(read.reader, [read])
  }
  for (const reader of history.finishedReaders) {
    const seen = groupByPartition(byReader.get(reader) ?? [])
    for (const [partition, [final]] of finals) {
      const values = new Set(seen.get(partition)?.map(({ value }) => value))
      for (const [offset, value] of final?.values ?? []) {
        if (values.has(value)) continue
        const text = `${value} at ${partition}@${offset}, never given to ${reader}`
        yield { anomaly: 'unseen', kind: kindOfValue(value, producers), isViolation: true, text }
      }
    }
  }
}

interface Placed {
  readonly sequence: number
  readonly offsets: number[]
}

/** The records of each producer in a partition, by the first offset. */
function placedRecords(final: FinalRead): Map<string, Placed[]> {
  const byProducer = new Map<string, Map<number, Placed>>()
  for (const [offset, value] of final.values) {
    const parsed = parseValue(value)
    if (parsed === null) continue
    const { producer, sequence } = parsed
    const records = byProducer.get(producer) ?? new Map<number, Placed>()
    byProducer.set(producer, records)
    const record = records.get(sequence)
    if (record) record.offsets.push(offset)
    else records.set(sequence, { sequence, offsets: [offset] })
  }
  return new Map([...byProducer].map(([name, records]) => [name, [...records.values()]]))
}

function* repeatedAndReordered(history: History, producers: Producers): Generator<Finding> {
  const unsure = new Set<string>()
  for (const write of history.writes) {
    if (write.outcome === 'indeterminate') unsure.add(recordValue(write))
  }
  for (const [partition, [final]] of groupByPartition(history.finalReads)) {
    if (final === undefined) continue
    for (const [name, records] of placedRecords(final)) {
      const traits = producers.get(name)
      if (traits === undefined) continue
      yield* repeated(traits, partition, records)
      // A write that was given up may arrive late, after its successors.
      const certain = traits.isIdempotent
        ? records
        : records.filter(
            ({ sequence }) => !unsure.has(recordValue({ producer: name, partition, sequence })),
          )
      yield* reordered(traits, partition, certain)
    }
  }
}

function* repeated(
  traits: ProducerTraits,
  partition: number,
  records: readonly Placed[],
): Generator<Finding> {
  for (const { sequence, offsets } of records) {
    if (offsets.length === 1) continue
    yield {
      anomaly: 'duplicated',
      kind: traits.kind,
      isViolation: traits.isIdempotent,
      text: `${traits.name}:${partition}:${sequence} at offsets ${offsets}`,
    }
  }
}

function* reordered(
  traits: ProducerTraits,
  partition: number,
  records: readonly Placed[],
): Generator<Finding> {
  let highest = -1
  for (const { sequence, offsets } of records) {
    if (sequence < highest) {
      yield {
        anomaly: 'reordered',
        kind: traits.kind,
        isViolation: traits.isOrdered,
        text: `${traits.name}:${partition}:${sequence} at ${offsets[0]}, after ${highest}`,
      }
    }
    highest = Math.max(highest, sequence)
  }
}

function* inconsistent(history: History, producers: Producers): Generator<Finding> {
  /** partition → offset → value → who said so first. */
  const said = new Map<number, Map<number, Map<string, string>>>()
  const say = (partition: number, offset: number, value: string, who: string) => {
    const offsets = said.get(partition) ?? new Map<number, Map<string, string>>()
    said.set(partition, offsets)
    const values = offsets.get(offset) ?? new Map<string, string>()
    offsets.set(offset, values)
    if (!values.has(value)) values.set(value, who)
  }
  for (const write of history.writes) {
    if (write.outcome !== 'ok' || write.offset < 0) continue
    say(write.partition, write.offset, recordValue(write), 'acknowledged')
  }
  for (const { partition, offset, value, reader } of history.reads) {
    say(partition, offset, value, reader)
  }
  for (const { partition, brokerId, values } of history.finalReads) {
    for (const [offset, value] of values) say(partition, offset, value, `broker ${brokerId}`)
  }
  for (const [partition, offsets] of said) {
    for (const [offset, values] of offsets) {
      if (values.size < 2) continue
      const all = [...values].map(([value, who]) => `${value} (${who})`).join(' and ')
      yield {
        anomaly: 'inconsistent',
        kind: kindOfValue([...values.keys()][0] ?? '', producers),
        isViolation: true,
        text: `${partition}@${offset}: ${all}`,
      }
    }
  }
  for (const final of history.finalReads) yield* holes(final)
}

function* holes(final: FinalRead): Generator<Finding> {
  let next = final.logStart
  const hole = (end: number): Finding => ({
    anomaly: 'inconsistent',
    kind: null,
    isViolation: true,
    text: `broker ${final.brokerId} has nothing from ${final.partition}@${next} to ${end}`,
  })
  for (const offset of final.values.keys()) {
    if (offset !== next) yield hole(offset)
    next = offset + 1
  }
  if (next < final.highWatermark) yield hole(final.highWatermark)
}

function* phantoms(history: History, producers: Producers): Generator<Finding> {
  const refused = new Set<string>()
  for (const write of history.writes)
    if (write.outcome === 'failed') refused.add(recordValue(write))
  const looked = new Set<string>()
  for (const { partition, brokerId, values } of history.finalReads) {
    for (const [offset, value] of values) {
      if (looked.has(`${partition}/${value}`)) continue
      looked.add(`${partition}/${value}`)
      const parsed = parseValue(value)
      const sent = history.sent.get(parsed?.producer ?? '')?.get(parsed?.partition ?? -1) ?? 0
      const isKnown = parsed !== null && parsed.partition === partition && parsed.sequence < sent
      if (isKnown && !refused.has(value)) continue
      const why = isKnown ? 'said to be not sent' : 'sent by nobody'
      yield {
        anomaly: 'phantom',
        kind: kindOfValue(value, producers),
        isViolation: true,
        text: `${value} at ${partition}@${offset} of broker ${brokerId}, ${why}`,
      }
    }
  }
}

function* readersWentBack(history: History): Generator<Finding> {
  const positions = new Map<string, number>()
  for (const { reader, partition, offset } of history.reads) {
    const place = `${reader} ${partition}`
    const last = positions.get(place) ?? -1
    if (offset <= last) {
      yield {
        anomaly: 'reader-went-back',
        kind: kindOfReader(reader),
        isViolation: true,
        text: `${reader} was given ${partition}@${offset} after ${last}`,
      }
    }
    positions.set(place, offset)
  }
}

function* watermarksWentBack(history: History): Generator<Finding> {
  const highest = new Map<string, number>()
  for (const { reader, source, partition, highWatermark } of history.watermarks) {
    const place = `${reader} ${source} ${partition}`
    const before = highest.get(place) ?? -1
    if (highWatermark < before) {
      yield {
        anomaly: source === 'latest' ? 'watermark-went-back' : 'fetch-watermark-went-back',
        kind: kindOfReader(reader),
        isViolation: source === 'latest',
        text: `${reader} was told ${highWatermark} of ${partition} after ${before}`,
      }
    }
    highest.set(place, Math.max(before, highWatermark))
  }
}

function countsByKind(history: History, producers: Producers): Map<ClientKind, KindCounts> {
  const counts = new Map<
    ClientKind,
    { acknowledged: number; indeterminate: number; failed: number }
  >()
  for (const { kind } of history.producers) {
    counts.set(kind, { acknowledged: 0, indeterminate: 0, failed: 0 })
  }
  for (const { producer, outcome } of history.writes) {
    const ofKind = counts.get(producers.get(producer)?.kind as ClientKind)
    if (ofKind === undefined) continue
    if (outcome === 'ok') ofKind.acknowledged += 1
    else ofKind[outcome] += 1
  }
  return counts
}

const EXAMPLES_SHOWN = 5

/** A report as lines: the counts of each client, then what was found, each with a few examples. */
export function reportLines(report: Report): string[] {
  const lines: string[] = []
  for (const [kind, { acknowledged, indeterminate, failed }] of report.counts) {
    const found = ANOMALIES.map((anomaly) => {
      const count = report.findings.filter((f) => f.anomaly === anomaly && f.kind === kind).length
      return count > 0 || isAlwaysShown(anomaly) ? `, ${count} ${anomaly}` : ''
    })
    const sums = `${acknowledged} acknowledged, ${indeterminate} indeterminate, ${failed} failed`
    lines.push(`${kind}: ${sums}${found.join('')}`)
  }
  for (const anomaly of ANOMALIES) {
    const all = report.findings.filter((finding) => finding.anomaly === anomaly)
    if (all.length === 0) continue
    const bad = all.filter(({ isViolation }) => isViolation)
    const allowed = bad.length === 0 ? ', which is no violation' : ''
    lines.push(`${anomaly}: ${all.length}${allowed}`)
    for (const { text } of (bad.length > 0 ? bad : all).slice(0, EXAMPLES_SHOWN)) {
      lines.push(`  ${text}`)
    }
  }
  return lines
}

function isAlwaysShown(anomaly: Anomaly): boolean {
  return ['lost', 'unseen', 'duplicated', 'reordered', 'inconsistent'].includes(anomaly)
}
