/** Two duplex streams, each the other's far end: what encrypted sockets look like from outside. */
import { Duplex } from 'node:stream'

class End extends Duplex {
  other: End | null = null
  #resume: (() => void) | null = null

  override _read(): void {
    const resume = this.#resume
    this.#resume = null
    resume?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    const other = this.other
    if (other === null || other.destroyed) {
      callback()
      return
    }
    if (other.push(chunk)) setImmediate(callback)
    else other.#resume = callback
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const other = this.other
    this.other = null
    if (other !== null) setImmediate(() => other.destroy())
    callback(error)
  }
}

export function duplexPair(): [Duplex, Duplex] {
  const a = new End()
  const b = new End()
  a.other = b
  b.other = a
  return [a, b]
}
