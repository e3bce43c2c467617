/**
 * The cleaner against a model, on random logs: keys, tombstones, codecs, transactions with their
 * markers, random rolls, gaps, several passes over a growing log with a moving clock, and little
 * memory for keys. After each pass the log holds exactly what the model says, every batch keeps its
 * offsets and its producer, and a read from any offset gives the next record that is left.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { encodeAbortedTransaction } from '../../src/log/transaction-index.ts'
import { type CleanedLog, CleaningFixture } from './cleaning-fixture.ts'
import {
  dataBatch,
  markerBatch,
  type ReadBackBatch,
  type StoredRecord,
  segmentPath,
  writeSegment,
} from './stored-log.ts'

let fixture: CleaningFixture

before(async () => {
  fixture = await CleaningFixture.start()
})
after(() => fixture.close())

const START = 1_700_000_000_000
const RETENTION = 1000

type Step =
  | {
      readonly kind: 'batch'
      readonly keys: readonly (number | null)[]
      readonly tombstones: number
      readonly codec: number
      /** 0: none; 1 and 2 are transactional, 3 is idempotent. */
      readonly producer: number
      readonly valueBytes: number
      /** Offsets that are missing in front of it. */
      readonly gap: number
    }
  | { readonly kind: 'end'; readonly producer: number; readonly commit: boolean }
  | { readonly kind: 'roll' }
  | {
      readonly kind: 'clean'
      readonly afterMs: number
      readonly mapSlots: number
      readonly segmentBytes: number
    }

/** Few that come back often, and many that do not fit into little memory. */
const key = fc.oneof(fc.nat(8), fc.nat(60))

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('batch' as const),
      keys: fc.array(fc.oneof({ weight: 20, arbitrary: key }, fc.constant(null)), {
        minLength: 1,
        maxLength: 5,
      }),
      tombstones: fc.nat(31),
      codec: fc.nat(4),
      producer: fc.nat(3),
      valueBytes: fc.nat(200),
      gap: fc.oneof({ weight: 5, arbitrary: fc.constant(0) }, fc.nat(3)),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('end' as const),
      producer: fc.integer({ min: 1, max: 2 }),
      commit: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'roll' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('clean' as const),
      afterMs: fc.constantFrom(0, 1, RETENTION - 1, RETENTION, 5 * RETENTION),
      mapSlots: fc.constantFrom(16, 16, 100_000),
      segmentBytes: fc.constantFrom(500, 2000, 1_000_000),
    }),
  },
)

interface ModelBatch {
  readonly baseOffset: number
  readonly lastOffset: number
  readonly producer: number
  readonly sequence: number
  readonly codec: number
  readonly marker: 'commit' | 'abort' | null
  /** Index of its transaction among all. */
  readonly transaction: number | null
  records: StoredRecord[]
  horizon: number | null
  /** Of a marker: only its header is left. */
  isEmptied: boolean
  /** False when it is gone; without records it may be there, for its header. */
  isThere: boolean
  bytes: Buffer
}

interface ModelTransaction {
  readonly producer: number
  readonly firstOffset: number
  outcome: 'commit' | 'abort' | null
}

class Model {
  readonly batches: ModelBatch[] = []
  readonly transactions: ModelTransaction[] = []
  /** Where segments begin. */
  readonly bases = [0]
  readonly #open = new Map<number, number>()
  readonly #sequences = new Map<number, number>()
  end = 0
  firstDirty = 0

  add(step: Extract<Step, { kind: 'batch' }>): void {
    const baseOffset = this.end + step.gap
    const timestamp = START - 1000 + this.batches.length
    const records = step.keys.map((key, i) => ({
      offset: baseOffset + i,
      key: key === null ? null : `key-${key}`,
      value: (step.tombstones >> i) & 1 ? null : `${baseOffset + i}`.padEnd(step.valueBytes, '.'),
      timestamp: timestamp + i,
    }))
    const { codec, producer } = step
    const sequence = this.#sequences.get(producer) ?? 0
    if (producer > 0) this.#sequences.set(producer, sequence + records.length)
    let transaction: number | null = null
    if (producer === 1 || producer === 2) {
      transaction = this.#open.get(producer) ?? this.transactions.length
      if (!this.#open.has(producer)) {
        this.transactions.push({ producer, firstOffset: baseOffset, outcome: null })
        this.#open.set(producer, transaction)
      }
    }
    const fields = producer === 0 ? {} : { producerId: producer, producerEpoch: 3 }
    const bytes = dataBatch({
      ...{ baseOffset, records, codec, ...fields },
      baseSequence: producer === 0 ? -1 : sequence,
      isTransactional: transaction !== null,
    })
    const lastOffset = baseOffset + records.length - 1
    const where = { baseOffset, lastOffset, producer, sequence, codec, transaction }
    this.batches.push({
      ...where,
      marker: null,
      records,
      horizon: null,
      isEmptied: false,
      isThere: true,
      bytes,
    })
    this.end = lastOffset + 1
  }

