/**
 * A cluster under load: mixed clients write and read while faults are done to it. `measure` notes
 * when a fault was there, `finish` ends the load, reads everything from everywhere and checks it.
 */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { TestCluster, TopicState } from '../support/cluster.ts'
import type { LineProcess } from '../support/line-process.ts'
import { requirePeer } from '../support/peers.ts'
import { until } from '../support/until.ts'
import { LOAD_CLIENTS, startLoadClient } from '../system/clients/load-client.ts'
import { type FaultWindow, longestSilences, median } from './availability.ts'
import { checkHistory, type Report, reportLines, violations } from './checks.ts'
import { readEverywhere } from './final-read.ts'
import { CLIENT_KINDS, type ClientKind, type History } from './history.ts'
import { HistoryRecorder } from './recorder.ts'

export interface StageOptions {
  /** All kinds if left out. */
  readonly clients?: readonly ClientKind[]
  /** 6 */
  readonly partitions?: number
  /** Records a second, producer and partition; 10. */
  readonly rate?: number
  /** Where the readers are, by turns; nowhere if left out. */
  readonly racks?: readonly string[]
  readonly topicConfigs?: Readonly<Record<string, string>>
  /** Called with what goes on. */
  readonly say: (line: string) => void
  /** Numbers in [0, 1). */
  readonly random: () => number
  /** Ends the run early: what goes on throws soon. */
  readonly signal?: AbortSignal
}

/**
 * Until clients and cluster are well again after a fault. Longer than the clients try: with brokers of
 * Apache Kafka an idempotent Java producer whose next batches went to the new leader before the old one
 * answered cannot send the batches before them any more once more than five came after
 * (OUT_OF_ORDER_SEQUENCE_NUMBER). It goes on with a new epoch when it has given them up.
 */
const RECOVERY_MS = 150_000
/** Until all that is underway has an outcome: longer than the clients try. */
const DRAIN_MS = 180_000
const LOOK_EVERY_MS = 20

export const TOPIC = 'load'

/** Clients that are not installed, as a reason to skip; false if all are. Throws with CI=true. */
export function skipWithoutClients(kinds: readonly ClientKind[] = CLIENT_KINDS): string | false {
  const missing = kinds
    .map((kind) => LOAD_CLIENTS[kind].needs)
    .filter((name) => name !== null && requirePeer(name) === null)
  if (missing.length === 0) return false
  const reason = `not installed: ${missing.join(', ')}`
  assert.notEqual(process.env['CI'], 'true', reason)
  return reason
}

export class Stage {
  readonly cluster: TestCluster
  readonly partitions: readonly number[]
  readonly say: (line: string) => void
  readonly random: () => number
  readonly windows: FaultWindow[] = []
  readonly #signal: AbortSignal | undefined
  readonly #kinds: readonly ClientKind[]
  readonly #recorder: HistoryRecorder
  readonly #clients: LineProcess[] = []

  private constructor(cluster: TestCluster, options: StageOptions) {
    this.cluster = cluster
    this.say = options.say
    this.random = options.random
    this.#signal = options.signal
    this.#kinds = options.clients ?? CLIENT_KINDS
    this.partitions = Array.from({ length: options.partitions ?? 6 }, (_, i) => i)
    this.#recorder = new HistoryRecorder(this.#kinds)
  }

  /** Creates the topic and starts the clients; all write and read when the promise resolves. */
  static async start(cluster: TestCluster, options: StageOptions): Promise<Stage> {
    const stage = new Stage(cluster, options)
    const partitions = stage.partitions.length
    await cluster.createTopic({
      ...{ name: TOPIC, partitions, replicationFactor: 3 },
      configs: { 'min.insync.replicas': '2', ...options.topicConfigs },
    })
    try {
      for (const [i, kind] of stage.#kinds.entries()) {
        const rack = options.racks?.[i % options.racks.length]
        const load = {
          ...{ bootstrap: cluster.bootstrap, topic: TOPIC, partitions, rate: options.rate ?? 10 },
          ...(rack === undefined ? {} : { rack }),
        }
        const take = (line: string) => stage.#recorder.take(line)
        stage.#clients.push(await startLoadClient(kind, load, take))
      }
      await stage.#recovered(Date.now())
      const positions = () => stage.#readerPositions().every((position) => position > 0)
      await until('every reader reads', positions, RECOVERY_MS, LOOK_EVERY_MS)
      return stage
    } catch (error) {
      await stage[Symbol.asyncDispose]()
      throw error
    }
  }

  get readers(): readonly string[] {
    const kinds = this.#kinds.filter((kind) => LOAD_CLIENTS[kind].reads)
    return kinds.map((kind) => `${kind}-reader`)
  }

  /** Acknowledgements so far. */
  get acknowledged(): number {
    return this.#recorder.writes.filter(({ outcome }) => outcome === 'ok').length
  }

  topic(): Promise<TopicState> {
    return this.cluster.describe(TOPIC)
  }

  pick<T>(among: readonly T[]): T {
    const picked = among[Math.floor(this.random() * among.length)]
    assert.ok(picked !== undefined, 'there is nothing to pick from')
    return picked
  }

