/**
 * Appends of the broker itself (offsets, markers): the same queue, order and acknowledgement as a
 * client's, without a socket. Main thread.
 */
import { addon } from '../native/addon.ts'
import { ErrorCode } from '../protocol/error-codes.ts'

/** Numbers per result; see `RequestResults` in native/addon.cc. */
const RESULT = 6

export interface AppendResult {
  /** 0 or a protocol error code. */
  readonly errorCode: number
  /** Of the first record; -1 after an error. */
  readonly baseOffset: number
}

export class InternalConnection {
  readonly #transport: number
  readonly #id: number
  readonly #waiting = new Map<number, (result: AppendResult) => void>()
  readonly #results = new Float64Array(RESULT)

  constructor(transport: number) {
    this.#transport = transport
    this.#id = addon.openInternal(transport)
  }

  get id(): number {
    return this.#id
  }

  /**
   * Appends one record batch of format v2 to a log; resolves when it is appended (`acks` 1) or
   * committed (-1). Batches for one log are appended in the order of the calls.
   */
  append(
    log: number,
    batch: Uint8Array,
    options: { readonly leaderEpoch: number; readonly acks: 1 | -1; readonly nowMs: number },
  ): Promise<AppendResult> {
    const sequence = addon.appendInternal(
      this.#transport,
      this.#id,
      log,
      batch,
      options.leaderEpoch,
      options.acks,
      options.nowMs,
    )
    if (sequence < 0) {
      return Promise.resolve({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 })
    }
    return new Promise((resolve) => this.#waiting.set(sequence, resolve))
  }

  /** The shard is done with a request. */
  completed(sequence: number): void {
    const resolve = this.#waiting.get(sequence)
    if (resolve === undefined) return
    this.#waiting.delete(sequence)
    const count = addon.takeResults(this.#transport, this.#id, sequence, this.#results)
    if (count < 1) resolve({ errorCode: ErrorCode.UNKNOWN_SERVER_ERROR, baseOffset: -1 })
    else
      resolve({
        errorCode: this.#results[1] as number,
        baseOffset: this.#results[2] as number,
      })
  }

  /** The transport is gone: nothing that waits will be answered by a shard. */
  closed(): void {
    for (const resolve of this.#waiting.values()) {
      resolve({ errorCode: ErrorCode.NOT_LEADER_OR_FOLLOWER, baseOffset: -1 })
    }
    this.#waiting.clear()
  }
}
