/** Reads the rows that logs publish: 64-bit words stored by their shard, loaded by anyone. */
import { addon } from '../native/addon.ts'

const WORDS = 8

const Word = {
  LOG_START: 0,
  LOG_END: 1,
  HIGH_WATERMARK: 2,
  LAST_STABLE: 3,
  WAITERS: 4,
  OFFLINE: 5,
  SIZE_BYTES: 6,
  LAST_EPOCH: 7,
} as const

let words: BigInt64Array | null = null

function load(row: number, word: number): number {
  words ??= new BigInt64Array(addon.publishedRows())
  return Number(Atomics.load(words, row * WORDS + word))
}

export const published = {
  logStart: (row: number): number => load(row, Word.LOG_START),
  logEnd: (row: number): number => load(row, Word.LOG_END),
  highWatermark: (row: number): number => load(row, Word.HIGH_WATERMARK),
  lastStable: (row: number): number => load(row, Word.LAST_STABLE),
  isOffline: (row: number): boolean => load(row, Word.OFFLINE) !== 0,
  sizeBytes: (row: number): number => load(row, Word.SIZE_BYTES),
  /** The latest leader epoch that the log knows of; -1 if none. */
  lastEpoch: (row: number): number => load(row, Word.LAST_EPOCH),
  /** Asks for an ADVANCED event at the next move of the log end or the high watermark. */
  wait(row: number): void {
    words ??= new BigInt64Array(addon.publishedRows())
    Atomics.store(words, row * WORDS + Word.WAITERS, 1n)
  },
}
