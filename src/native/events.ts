/** The rows that native code delivers; the numbers are those of `native/event_queue.h`. */

/** Numbers in a row. */
export const EVENT_WIDTH = 6

export const EventKind = {
  /** connection, sequence, frame bytes, api key << 16 | version, correlation id */
  FRAME: 1,
  /** connection, listener */
  OPENED: 2,
  /** connection, reason, errno */
  CLOSED: 3,
  /** connection, sequence, api version: a produce answer that must be encoded here */
  RESULT: 4,
  /** published row whose log end or high watermark moved while somebody waited for it */
  ADVANCED: 5,
  /** piped connection that has bytes to pull */
  OUTPUT: 6,
  /** published row, errno */
  STORAGE_ERROR: 7,
  /** every connection is closed after a stop */
  DRAINED: 8,
  /** listener, errno */
  ACCEPT_ERROR: 9,
  /** (to a shard) handle of the log whose next slice JavaScript must look at */
  SLOW_SLICE: 10,
} as const

/** Why a connection was closed, for the log line. */
export const closeReasons: Readonly<Record<number, string>> = {
  1: 'closed by peer',
  2: 'closed',
  3: 'a length prefix that no request can have',
  4: 'idle',
  5: 'an unfinished request made no progress',
  6: 'out of memory',
  7: 'the log was truncated under an answer',
  8: 'an unacknowledged produce request failed',
}