  /** What goes into the transaction index, or null. */
  finish(producer: number, commit: boolean): Buffer | null {
    const index = this.#open.get(producer)
    if (index === undefined) return null
    this.#open.delete(producer)
    const transaction = this.transactions[index] as ModelTransaction
    transaction.outcome = commit ? 'commit' : 'abort'
    const baseOffset = this.end
    const timestamp = START
    const bytes = markerBatch({
      ...{ baseOffset, producerId: producer, producerEpoch: 3, commit, timestamp },
    })
    const where = { baseOffset, lastOffset: baseOffset, producer, sequence: -1, codec: 0 }
    const marker = commit ? 'commit' : 'abort'
    this.batches.push({
      ...{
        ...where,
        marker,
        transaction: index,
        records: [],
        horizon: null,
        isEmptied: false,
        isThere: true,
        bytes,
      },
    })
    this.end += 1
    if (commit) return null
    const { firstOffset } = transaction
    return encodeAbortedTransaction({
      ...{ producerId: producer, firstOffset, lastOffset: baseOffset },
      lastStableOffset: this.lastStable,
    })
  }

  roll(): boolean {
    if (this.bases.at(-1) === this.end) return false
    this.bases.push(this.end)
    return true
  }

  get lastStable(): number {
    const open = [...this.#open.values()].map((i) => this.transactions[i]?.firstOffset ?? 0)
    return Math.min(this.end, ...open)
  }

  /** Where the segment begins of which nothing may be touched. */
  get firstUncleanable(): number {
    return this.bases.findLast((base) => base <= this.lastStable) ?? 0
  }

  #outcome(batch: ModelBatch): 'commit' | 'abort' | null {
    return this.transactions[batch.transaction ?? -1]?.outcome ?? null
  }

  /** What a pass does that cleans segments before `cleanedTo` by the keys before `endOffset`. */
  clean(options: {
    readonly endOffset: number
    readonly cleanedTo: number
    readonly nowMs: number
  }): void {
    const { endOffset, cleanedTo, nowMs } = options
    const newest = new Map<string, number>()
    for (const batch of this.batches) {
      if (batch.marker !== null || this.#outcome(batch) === 'abort') continue
      for (const { key, offset } of batch.records) {
        const counts = offset >= this.firstDirty && offset < endOffset
        if (key !== null && counts) newest.set(key, offset)
      }
    }
    const lastData = new Map<number, number>()
    for (const batch of this.batches) {
      if (batch.marker === null) lastData.set(batch.producer, batch.lastOffset)
    }
    const seen = new Set<number>()
    const { firstUncleanable } = this
    for (const batch of this.batches) {
      if (batch.lastOffset >= cleanedTo) break
      if (!batch.isThere) continue
      const isOver = batch.horizon !== null && batch.horizon <= nowMs
      const mustStay =
        (batch.marker === null &&
          batch.producer > 0 &&
          lastData.get(batch.producer) === batch.lastOffset) ||
        batch.lastOffset + 1 === firstUncleanable
      if (batch.marker !== null) {
        const unneeded = !seen.has(batch.transaction ?? -1)
        if (batch.isEmptied || (unneeded && isOver)) {
          batch.isEmptied = true
          batch.isThere = mustStay
          batch.horizon = null
        } else if (unneeded) batch.horizon ??= nowMs + RETENTION
        continue
      }
      if (batch.transaction !== null) seen.add(batch.transaction)
      const aborted = this.#outcome(batch) === 'abort'
      batch.records = batch.records.filter(({ key, value, offset }) => {
        if (aborted) return false
        if (offset >= endOffset) return true
        if (key === null || offset < (newest.get(key) ?? -1)) return false
        return value !== null || !isOver
      })
      if (batch.records.length === 0) {
        batch.isThere = mustStay
        batch.horizon = null
      } else if (batch.records.some(({ value }) => value === null)) {
        batch.horizon ??= nowMs + RETENTION
      }
    }
    this.firstDirty = endOffset
  }
}

/** Writes a log of steps as its segments, and cleans when told to. */
class Run {
  readonly model = new Model()
  readonly log: CleanedLog
  #nowMs = START
  readonly #segments: Buffer[][] = [[]]
  readonly #indexes: Buffer[][] = [[]]
  /** Segments from here on are not written yet. */
  #written = 0
  cleanings = 0
  fullMaps = 0

  constructor(log: CleanedLog) {
    this.log = log
  }

  async take(step: Step): Promise<void> {
    switch (step.kind) {
      case 'batch':
        this.model.add(step)
        this.#segments.at(-1)?.push(this.model.batches.at(-1)?.bytes as Buffer)
        return
      case 'end': {
        const before = this.model.batches.length
        const entry = this.model.finish(step.producer, step.commit)
        if (this.model.batches.length === before) return
        this.#segments.at(-1)?.push(this.model.batches.at(-1)?.bytes as Buffer)
        if (entry !== null) this.#indexes.at(-1)?.push(entry)
        return
      }
      case 'roll':
        if (!this.model.roll()) return
        this.#segments.push([])
        this.#indexes.push([])
        return
      case 'clean':
        await this.#clean(step)
    }
  }

