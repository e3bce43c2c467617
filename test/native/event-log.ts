/** The add-on's transport and logs without anything above them. */
import { addon, type LogOpenOptions } from '../../src/native/addon.ts'
import { EVENT_WIDTH } from '../../src/native/events.ts'

type Row = readonly number[]

/** A transport of the add-on alone, whose events can be waited for. */
export class EventLog {
  readonly id: number
  readonly #rows = new Float64Array(EVENT_WIDTH * 16)
  readonly #seen: Row[] = []
  #wake: () => void = () => undefined

  constructor() {
    this.id = addon.openTransport(
      {
        frameBytesMax: 1 << 20,
        inflightMax: 32,
        inflightBytesMax: 8 << 20,
        outputBytesMax: 1 << 20,
        receivedBytesMax: 128 << 20,
        connectionsMax: 100,
        idleMs: 600_000,
        frameStallMs: 30_000,
        sendBufferBytes: -1,
        receiveBufferBytes: -1,
      },
      this.#rows,
      (count) => {
        for (let i = 0; i < count; i += 1) {
          this.#seen.push([...this.#rows.subarray(i * EVENT_WIDTH, (i + 1) * EVENT_WIDTH)])
        }
        this.#wake()
      },
    )
  }

  async next(kind: number): Promise<Row> {
    for (;;) {
      const index = this.#seen.findIndex((row) => row[0] === kind)
      if (index >= 0) return this.#seen.splice(index, 1)[0] as Row
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

export function logOptions(directory: string): LogOpenOptions {
  return {
    directory,
    segmentBytes: 1 << 30,
    segmentMs: 604_800_000,
    segmentJitterMs: 0,
    segmentIndexBytes: 10_485_760,
    indexIntervalBytes: 4096,
    messageMaxBytes: 1 << 20,
    logAppendTime: false,
    timestampBeforeMaxMs: Number.MAX_SAFE_INTEGER,
    timestampAfterMaxMs: Number.MAX_SAFE_INTEGER,
    compression: -1,
    compressionLevel: null,
    retentionMs: -1,
    retentionBytes: -1,
    compacted: false,
    deletes: true,
    producerExpirationMs: 86_400_000,
    cleanShutdown: false,
    recoveryPoint: 0,
    logStart: 0,
    highWatermark: 0,
    leaderEpoch: 0,
    followers: 0,
    nowMs: 1_700_000_000_000,
  }
}
