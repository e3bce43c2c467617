/** A member of a group that reads until it is closed, and remembers what happened to it. */
import type { ConsumerOptions } from '../../src/client/consumer.ts'
import { Consumer } from '../../src/client/consumer.ts'
import type { ConsumerRecord } from '../../src/client/records.ts'
import type { TopicPartition } from '../../src/client/subscription-state.ts'

export class GroupReader {
  readonly consumer: Consumer
  /** `partition:offset`, in the order read. */
  readonly read: string[] = []
  readonly values: string[] = []
  /** `assigned 0,1`, `revoked 0`, `lost 1`. */
  readonly events: string[] = []
  error: Error | null = null
  /** Called with each record before it counts as consumed. */
  onRecord: (record: ConsumerRecord) => void | Promise<void> = () => undefined
  readonly #done: Promise<void>

  constructor(options: ConsumerOptions, topics: string | readonly string[] | RegExp) {
    this.consumer = new Consumer({ autoOffsetReset: 'earliest', retryBackoffMs: 20, ...options })
    const note = (what: string) => (partitions: readonly TopicPartition[]) => {
      this.events.push(`${what} ${partitions.map(({ partition }) => partition).join()}`)
    }
    this.consumer.subscribe(topics, {
      onPartitionsAssigned: note('assigned'),
      onPartitionsRevoked: note('revoked'),
      onPartitionsLost: note('lost'),
    })
    this.#done = this.#run()
  }

  /** The partitions it has now, as numbers. */
  get partitions(): number[] {
    return this.consumer.assignment().map(({ partition }) => partition)
  }

  async #run(): Promise<void> {
    try {
      for await (const record of this.consumer) {
        this.read.push(`${record.partition}:${record.offset}`)
        this.values.push(String(record.value))
        await this.onRecord(record)
      }
    } catch (error) {
      this.error = error as Error
    }
  }

  async close(): Promise<void> {
    await this.consumer.close()
    await this.#done
    if (this.error !== null) throw this.error
  }
}
