/** Makes a history of the lines that load clients print (test/system/clients/load-client.ts). */
import assert from 'node:assert/strict'
import type {
  ClientKind,
  FinalRead,
  History,
  Outcome,
  ProducerTraits,
  Read,
  ReadError,
  WatermarkSeen,
  Write,
} from './history.ts'

/**
 * The producers of a load client. With one request in flight, but without idempotence, libraries
 * still send to a new leader while the old one owes them an answer, and repeat later what it owed.
 * Only kafkajs is made to wait for each call.
 */
export function producersOf(kind: ClientKind): readonly ProducerTraits[] {
  return [
    { name: `${kind}-idempotent`, kind, isIdempotent: true, isOrdered: true },
    { name: `${kind}-plain`, kind, isIdempotent: false, isOrdered: kind === 'kafkajs' },
  ]
}

export class HistoryRecorder {
  readonly producers: readonly ProducerTraits[]
  readonly #writes: Write[] = []
  readonly #sent = new Map<string, Map<number, number>>()
  readonly #reads: Read[] = []
  readonly #watermarks: WatermarkSeen[] = []
  readonly #readErrors: ReadError[] = []
  /** `reader partition` → the offset behind the last record. */
  readonly #positions = new Map<string, number>()
  /** `producer partition` → when the latest acknowledged record was sent. */
  readonly #acknowledged = new Map<string, number>()
  #stopped = 0

  constructor(kinds: readonly ClientKind[]) {
    this.producers = kinds.flatMap(producersOf)
  }

  get writes(): readonly Write[] {
    return this.#writes
  }

  /** Clients that have stopped to write. */
  get stopped(): number {
    return this.#stopped
  }

  /** When the latest record was sent that a producer has an acknowledgement for; 0 before one. */
  acknowledgedUpTo(producer: string, partition: number): number {
    return this.#acknowledged.get(`${producer} ${partition}`) ?? 0
  }

  positionOf(reader: string, partition: number): number {
    return this.#positions.get(`${reader} ${partition}`) ?? 0
  }

  /** Takes a line of a client. */
  take(line: string): void {
    const [event = '', who = '', ...rest] = line.split(' ')
    switch (event) {
      case 'ok':
        this.#takeAcknowledged(who, rest.map(Number))
        break
      case 'failed':
      case 'indeterminate':
        this.#takeGivenUp(who, event, rest)
        break
      case 'read':
        this.#takeRead(who, rest)
        break
      case 'watermark':
        this.#takeWatermark(who, rest)
        break
      case 'refused':
        this.#takeRefused(who, rest)
        break
      case 'sent':
        this.#takeSent(who, rest.map(Number))
        break
      case 'stopped':
        this.#stopped += 1
        break
      default:
        assert.fail(`a client printed: ${line}`)
    }
  }

  #takeRefused(reader: string, rest: readonly string[]): void {
    const [partition, atMs, offset] = rest.map(Number) as [number, number, number]
    const error = rest.slice(3).join(' ')
    this.#readErrors.push({ reader, partition, offset, error, atMs })
  }

  #takeSent(producer: string, numbers: readonly number[]): void {
    const [partition, count] = numbers as [number, number]
    const counts = this.#sent.get(producer) ?? new Map<number, number>()
    this.#sent.set(producer, counts.set(partition, count))
  }

  #takeAcknowledged(producer: string, numbers: readonly number[]): void {
    assert.ok(numbers.every(Number.isInteger), `${producer} printed ok with ${numbers}`)
    const [partition, sequence, offset, sentMs, endedMs] = numbers as [
      ...[number, number, number, number, number],
    ]
    const place = `${producer} ${partition}`
    this.#acknowledged.set(place, Math.max(sentMs, this.#acknowledged.get(place) ?? 0))
    const outcome = 'ok'
    this.#writes.push({ producer, partition, sequence, outcome, offset, sentMs, endedMs })
  }

  #takeGivenUp(producer: string, outcome: Outcome, rest: readonly string[]): void {
    const [partition, sequence, sentMs, endedMs] = rest.map(Number) as [
      ...[number, number, number, number],
    ]
    const error = rest.slice(4).join(' ')
    const times = { sentMs, endedMs }
    this.#writes.push({ producer, partition, sequence, outcome, offset: -1, ...times, error })
  }

  #takeRead(reader: string, rest: readonly string[]): void {
    const [partition, atMs] = rest.slice(0, 2).map(Number) as [number, number]
    for (let i = 2; i + 1 < rest.length; i += 2) {
      const offset = Number(rest[i])
      this.#reads.push({ reader, partition, offset, value: rest[i + 1] as string, atMs })
      this.#positions.set(`${reader} ${partition}`, offset + 1)
    }
  }

  #takeWatermark(reader: string, rest: readonly string[]): void {
    const source = rest[0] === 'latest' ? 'latest' : 'fetch'
    const [partition, atMs, highWatermark] = rest.slice(1).map(Number) as [number, number, number]
    this.#watermarks.push({ reader, source, partition, highWatermark, atMs })
  }

  /** All that was recorded, with what was read in the end. */
  history(finalReads: readonly FinalRead[], finishedReaders: readonly string[]): History {
    return {
      producers: this.producers,
      writes: this.#writes,
      sent: this.#sent,
      reads: this.#reads,
      watermarks: this.#watermarks,
      readErrors: this.#readErrors,
      finishedReaders,
      finalReads,
    }
  }
}
