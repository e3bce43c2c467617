/**
 * What must hold at every moment of a simulation, whatever fails:
 *
 * - a partition has at most one leader in each epoch, and epochs only grow;
 * - what was committed (seen below a high watermark anywhere) is the same on every replica, is on
 *   every broker that becomes leader, and is on every replica that joins the ISR;
 * - what a producer was told to be stored with acks=-1 is committed, at the offset it was told;
 * - the epoch of the controllers that write the state of a partition only grows;
 * - the high watermark of a log never goes back while its broker leads;
 * - no record is deleted but those that somebody asked to delete and that were committed;
 * - no broker tells clients of a number of partitions that their topic never had.
 *
 * It sees what ZooKeeper decides and what logs do, and knows nothing of the brokers' own opinions.
 */

import type { SimulatedBroker } from './simulated-broker.ts'
import type { StoredRecord } from './simulated-disk.ts'
import type { SimulatedLog } from './simulated-log.ts'
import type { World } from './world.ts'
import type { Transaction } from './zookeeper/tree.ts'

interface State {
  readonly leader: number
  readonly leader_epoch: number
  readonly isr: readonly number[]
  readonly controller_epoch: number
  readonly elr?: readonly number[]
}

interface Topic {
  readonly topic_id: string
  readonly partitions: Readonly<Record<string, readonly number[]>>
}

interface PartitionHistory {
  readonly topicId: string
  readonly name: string
  /** What was committed, by offset. */
  readonly committed: StoredRecord[]
  /** Leader epoch → who leads in it. */
  readonly leaders: Map<number, number>
  /** Leader epoch → how much was committed when it began. */
  readonly begins: Map<number, number>
  state: State | null
  /** What is before it may be deleted. */
  deletedBefore: number
  /** Whether all that is committed may be. */
  isDeletedWhole: boolean
  /** The furthest start of a log: replicas that begin earlier may have anything before it. */
  startMax: number
}

const STATE_PATH = /^\/brokers\/topics\/([^/]+)\/partitions\/(\d+)\/state$/
const BROKER_PATH = /^\/brokers\/ids\/(\d+)$/
const TOPIC_PATH = /^\/brokers\/topics\/([^/]+)$/

export class Invariants {
  readonly #world: World
  readonly #brokers: ReadonlyMap<number, SimulatedBroker>
  /** By id of the topic and partition. */
  readonly #histories = new Map<string, PartitionHistory>()
  /** Topics that there are, with their ids. */
  readonly topicIds = new Map<string, string>()
  /** By id of the topic, how many partitions it has had. */
  readonly #partitionCounts = new Map<string, Set<number>>()
  /** The last registration of each broker: its epoch. */
  readonly registrations = new Map<number, number>()
  /** Replicas that lost power and may lack what they had. */
  readonly unwhole = new Set<number>()
  /** How many records were committed, acknowledged. */
  committedCount = 0
  acknowledgedCount = 0
  electionCount = 0

  constructor(world: World, brokers: ReadonlyMap<number, SimulatedBroker>) {
    this.#world = world
    this.#brokers = brokers
  }

  history(topicId: string, topic: string, partition: number): PartitionHistory {
    const key = `${topicId}-${partition}`
    let history = this.#histories.get(key)
    if (history === undefined) {
      history = {
        topicId,
        name: `${topic}-${partition}`,
        committed: [],
        leaders: new Map(),
        begins: new Map(),
        state: null,
        deletedBefore: 0,
        isDeletedWhole: false,
        startMax: 0,
      }
      this.#histories.set(key, history)
    }
    return history
  }

  get histories(): IterableIterator<PartitionHistory> {
    return this.#histories.values()
  }

  /** As it is stored; null if there is none. */
  stateOf(topic: string, partition: number): State | null {
    const topicId = this.topicIds.get(topic)
    return topicId === undefined ? null : this.history(topicId, topic, partition).state
  }

  /** ZooKeeper has decided. */
  decided(transaction: Transaction, zxid: number): void {
    if (transaction.kind === 'delete') {
      const topic = TOPIC_PATH.exec(transaction.path)?.[1]
      if (topic !== undefined) this.topicIds.delete(topic)
      return
    }
    if (transaction.kind !== 'create' && transaction.kind !== 'set') return
    const { path, data } = transaction
    const brokerId = BROKER_PATH.exec(path)?.[1]
    if (brokerId !== undefined) this.registrations.set(Number(brokerId), zxid)
    const topic = TOPIC_PATH.exec(path)?.[1]
    if (topic !== undefined && data !== '') {
      this.#topicWritten(topic, JSON.parse(data) as Topic)
      return
    }
    const [, name, number] = STATE_PATH.exec(path) ?? []
    if (name === undefined || number === undefined) return
    this.#stateWritten(name, Number(number), JSON.parse(data) as State)
  }

