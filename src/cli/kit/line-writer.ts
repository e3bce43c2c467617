/** Many lines to a stream in few writes, as fast as the reader takes them. */
import { once } from 'node:events'
import type { Writable } from 'node:stream'

const CHUNK_CHARS = 64 * 1024

export class LineWriter {
  readonly #stream: Writable
  #text = ''

  constructor(stream: Writable) {
    this.#stream = stream
  }

  /** Adds text as it is. When `isFull` says so, `flush` must be awaited before more is added. */
  write(text: string): void {
    this.#text += text
  }

  line(text: string): void {
    this.#text += text
    this.#text += '\n'
  }

  get isFull(): boolean {
    return this.#text.length >= CHUNK_CHARS
  }

  /** Hands on what there is, and waits while the reader is slower. */
  async flush(): Promise<void> {
    const text = this.#text
    this.#text = ''
    if (text !== '' && !this.#stream.write(text)) await once(this.#stream, 'drain')
  }
}