  /**
   * Does something to the cluster and waits until every producer has an acknowledgement of a record
   * that it sent afterwards to each partition. The time from before until then is a window of
   * `name`, in which silences are looked for in `partitions`.
   */
  async measure(
    name: string,
    action: () => Promise<void>,
    partitions: readonly number[] = this.partitions,
  ): Promise<void> {
    this.#signal?.throwIfAborted()
    const fromMs = Date.now()
    await action()
    await this.#recovered(Date.now())
    const window = { name, fromMs, toMs: Date.now(), partitions }
    this.windows.push(window)
    const silences = longestSilences(this.#recorder.history([], []), window)
    const each = [...silences].map(([kind, ms]) => `${kind} ${ms}`).join(', ')
    this.say(`${name}, partitions ${partitions}: longest without acknowledgement in ms: ${each}`)
  }

  /** A fault lasts for so long. */
  async hold(forMs: number): Promise<void> {
    await pause(forMs, undefined, this.#signal ? { signal: this.#signal } : {})
  }

  /** Waits until every partition has a leader and all its replicas in sync, as all brokers see it. */
  async whole(): Promise<void> {
    await this.cluster.waitForTopic(TOPIC, ({ partitions }) =>
      partitions.every(({ leaderId, isr, replicas }) => {
        return leaderId !== -1 && isr.length === replicas.length
      }),
    )
  }

  /** Waits until all brokers name the same leader in the same epoch for every partition. */
  async agreed(): Promise<void> {
    for (const partition of this.partitions) await this.cluster.waitForLeader(TOPIC, partition)
    await this.cluster.waitForController()
  }

  async #recovered(sinceMs: number): Promise<void> {
    const silent = () =>
      this.#recorder.producers.flatMap(({ name }) =>
        this.partitions
          .filter((partition) => this.#recorder.acknowledgedUpTo(name, partition) < sinceMs)
          .map((partition) => `${name} ${partition}`),
      )
    const what = () => `an acknowledgement for ${silent().join(', ')}\n${this.#errors}`
    const isOver = () => {
      this.#signal?.throwIfAborted()
      return silent().length === 0
    }
    await until(what, isOver, RECOVERY_MS, LOOK_EVERY_MS)
  }

  /** What the clients have said lately of what they met. */
  get #errors(): string {
    return this.#clients.map((client) => client.errors.slice(-1000)).join('\n')
  }

  #readerPositions(): number[] {
    return this.readers.flatMap((reader) =>
      this.partitions.map((partition) => this.#recorder.positionOf(reader, partition)),
    )
  }

  /** Ends the load, reads every partition from each replica, and checks everything. */
  async finish(): Promise<{ report: Report; history: History }> {
    for (const client of this.#clients) client.write('stop')
    const stopped = () => this.#recorder.stopped === this.#clients.length
    await until('the clients to be done', stopped, DRAIN_MS, LOOK_EVERY_MS)
    const finalReads = await readEverywhere(this.cluster, TOPIC)
    const isAtEnd = (reader: string) =>
      finalReads.every(({ partition, highWatermark }) => {
        return this.#recorder.positionOf(reader, partition) >= highWatermark
      })
    const behind = () => this.readers.filter((reader) => !isAtEnd(reader))
    const lag = (reader: string) => {
      const lags = finalReads.map(({ partition, highWatermark }) => {
        return `${partition} ${this.#recorder.positionOf(reader, partition)}/${highWatermark}`
      })
      return `${reader} (${lags.join(', ')})`
    }
    await until(
      () => `${behind().map(lag).join('; ')} to be at the end\n${this.#errors}`,
      () => behind().length === 0,
      RECOVERY_MS,
      50,
    )
    const history = this.#recorder.history(finalReads, this.readers)
    return { report: checkHistory(history), history }
  }

  /** p50 and the most of each kind of client, by fault. */
  availabilityLines(): string[] {
    const history = this.#recorder.history([], [])
    const names = [...new Set(this.windows.map(({ name }) => name))]
    return names.flatMap((name) => {
      const runs = this.windows.filter((window) => window.name === name)
      const silences = runs.map((window) => longestSilences(history, window))
      const each = this.#kinds.map((kind) => {
        const values = silences.map((silence) => silence.get(kind) ?? 0)
        return `${kind} p50 ${median(values)} max ${Math.max(...values)}`
      })
      const all = silences.flatMap((silence) => [...silence.values()])
      const sum = `all p50 ${median(all)} max ${Math.max(...all)}`
      return `${name} (${runs.length}): ${[...each, sum].join('; ')} ms`
    })
  }

  /** The silences of all clients in the windows of a fault, in milliseconds. */
  silencesOf(name: string): number[] {
    const history = this.#recorder.history([], [])
    const runs = this.windows.filter((window) => window.name === name)
    return runs.flatMap((window) => [...longestSilences(history, window).values()])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.kill()))
  }
}

/** Ends the load, says what was found, and throws if anything was that must not be. */
export async function assertClean(stage: Stage): Promise<Report> {
  const { report } = await stage.finish()
  for (const line of [...stage.availabilityLines(), ...reportLines(report)]) stage.say(line)
  const bad = violations(report)
  const texts = bad.slice(0, 20).map(({ anomaly, text }) => `${anomaly}: ${text}`)
  assert.equal(bad.length, 0, `${bad.length} violations\n${texts.join('\n')}`)
  return report
}
