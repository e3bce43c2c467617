/**
 * Append, shard hop and fetch: one request in flight over loopback to a broker in this process.
 * The hop's price is the difference between `direct` (the log lives on the I/O thread) and
 * `thread`; Metadata shows what the sockets and the loop cost without any log.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Broker } from '../../src/broker.ts'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import { writeRequestFrame } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { fetchFrame, produceFrame, sampleBatch, TOPIC } from './samples.ts'
import type { Suite, Work } from './suite.ts'

/** Sends a frame and waits for the whole answer, which it only counts. */
class OneInFlight {
  readonly #socket: Socket
  #missing = 0
  #head = Buffer.alloc(0)
  #answered: ((bytes: number) => void) | null = null

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#receive(chunk))
  }

  static async open(port: number): Promise<OneInFlight> {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    return new OneInFlight(socket)
  }

  /** Resolves with the bytes of the answer. */
  ask(frame: Buffer): Promise<number> {
    this.#head = Buffer.alloc(0)
    this.#missing = -1
    return new Promise((settle) => {
      this.#answered = settle
      this.#socket.write(frame)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #receive(chunk: Buffer): void {
    let fresh = chunk.length
    if (this.#missing < 0) {
      this.#head = Buffer.concat([this.#head, chunk.subarray(0, 4)])
      if (this.#head.length < 4) return
      this.#missing = this.#head.readInt32BE(0) + 4
      fresh += this.#head.length - Math.min(4, chunk.length)
    }
    this.#missing -= fresh
    if (this.#missing === 0) this.#answered?.(this.#head.readInt32BE(0))
  }
}

function metadataFrame(): Buffer {
  const writer = new MessageWriter()
  const header = { apiVersion: 9, correlationId: 1, clientId: 'bench' }
  const topics = [{ name: TOPIC }]
  writeRequestFrame(writer, Metadata, header, { topics, allowAutoTopicCreation: true })
  return Buffer.from(writer.written)
}

const PRODUCED = [
  { name: '1 record of 100 B', count: 1, size: 100 },
  { name: '1 record of 1 KiB', count: 1, size: 1024 },
  { name: '16 KiB batch of 1 KiB records', count: 15, size: 1024 },
  { name: '1 MB batch of 1 KiB records', count: 960, size: 1024 },
  { name: '1 MB batch of 100 B records', count: 9000, size: 100 },
]

export function roundTripSuite(shards: number): Suite {
  return {
    name: `round trips, one in flight, shard: ${shards === 0 ? 'direct' : 'thread'}`,
    async prepare() {
      const folder = mkdtempSync(join(tmpdir(), 'shardlog-bench-'))
      const properties = new Map([
        ['log.dirs', join(folder, 'data')],
        ['listeners', 'PLAINTEXT://127.0.0.1:0'],
        ['shardlog.shards', String(shards)],
        ['log.retention.bytes', '200000000'],
        ['log.segment.bytes', '100000000'],
        ['log.retention.check.interval.ms', '500'],
      ])
      const config = loadBrokerConfig(properties)
      const broker = await Broker.start({ config, logger: silentLogger })
      const client = await OneInFlight.open(broker.listeners[0]?.port ?? 0)
      const metadata = metadataFrame()
      await client.ask(metadata)
      const work: Work[] = [{ name: 'Metadata 9', async: () => client.ask(metadata) }]
      for (const { name, count, size } of PRODUCED) {
        const batch = sampleBatch(count, size)
        const frame = produceFrame(batch)
        work.push({
          name: `Produce 9, ${name}`,
          bytes: batch.length,
          async: () => client.ask(frame),
        })
      }
      for (const bytes of [1024, 65_536, 1_048_576]) {
        const frame = fetchFrame(bytes)
        work.unshift({ name: `Fetch 11, up to ${bytes} B`, bytes, async: () => client.ask(frame) })
      }
      // What the fetches read: more than any of them asks for.
      await client.ask(produceFrame(sampleBatch(1, 900)))
      for (let i = 0; i < 80; i += 1) await client.ask(produceFrame(sampleBatch(15, 1024)))
      return {
        work,
        async end() {
          client.close()
          await broker.stop()
          rmSync(folder, { recursive: true, force: true })
        },
      }
    },
  }
}