  /** What was not on disk before; the active segment may have grown. */
  #write(): void {
    const { folder } = this.log
    for (let i = this.#written; i < this.#segments.length; i += 1) {
      const base = this.model.bases[i] as number
      writeSegment(folder, base, this.#segments[i] as Buffer[])
      const aborted = this.#indexes[i] as Buffer[]
      if (aborted.length > 0) {
        writeFileSync(`${segmentPath(folder, base)}.txnindex`, Buffer.concat(aborted))
      }
    }
    this.#written = this.#segments.length - 1
  }

  async #clean(step: Extract<Step, { kind: 'clean' }>): Promise<void> {
    const { model, log } = this
    this.#write()
    this.#nowMs += step.afterMs
    // After a crash or after a stop: the log is to be the same.
    assert.equal(await log.open(this.cleanings % 2 === 0), 0)
    assert.equal(log.logEnd, model.end)
    const { firstDirty, firstUncleanable } = model
    const { indexed } = await log.pass({
      firstDirty,
      firstUncleanable,
      nowMs: this.#nowMs,
      deleteRetentionMs: RETENTION,
      segmentBytes: step.segmentBytes,
      mapBytes: step.mapSlots * 24,
      ioBufferBytes: 128,
    })
    const { endOffset, full, groups } = indexed
    if (!full) assert.equal(endOffset, Math.max(firstDirty, firstUncleanable))
    assert.ok(endOffset > firstDirty || !full)
    assert.ok(endOffset <= Math.max(firstDirty, firstUncleanable))
    const cleaned = groups.flat().at(-1)
    const cleanedTo =
      cleaned === undefined ? 0 : (model.bases[model.bases.indexOf(cleaned) + 1] ?? 0)
    model.clean({ endOffset, cleanedTo, nowMs: this.#nowMs })
    this.#mergeBases(groups)
    await this.#check(firstUncleanable)
    await log.close(this.cleanings % 3 !== 0)
    this.cleanings += 1
    if (full) this.fullMaps += 1
  }

  #mergeBases(groups: readonly (readonly number[])[]): void {
    for (const base of groups.flatMap((group) => group.slice(1))) {
      const i = this.model.bases.indexOf(base)
      this.model.bases.splice(i, 1)
      this.#segments.splice(i, 1)
      this.#indexes.splice(i, 1)
      this.#written -= 1
    }
  }

  async #check(firstUncleanable: number): Promise<void> {
    const { model, log } = this
    const found = await log.readAll()
    const wanted = model.batches.filter((batch) => batch.isThere)
    assert.deepEqual(found.map(summaryOf), wanted.map(expected))
    for (const batch of wanted) {
      if (batch.baseOffset < firstUncleanable) continue
      const same = found.find((one) => one.baseOffset === batch.baseOffset)
      assert.deepEqual(same?.bytes, batch.bytes, 'what may not be touched')
    }
    for (let offset = 0; offset < model.end; offset += 1) {
      const next = wanted.find((batch) => batch.lastOffset >= offset)
      const [got] = next === undefined ? [] : await log.readFrom(offset, 1)
      assert.equal(got?.baseOffset, next?.baseOffset, `from offset ${offset}`)
    }
    assert.equal(log.logEnd, model.end)
  }
}

function summaryOf(batch: ReadBackBatch) {
  const { baseOffset, lastOffset, producerId, deleteHorizonMs: horizon, isControl } = batch
  const isEmpty = batch.bytes.readInt32BE(57) === 0
  return {
    ...{ baseOffset, lastOffset, producerId, horizon, isControl },
    isTransactional: batch.isTransactional,
    codec: isEmpty ? 0 : batch.codec,
    sequence: batch.baseSequence,
    records: isControl ? [] : batch.records,
  }
}

function expected(batch: ModelBatch) {
  const { baseOffset, lastOffset, producer, horizon, records, marker } = batch
  return {
    ...{ baseOffset, lastOffset, producerId: producer === 0 ? -1 : producer, horizon },
    isControl: marker !== null,
    isTransactional: batch.transaction !== null,
    codec: records.length === 0 ? 0 : batch.codec,
    sequence: producer === 0 || marker !== null ? -1 : batch.sequence,
    records,
  }
}

test('a cleaned log is what the model says', async (t) => {
  let cleanings = 0
  let fullMaps = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 10, maxLength: 80, size: 'max' }),
      async (steps) => {
        const run = new Run(fixture.createLog())
        const last = { kind: 'clean', mapSlots: 100_000, segmentBytes: 2000 } as const
        const ending: Step[] = [
          { kind: 'roll' },
          { ...last, afterMs: 0 },
          { ...last, afterMs: 5000 },
        ]
        for (const one of [...steps, ...ending]) await run.take(one)
        cleanings += run.cleanings
        fullMaps += run.fullMaps
      },
    ),
    { numRuns: 60 },
  )
  t.diagnostic(`${cleanings} passes, ${fullMaps} of them with too little memory for the keys`)
})