  #topicWritten(name: string, { topic_id: topicId, partitions }: Topic): void {
    this.topicIds.set(name, topicId)
    const counts = this.#partitionCounts.get(topicId) ?? new Set()
    this.#partitionCounts.set(topicId, counts.add(Object.keys(partitions).length))
  }

  /** A broker was told of the cluster. */
  told({ name, parts }: SimulatedBroker): void {
    for (const topic of parts?.metadata.topics() ?? []) {
      const count = topic.partitions.length
      if (this.#partitionCounts.get(topic.topicId)?.has(count)) continue
      this.#world.violated(`${name} takes ${topic.name} for a topic of ${count} partitions`)
    }
  }

  #stateWritten(topic: string, partition: number, state: State): void {
    const topicId = this.topicIds.get(topic)
    if (topicId === undefined) {
      this.#world.violated(`the state of ${topic}-${partition} is written and there is no topic`)
      return
    }
    const history = this.history(topicId, topic, partition)
    const before = history.state
    history.state = state
    const what = `${history.name} ${JSON.stringify(before)} → ${JSON.stringify(state)}`
    if (new Set(state.isr).size !== state.isr.length || state.isr.length === 0) {
      this.#world.violated(`an ISR that is none: ${what}`)
    }
    if (state.leader >= 0 && !state.isr.includes(state.leader)) {
      this.#world.violated(`a leader outside of the ISR: ${what}`)
    }
    if (before !== null) {
      if (state.leader_epoch < before.leader_epoch) {
        this.#world.violated(`a leader epoch goes back: ${what}`)
      }
      if (state.leader_epoch === before.leader_epoch && state.leader !== before.leader) {
        this.#world.violated(`two leaders in one epoch: ${what}`)
      }
      if (state.controller_epoch < before.controller_epoch) {
        this.#world.violated(`a deposed controller has written: ${what}`)
      }
    }
    const isElection = state.leader >= 0 && state.leader_epoch !== before?.leader_epoch
    if (isElection) {
      this.electionCount += 1
      history.begins.set(state.leader_epoch, history.committed.length)
    }
    const known = before === null ? [] : [...before.isr, ...(before.elr ?? [])]
    for (const id of state.isr) {
      if (!known.includes(id) || (isElection && id === state.leader)) {
        this.#mustHaveCommitted(history, topic, partition, id, what)
      }
    }
  }

  #mustHaveCommitted(
    history: PartitionHistory,
    topic: string,
    partition: number,
    brokerId: number,
    what: string,
  ): void {
    // Nobody may know yet that it lost power: what counts is that it does not lead when it is back.
    if (this.unwhole.has(brokerId)) return
    const end = history.committed.length
    this.#checkCommitted(history, { key: `${topic}-${partition}`, brokerId, end, what })
  }

  /** Whether the broker has what was committed up to there. */
  #checkCommitted(
    { committed, topicId, startMax }: PartitionHistory,
    {
      key,
      brokerId,
      end,
      what,
    }: {
      readonly key: string
      readonly brokerId: number
      readonly end: number
      readonly what: string
    },
  ): void {
    const stored = this.#brokers.get(brokerId)?.disk.logs.get(key)
    if (end === 0) return
    const own = stored?.topicId === topicId ? stored : undefined
    const logEnd = own?.logEnd ?? 0
    if (logEnd < end) {
      this.#world.violated(`${what}: broker ${brokerId} has ${logEnd} of ${end} committed records`)
      return
    }
    for (let offset = Math.max(own?.logStart ?? 0, startMax); offset < end; offset++) {
      if (isSame(own?.at(offset), committed[offset])) continue
      this.#world.violated(`${what}: broker ${brokerId} has another record at ${offset}`)
      return
    }
  }

  /** A log takes what it has up to there for committed. */
  committed(broker: SimulatedBroker, log: SimulatedLog, highWatermark: number): void {
    const { stored } = log
    const history = this.history(stored.topicId, stored.topic, stored.partition)
    const { committed } = history
    const first = Math.max(stored.logStart, history.startMax)
    const from = Math.max(first, Math.min(committed.length, highWatermark - 64))
    for (let offset = from; offset < highWatermark; offset++) {
      const record = stored.at(offset) as StoredRecord
      const known = committed[offset]
      if (known === undefined) {
        if (committed.length !== offset) {
          this.#world.violated(
            `${history.name}: ${broker.name} commits ${offset}, only ${committed.length} are known`,
          )
          return
        }
        committed.push(record)
        this.committedCount += 1
      } else if (!isSame(known, record)) {
        this.#world.violated(
          `${history.name}: ${broker.name} has ${text(record)} at ${offset}, committed was ${text(known)}`,
        )
        return
      }
    }
  }

  /** Somebody is about to ask for it; −1: up to the high watermark. */
  recordsDeleted(topic: string, partition: number, offset: number): void {
    const history = this.history(this.topicIds.get(topic) ?? '', topic, partition)
    if (offset < 0) history.isDeletedWhole = true
    else history.deletedBefore = Math.max(history.deletedBefore, offset)
  }

  /** The start of a log has moved. */
  started(broker: SimulatedBroker, { stored }: SimulatedLog): void {
    const history = this.history(stored.topicId, stored.topic, stored.partition)
    const { committed, deletedBefore, isDeletedWhole, name } = history
    const limit = isDeletedWhole ? committed.length : Math.min(committed.length, deletedBefore)
    history.startMax = Math.max(history.startMax, stored.logStart)
    if (stored.logStart <= limit) return
    this.#world.violated(`${name}: ${broker.name} has nothing before ${stored.logStart}`)
  }

  /** A log is cut: nothing that is committed may be where it matters. */
  truncated(broker: SimulatedBroker, log: SimulatedLog, to: number): void {
    const { stored } = log
    const { committed, name } = this.history(stored.topicId, stored.topic, stored.partition)
    const end = Math.min(committed.length, stored.logEnd)
    const offset = Math.max(to, stored.logStart)
    // Whatever is behind a record that differs is not what was committed.
    if (offset >= end || !isSame(stored.at(offset), committed[offset])) return
    this.#world.violated(`${name}: ${broker.name} cuts off ${offset}, which is committed`)
  }

  /** A broker may lead or follow now. */
  roleChanged(broker: SimulatedBroker, topic: string, number: number): void {
    const partition = broker.parts?.replicas.partition(topic, number)
    if (partition === undefined || !partition.isLeader) return
    const { topicId, leaderEpoch } = partition
    const history = this.history(topicId, topic, number)
    const leader = history.leaders.get(leaderEpoch)
    if (leader !== undefined && leader !== broker.brokerId) {
      this.#world.violated(
        `${history.name}: brokers ${leader} and ${broker.brokerId} lead in epoch ${leaderEpoch}`,
      )
    }
    history.leaders.set(leaderEpoch, broker.brokerId)
    const what = `${broker.name} leads ${history.name} in epoch ${leaderEpoch}`
    // What it hears late, when others lead already, cannot have what they committed.
    const end = history.begins.get(leaderEpoch) ?? history.committed.length
    this.#checkCommitted(history, {
      key: `${topic}-${number}`,
      brokerId: broker.brokerId,
      end,
      what,
    })
  }

  /** A producer was told that its record is stored. */
  acknowledged(
    at: { readonly topicId: string; readonly topic: string; readonly partition: number },
    offset: number,
    value: number,
  ): void {
    const { committed, name } = this.history(at.topicId, at.topic, at.partition)
    this.acknowledgedCount += 1
    if (committed[offset]?.value !== value) {
      this.#world.violated(
        `${name}: ${value} is acknowledged at ${offset}, where ${text(committed[offset])} is committed`,
      )
    }
  }

  /** A consumer has read a record. */
  consumed(
    at: { readonly topicId: string; readonly topic: string; readonly partition: number },
    offset: number,
    value: number,
  ): void {
    const { committed, name, startMax } = this.history(at.topicId, at.topic, at.partition)
    if (offset >= startMax && committed[offset]?.value !== value) {
      this.#world.violated(
        `${name}: ${value} is read at ${offset}, where ${text(committed[offset])} is committed`,
      )
    }
  }

  /** In the end: all replicas of a partition have the same log, with all that was committed. */
  replicasAgree(topic: string, partition: number, replicas: readonly number[]): void {
    const topicId = this.topicIds.get(topic) as string
    const { committed, name, startMax } = this.history(topicId, topic, partition)
    for (const id of replicas) {
      const stored = this.#brokers.get(id)?.disk.logs.get(name)
      if (stored === undefined || stored.topicId !== topicId) {
        this.#world.violated(`${name}: broker ${id} has no log in the end`)
        return
      }
      if (stored.logEnd !== committed.length) {
        this.#world.violated(
          `${name}: broker ${id} has ${stored.logEnd} records, ${committed.length} are committed`,
        )
      }
      for (let offset = Math.max(stored.logStart, startMax); offset < stored.logEnd; offset++) {
        if (isSame(stored.at(offset), committed[offset])) continue
        this.#world.violated(`${name}: broker ${id} has another record at ${offset} in the end`)
        return
      }
    }
  }
}

function isSame(a: StoredRecord | undefined, b: StoredRecord | undefined): boolean {
  return a !== undefined && b !== undefined && a.value === b.value && a.epoch === b.epoch
}

function text(record: StoredRecord | undefined): string {
  return record === undefined ? 'nothing' : `${record.value} of epoch ${record.epoch}`
}
