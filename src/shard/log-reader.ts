/** Reads stored batches into JavaScript without holding up the thread that asks. */
import { addon } from '../native/addon.ts'

/** KAFKA_STORAGE_ERROR, for a log that is closed. */
const STORAGE_ERROR = 56

export interface ReadBatches {
  /** 0 or a protocol error code. */
  readonly errorCode: number
  /** Whole batches as they are on disk; empty at the limit. */
  readonly bytes: Buffer
}

const NOTHING = Buffer.alloc(0)
/** Base offset and length, which every batch and message begins with. */
const PREFIX_BYTES = 12

/** A read may end inside a batch: how many bytes the whole ones have. */
function wholeBytes(bytes: Buffer): number {
  let whole = 0
  while (whole + PREFIX_BYTES <= bytes.length) {
    const next = whole + PREFIX_BYTES + bytes.readInt32BE(whole + 8)
    if (next > bytes.length) break
    whole = next
  }
  return whole
}

/**
 * Whole batches from the one that holds `offset` on, at most about `maxBytes` but at least one,
 * and nothing at or beyond `limitOffset`.
 */
export function readBatches(
  log: number,
  options: { readonly offset: number; readonly maxBytes: number; readonly limitOffset: number },
): Promise<ReadBatches> {
  return new Promise((resolve) => {
    const { offset, maxBytes, limitOffset } = options
    const known = addon.readLog(log, offset, maxBytes, limitOffset, (errorCode, bytes) =>
      resolve({ errorCode, bytes: bytes?.subarray(0, wholeBytes(bytes)) ?? NOTHING }),
    )
    if (!known) resolve({ errorCode: STORAGE_ERROR, bytes: NOTHING })
  })
}
