/**
 * The broker that the system tests run against: ours, or with SHARDLOG_TEST_BROKER=kafka Apache
 * Kafka 3.9.1, so that a suite can be held against the original.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ApacheKafka } from './apache-kafka.ts'
import { commandAt, type Exit, type Place, ServerProcess } from './server-process.ts'

const root = join(import.meta.dirname, '..', '..', '..')

export type Overrides = Readonly<Record<string, string>>

export interface BrokerUnderTest {
  readonly kind: 'shardlog' | 'kafka'
  /** The folder that holds the partitions; it outlives `kill` and `stop`, not disposal. */
  readonly dataDir: string
  /** `host:port`, the same over every start of this object. */
  readonly address: string
  readonly pid: number
  /** What the process has written lately. */
  readonly output: string
  start(overrides?: Overrides): Promise<void>
  kill(signal: NodeJS.Signals): Promise<Exit>
  /** An orderly stop: SIGTERM, then the end of the process. */
  stop(): Promise<Exit>
  [Symbol.asyncDispose](): Promise<void>
}

/** True when the suites run against Apache Kafka. */
export const againstKafka = process.env['SHARDLOG_TEST_BROKER'] === 'kafka'

/** A broker that is not started yet, with a data directory of its own. */
export function createBrokerUnderTest(): BrokerUnderTest {
  return againstKafka ? new ApacheKafka() : new ShardlogServer()
}

/** A running broker. */
export async function startBrokerUnderTest(overrides: Overrides = {}): Promise<BrokerUnderTest> {
  const broker = createBrokerUnderTest()
  await broker.start(overrides)
  return broker
}

export interface ShardlogOptions {
  /** Use this data directory, which then is not removed. */
  readonly dataDir?: string
  /** 127.0.0.1 if left out. */
  readonly place?: Place
}

export class ShardlogServer implements BrokerUnderTest {
  readonly kind = 'shardlog'
  readonly dataDir: string
  readonly #folder: string
  readonly #place: Place | undefined
  #address: string | null = null
  #process: ServerProcess | null = null

  constructor(options: ShardlogOptions = {}) {
    this.#folder = mkdtempSync(join(tmpdir(), 'shardlog-test-'))
    this.dataDir = options.dataDir ?? join(this.#folder, 'data')
    this.#place = options.place
  }

  get #running(): ServerProcess {
    assert.ok(this.#process, 'the broker was not started')
    return this.#process
  }

  get address(): string {
    assert.ok(this.#address, 'the broker was not started')
    return this.#address
  }

  get pid(): number {
    return this.#running.pid
  }

  get output(): string {
    return this.#running.output
  }

  /** The line that the broker printed when it was ready. */
  get readyLine(): string {
    return this.#running.readyLine
  }

  async start(overrides: Overrides = {}): Promise<void> {
    const properties = join(this.#folder, 'server.properties')
    writeFileSync(properties, `log.dirs=${this.dataDir}\nbroker.id=0\n`)
    const host = this.#place?.host ?? '127.0.0.1'
    const settings = { listeners: `PLAINTEXT://${this.#address ?? `${host}:0`}`, ...overrides }
    const args = [join(root, 'bin', 'shardlog-server'), properties]
    for (const [key, value] of Object.entries(settings)) args.push('--override', `${key}=${value}`)
    const ready = new RegExp(`${host.replaceAll('.', '\\.')}:(\\d+)`)
    const command = commandAt(this.#place, process.execPath, args)
    this.#process = await ServerProcess.start({ ...command, ready })
    this.#address = `${host}:${ready.exec(this.#process.readyLine)?.[1]}`
  }

  kill(signal: NodeJS.Signals): Promise<Exit> {
    return this.#running.kill(signal)
  }

  stop(): Promise<Exit> {
    return this.kill('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process?.isRunning) await this.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
