/**
 * A segment's `.txnindex`: the aborted transactions whose end it holds, in Apache Kafka's format.
 * Version 0: 34 bytes an entry, ascending by the last offset.
 */
import { readFileSync } from 'node:fs'
import { CorruptDataError } from '../compression/errors.ts'
import { readInt64, writeInt64 } from './record-format.ts'

const ENTRY_BYTES = 34
const VERSION = 0

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  /** Of its marker. */
  readonly lastOffset: number
  /** The last stable offset when it ended. */
  readonly lastStableOffset: number
}

/** The entries of an index file; none when it is missing. Throws CorruptDataError. */
export function readTransactionIndex(path: string): AbortedTransaction[] {
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  const found: AbortedTransaction[] = []
  for (let at = 0; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
    const version = bytes.readInt16BE(at)
    if (version !== VERSION) throw new CorruptDataError(`an entry of version ${version} in ${path}`)
    found.push({
      producerId: readInt64(bytes, at + 2),
      firstOffset: readInt64(bytes, at + 10),
      lastOffset: readInt64(bytes, at + 18),
      lastStableOffset: readInt64(bytes, at + 26),
    })
  }
  return found
}

export function encodeAbortedTransaction(transaction: AbortedTransaction): Buffer {
  const bytes = Buffer.alloc(ENTRY_BYTES)
  bytes.writeInt16BE(VERSION, 0)
  writeInt64(bytes, transaction.producerId, 2)
  writeInt64(bytes, transaction.firstOffset, 10)
  writeInt64(bytes, transaction.lastOffset, 18)
  writeInt64(bytes, transaction.lastStableOffset, 26)
  return bytes
}

/** What became of the transactions of a log, told batch by batch in the order of the log. */
export class TransactionTracker {
  /** The latest first. */
  readonly #aborted: AbortedTransaction[]
  readonly #ongoingCommitted = new Set<number>()
  readonly #ongoingAborted = new Map<number, { entry: AbortedTransaction; seen: boolean }>()
  readonly #markerKept: (transaction: AbortedTransaction) => void

  /** `markerKept` is told of the aborted transactions of which batches are still there. */
  constructor(
    aborted: readonly AbortedTransaction[],
    markerKept: (transaction: AbortedTransaction) => void = () => undefined,
  ) {
    this.#aborted = [...aborted].sort((a, b) => b.firstOffset - a.firstOffset)
    this.#markerKept = markerKept
  }

  /** Whether the batch is of an aborted transaction. */
  onBatch(batch: {
    readonly lastOffset: number
    readonly producerId: number
    readonly isTransactional: boolean
  }): boolean {
    this.#begin(batch.lastOffset)
    if (!batch.isTransactional) return false
    const ongoing = this.#ongoingAborted.get(batch.producerId)
    if (ongoing === undefined) {
      this.#ongoingCommitted.add(batch.producerId)
      return false
    }
    ongoing.seen = true
    return true
  }

  /** Whether the marker is not needed any more, for no batch of its transaction is left. */
  onMarker(batch: {
    readonly lastOffset: number
    readonly producerId: number
    readonly kind: 'abort' | 'commit' | 'empty' | 'other'
  }): boolean {
    this.#begin(batch.lastOffset)
    switch (batch.kind) {
      case 'abort': {
        const ended = this.#ongoingAborted.get(batch.producerId)
        this.#ongoingAborted.delete(batch.producerId)
        // Without an entry its batches count as committed ones: then it stays as long as they do.
        if (ended === undefined) return !this.#ongoingCommitted.delete(batch.producerId)
        if (!ended.seen) return true
        this.#markerKept(ended.entry)
        return false
      }
      case 'commit':
        return !this.#ongoingCommitted.delete(batch.producerId)
      case 'empty':
        return true
      case 'other':
        return false
    }
  }

  #begin(offset: number): void {
    for (;;) {
      const next = this.#aborted.at(-1)
      if (next === undefined || next.firstOffset > offset) return
      this.#aborted.pop()
      if (!this.#ongoingAborted.has(next.producerId)) {
        this.#ongoingAborted.set(next.producerId, { entry: next, seen: false })
      }
    }
  }
}
