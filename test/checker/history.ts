/** What clients have said of a run: every write with its outcome, everything that was read. */

/** The client libraries that take part; the last is this package's own. */
export const CLIENT_KINDS = ['java', 'librdkafka', 'franz-go', 'kafkajs', 'shardlog'] as const
export type ClientKind = (typeof CLIENT_KINDS)[number]

export interface ProducerTraits {
  /** Unique in a run; values start with it. */
  readonly name: string
  readonly kind: ClientKind
  /** Every record once, whatever is sent again. */
  readonly isIdempotent: boolean
  /** What it was told to send first stands first, also when the leader changes. */
  readonly isOrdered: boolean
}

/**
 * `ok`: acknowledged. `failed`: certainly not stored, it was never sent. `indeterminate`: given up
 * after it may have been sent, so that it may be there or not.
 */
export type Outcome = 'ok' | 'failed' | 'indeterminate'

export interface Write {
  readonly producer: string
  readonly partition: number
  /** From 0 up in each partition of a producer. */
  readonly sequence: number
  readonly outcome: Outcome
  /** -1 where the client was not told. */
  readonly offset: number
  /** Milliseconds since 1970, as are all times here. */
  readonly sentMs: number
  readonly endedMs: number
  readonly error?: string
}

export interface Read {
  readonly reader: string
  readonly partition: number
  readonly offset: number
  readonly value: string
  readonly atMs: number
}

/** A high watermark that a reader was told. */
export interface WatermarkSeen {
  readonly reader: string
  /** `latest`: by ListOffsets, where Kafka too promises that it never goes back (KIP-207). */
  readonly source: 'latest' | 'fetch'
  readonly partition: number
  readonly highWatermark: number
  readonly atMs: number
}

/** A reader was told that its offset is not there, or that the log was cut below it. */
export interface ReadError {
  readonly reader: string
  readonly partition: number
  readonly offset: number
  readonly error: string
  readonly atMs: number
}

/** A whole partition as one broker gives it to a consumer when all is over. */
export interface FinalRead {
  readonly brokerId: number
  readonly partition: number
  readonly logStart: number
  readonly highWatermark: number
  /** Offset → value, ascending. */
  readonly values: ReadonlyMap<number, string>
}

export interface History {
  readonly producers: readonly ProducerTraits[]
  readonly writes: readonly Write[]
  /** How many each producer has sent to each partition: producer → partition → count. */
  readonly sent: ReadonlyMap<string, ReadonlyMap<number, number>>
  readonly reads: readonly Read[]
  readonly watermarks: readonly WatermarkSeen[]
  readonly readErrors: readonly ReadError[]
  /** Readers that went on to the end of every partition. */
  readonly finishedReaders: readonly string[]
  readonly finalReads: readonly FinalRead[]
}

/** The value that a producer sends: unique in a run. */
export function recordValue(write: Pick<Write, 'producer' | 'partition' | 'sequence'>): string {
  return `${write.producer}:${write.partition}:${write.sequence}`
}

export interface ParsedValue {
  readonly producer: string
  readonly partition: number
  readonly sequence: number
}

/** The inverse of `recordValue`; null for what no producer of ours has sent. */
export function parseValue(value: string): ParsedValue | null {
  const parts = /^(.+):(\d+):(\d+)$/.exec(value)
  if (parts === null) return null
  return {
    producer: parts[1] as string,
    partition: Number(parts[2]),
    sequence: Number(parts[3]),
  }
}
