// Hot path.
/**
 * A connection to another broker over the native transport: requests go out as bytes, answers come
 * back in their order and stay in native memory, from where fetched records go to their logs
 * without passing through here. Main thread.
 */
import { addon } from '../native/addon.ts'
import { errnoName } from '../util/errno.ts'

/** Numbers per slice of `append`; see `AppendFetched` in native/addon.cc. */
const SLICE = 6
/** Numbers per result; see `RequestResults` there. */
const RESULT = 6
const TOO_SMALL = -3
const FIRST_SCRATCH_BYTES = 64 * 1024

/** Records of an answer that go to a log. */
export interface FetchedRecords {
  readonly log: number
  /** Where in the frame they are. */
  readonly position: number
  readonly bytes: number
  /** Epoch of the leader that they come from; a log that follows another one refuses them. */
  readonly leaderEpoch: number
  readonly nowMs: number
  /** What the leader says. */
  readonly highWatermark: number
}

/** An answer in native memory; it is there until `append` or `drop`. */
export interface ReceivedFrame {
  readonly sequence: number
  readonly bytes: number
}

interface Waiting<T> {
  readonly resolve: (value: T) => void
  readonly reject: (error: Error) => void
}

export class OutboundConnection {
  readonly id: number
  /** Resolves when it is connected; rejects with an Error that says why it is not. */
  readonly opened: Promise<void>
  /** Called once when it is closed, by whichever side. */
  onClose: (() => void) | null = null
  readonly #transport: number
  readonly #where: string
  readonly #answers: Waiting<ReceivedFrame>[] = []
  readonly #appends = new Map<number, { count: number } & Waiting<Int16Array>>()
  #opening: Waiting<void> | null = null
  #closed: Error | null = null
  #scratch = Buffer.allocUnsafeSlow(FIRST_SCRATCH_BYTES)
  #slices = new Float64Array(64 * SLICE)
  #results = new Float64Array(64 * RESULT)

  /** `id`: what the add-on's `connect` gave. */
  constructor(transport: number, id: number, where: string) {
    this.#transport = transport
    this.id = id
    this.#where = where
    this.opened = new Promise((resolve, reject) => {
      this.#opening = { resolve, reject }
    })
  }

  get isOpen(): boolean {
    return this.#closed === null && this.#opening === null
  }

  /** Sends a whole request frame; its answer. Rejects with an Error when the connection is lost. */
  exchange(bytes: Uint8Array, length: number): Promise<ReceivedFrame> {
    if (this.#closed !== null) return Promise.reject(this.#closed)
    if (!addon.send(this.#transport, this.id, bytes, 0, length)) {
      return Promise.reject(new Error(`the connection to ${this.#where} is closed`))
    }
    return new Promise((resolve, reject) => this.#answers.push({ resolve, reject }))
  }

  /** What was read last. */
  get scratch(): Buffer {
    return this.#scratch
  }

  /**
   * Reads the answer to a Fetch without its record payloads, from its header on, into `scratch`;
   * its bytes. Throws an Error when it is malformed or gone.
   */
  readFetchHead(frame: ReceivedFrame, version: number): number {
    return this.#read((out) =>
      addon.readFetchHead(this.#transport, this.id, frame.sequence, out, version),
    )
  }

  /** Any other answer, from its header on; as `readFetchHead`. */
  readFrame(frame: ReceivedFrame): number {
    return this.#read((out) => addon.readFrame(this.#transport, this.id, frame.sequence, out))
  }

  #read(copy: (out: Buffer) => number): number {
    for (;;) {
      const n = copy(this.#scratch)
      if (n >= 0) return n
      if (n !== TOO_SMALL) throw new Error(`an answer of ${this.#where} cannot be read`)
      // The bytes are here: this follows what has arrived.
      this.#scratch = Buffer.allocUnsafeSlow(this.#scratch.length * 2)
    }
  }

  /**
   * Appends records of an answer to the logs of followers and lets go of the answer; an error code
   * for each, in their order. Rejects with an Error when the connection is lost before.
   */
  append(frame: ReceivedFrame, records: readonly FetchedRecords[]): Promise<Int16Array> {
    if (records.length * SLICE > this.#slices.length) {
      this.#slices = new Float64Array(records.length * 2 * SLICE)
    }
    for (const [i, one] of records.entries()) {
      const at = i * SLICE
      this.#slices[at] = one.log
      this.#slices[at + 1] = one.position
      this.#slices[at + 2] = one.bytes
      this.#slices[at + 3] = one.leaderEpoch
      this.#slices[at + 4] = one.nowMs
      this.#slices[at + 5] = one.highWatermark
    }
    const { sequence } = frame
    const count = records.length
    return new Promise((resolve, reject) => {
      // Before the call: a shard of this thread may be done when it returns.
      this.#appends.set(sequence, { count, resolve, reject })
      const { id } = this
      if (addon.appendFetched(this.#transport, id, sequence, this.#slices, count)) return
      this.#appends.delete(sequence)
      reject(new Error(`an answer of ${this.#where} was gone before it was appended`))
    })
  }

  /** Lets go of an answer. */
  drop(frame: ReceivedFrame): void {
    addon.dropFrame(this.#transport, this.id, frame.sequence)
  }

  close(): void {
    addon.closeConnection(this.#transport, this.id)
  }

  // --- called by the transport

  connected(): void {
    this.#opening?.resolve()
    this.#opening = null
  }

  received(sequence: number, bytes: number): void {
    const waiting = this.#answers.shift()
    if (waiting === undefined) {
      // An answer that nobody asked for: this is not a broker.
      this.drop({ sequence, bytes })
      this.close()
      return
    }
    waiting.resolve({ sequence, bytes })
  }

  appended(sequence: number): void {
    const waiting = this.#appends.get(sequence)
    if (waiting === undefined) return
    this.#appends.delete(sequence)
    if (waiting.count * RESULT > this.#results.length) {
      this.#results = new Float64Array(waiting.count * 2 * RESULT)
    }
    const count = addon.takeResults(this.#transport, this.id, sequence, this.#results)
    if (count !== waiting.count) {
      waiting.reject(new Error(`the results of an append are gone (${count})`))
      return
    }
    const errors = new Int16Array(count)
    for (let i = 0; i < count; i += 1) {
      errors[this.#results[i * RESULT] as number] = this.#results[i * RESULT + 1] as number
    }
    waiting.resolve(errors)
  }

  closed(errno: number): void {
    if (this.#closed !== null) return
    const why = errno === 0 ? 'it was closed' : errnoName(errno)
    const error = new Error(`the connection to ${this.#where} is lost: ${why}`)
    this.#closed = error
    this.#opening?.reject(error)
    this.#opening = null
    for (const waiting of this.#answers.splice(0)) waiting.reject(error)
    for (const waiting of this.#appends.values()) waiting.reject(error)
    this.#appends.clear()
    this.onClose?.()
    this.onClose = null
  }
}
