/** Writes records to standard output, as fast as they are read there. */
import { once } from 'node:events'
import type { ConsumerRecord } from '../../client/records.ts'
import type { ToolIo } from '../kit/tool.ts'
import type { Formatter } from './formatters.ts'

export class RecordPrinter {
  printed = 0
  readonly #io: ToolIo
  readonly #format: Formatter
  readonly #skipErrors: boolean

  constructor(io: ToolIo, format: Formatter, skipErrors: boolean) {
    this.#io = io
    this.#format = format
    this.#skipErrors = skipErrors
  }

  async print(records: readonly ConsumerRecord[]): Promise<void> {
    const parts: Buffer[] = []
    for (const record of records) {
      try {
        const text = this.#format(record)
        parts.push(typeof text === 'string' ? Buffer.from(text) : text)
      } catch (error) {
        if (!this.#skipErrors) throw error
        this.#io.warn(`offset ${record.offset} is left out: ${(error as Error).message}`)
      }
      this.printed += 1
    }
    const bytes = Buffer.concat(parts)
    if (bytes.length > 0 && !this.#io.stdout.write(bytes)) await once(this.#io.stdout, 'drain')
  }
}
