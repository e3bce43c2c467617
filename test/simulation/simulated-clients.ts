/**
 * Clients of a simulated cluster: producers with acks=-1 that repeat what they got no word of,
 * producers with acks=1 whose records may go, and consumers that read from leaders and followers.
 */
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { SeededRandom } from '../../src/util/random.ts'
import type { Invariants } from './invariants.ts'
import type { Network } from './network.ts'
import { Requester } from './requests.ts'
import type { BrokerParts, SimulatedBroker } from './simulated-broker.ts'
import type { SimulatedLog } from './simulated-log.ts'
import { SimulatedProcess } from './simulated-process.ts'
import type { World } from './world.ts'

const REQUEST_MS = 1500
const CONNECT_MS = 500
const RETRY_MS = 30

interface PartitionLeadership {
  readonly partition: number
  readonly leader: number
  readonly leaderEpoch: number
  readonly replicas: readonly number[]
  readonly isr: readonly number[]
}

interface MetadataAnswer {
  readonly controllerId: number
  readonly topics: readonly {
    readonly name: string
    readonly topicId: string
    readonly partitions: readonly PartitionLeadership[]
  }[]
}

interface Produce {
  readonly topic: string
  readonly partition: number
  readonly acks: number
  readonly timeoutMs: number
  readonly value: number
  readonly producerId: number
  readonly sequence: number
}

interface ProduceAnswer {
  readonly errorCode: number
  readonly baseOffset: number
  readonly topicId: string
}

interface Read {
  readonly topic: string
  readonly partition: number
  readonly currentLeaderEpoch: number
  readonly offset: number
}

interface ReadAnswer {
  readonly errorCode: number
  readonly topicId: string
  readonly logStart: number
  readonly highWatermark: number
  readonly values: readonly number[]
}

export interface DeleteRecords {
  readonly topic: string
  readonly partition: number
  /** −1: the high watermark. */
  readonly offset: number
  readonly timeoutMs: number
}

export interface DeleteRecordsAnswer {
  readonly errorCode: number
  readonly topicId: string
  readonly lowWatermark: number
}

const READ_MAX = 20

/** What a broker answers: as the handlers of Metadata, Produce, Fetch and DeleteRecords do. */
export async function answerClient(
  broker: SimulatedBroker,
  name: string,
  body: unknown,
): Promise<unknown> {
  const { parts } = broker
  if (parts === null) throw new Error('the broker is not there yet')
  switch (name) {
    case 'Metadata':
      return metadataOf(parts)
    case 'Produce':
      return produce(parts, body as Produce)
    case 'Read':
      return read(parts, body as Read)
    case 'DeleteRecords':
      return deleteRecords(parts, body as DeleteRecords)
    default:
      throw new Error(`nobody answers ${name}`)
  }
}

function metadataOf({ metadata, member }: BrokerParts): MetadataAnswer {
  return {
    controllerId: member.controller.controllerId,
    topics: [...metadata.topics()].map(({ name, topicId, partitions }) => ({
      name,
      topicId,
      partitions: partitions.map(({ partition, leader, leaderEpoch, replicas, isr }) => ({
        ...{ partition, leader, leaderEpoch, replicas, isr },
      })),
    })),
  }
}

function produce({ replicas }: BrokerParts, request: Produce): Promise<ProduceAnswer> {
  const partition = replicas.partition(request.topic, request.partition)
  const refuse = (errorCode: number) => ({ errorCode, baseOffset: -1, topicId: '' })
  if (partition === undefined) return Promise.resolve(refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
  if (!partition.isLeader) return Promise.resolve(refuse(ErrorCode.NOT_LEADER_OR_FOLLOWER))
  const { topicId, leaderEpoch } = partition
  const log = partition.storedLog as SimulatedLog
  const deadlineMs = log.nowMs + request.timeoutMs
  return new Promise((resolve) => {
    const { acks, producerId, sequence, value } = request
    if (acks === -1) replicas.deadlines.note(partition, deadlineMs)
    log.append({
      ...{ acks, producerId, sequence, leaderEpoch, deadlineMs },
      values: [value],
      answered: ({ errorCode, baseOffset }) => resolve({ errorCode, baseOffset, topicId }),
    })
  })
}

async function read({ replicas }: BrokerParts, request: Read): Promise<ReadAnswer> {
  const partition = replicas.partition(request.topic, request.partition)
  const refuse = (errorCode: number) => ({
    ...{ errorCode, topicId: '', logStart: partition?.logStart ?? -1, highWatermark: -1 },
    values: [],
  })
  if (partition === undefined) return refuse(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
  if (!partition.isOnline) return refuse(ErrorCode.KAFKA_STORAGE_ERROR)
  const { currentLeaderEpoch: asked, offset } = request
  const { leaderEpoch, highWatermark, logStart, logEnd, topicId } = partition
  if (asked < leaderEpoch) return refuse(ErrorCode.FENCED_LEADER_EPOCH)
  if (asked > leaderEpoch) return refuse(ErrorCode.UNKNOWN_LEADER_EPOCH)
  if (offset < logStart || offset > logEnd) return refuse(ErrorCode.OFFSET_OUT_OF_RANGE)
  const { stored } = partition.storedLog as SimulatedLog
  const end = Math.min(highWatermark, offset + READ_MAX)
  const values: number[] = []
  for (let at = offset; at < end; at++) values.push(stored.at(at)?.value ?? -1)
  return { errorCode: 0, topicId, logStart, highWatermark, values }
}

async function deleteRecords(
  { replicas }: BrokerParts,
  { topic, partition: number, offset, timeoutMs }: DeleteRecords,
): Promise<DeleteRecordsAnswer> {
  const partition = replicas.partition(topic, number)
  if (partition === undefined) {
    const errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return { errorCode, topicId: '', lowWatermark: -1 }
  }
  const { topicId } = partition
  const [errorCode, lowWatermark] = await replicas.deleteRecords(partition, offset, timeoutMs)
  return { errorCode, topicId, lowWatermark }
}

export interface ClientOptions {
  readonly world: World
  readonly network: Network
  readonly name: string
  readonly brokers: ReadonlyMap<number, SimulatedBroker>
  readonly invariants: Invariants
}

/** What producers and consumers have in common: connections, and who leads what. */
export class Client {
  readonly process: SimulatedProcess
  protected readonly random: SeededRandom
  protected readonly options: ClientOptions
  protected metadata: MetadataAnswer | null = null
  readonly #connections = new Map<number, Requester>()
  /** The latest that was told of each partition. */
  readonly #leaders = new Map<string, PartitionLeadership>()
  isStopped = false

  constructor(options: ClientOptions) {
    this.options = options
    this.process = new SimulatedProcess(options.world, options.name)
    this.random = this.process.random
    this.process.start()
  }

  stop(): void {
    this.isStopped = true
  }

  protected pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.process.at(ms, resolve)
    })
  }

  protected async ask(brokerId: number, name: string, body: unknown): Promise<unknown> {
    const known = this.#connections.get(brokerId)
    const requester = known ?? (await this.#connect(brokerId))
    return requester.request(name, body)
  }

  async #connect(brokerId: number): Promise<Requester> {
    const { network, brokers } = this.options
    const broker = brokers.get(brokerId)
    if (broker === undefined) throw new Error(`there is no broker ${brokerId}`)
    const to = { process: broker.process, service: 'kafka' }
    const timeouts = { connectMs: CONNECT_MS, requestMs: REQUEST_MS }
    const requester = await Requester.open(network, this.process, to, timeouts)
    requester.onLost = () => this.#connections.delete(brokerId)
    this.#connections.set(brokerId, requester)
    return requester
  }

  /** Asks one of the brokers, by chance, who leads what. */
  protected async refresh(): Promise<void> {
    const ids = [...this.options.brokers.keys()]
    const id = ids[this.random.integer(ids.length)] as number
    try {
      this.metadata = (await this.ask(id, 'Metadata', null)) as MetadataAnswer
    } catch (error) {
      // The next one may know.
      this.process.trace(String(error))
      return
    }
    for (const { topicId, partitions } of this.metadata.topics) {
      for (const partition of partitions) {
        const key = `${topicId}-${partition.partition}`
        // A broker may be behind what another one has told (KIP-320).
        const known = this.#leaders.get(key)
        if (known === undefined || known.leaderEpoch <= partition.leaderEpoch) {
          this.#leaders.set(key, partition)
        }
      }
    }
  }

  protected partition(topic: string, partition: number) {
    const topicId = this.metadata?.topics.find(({ name }) => name === topic)?.topicId
    return this.#leaders.get(`${topicId}-${partition}`)
  }
}

export interface ProducerOptions extends ClientOptions {
  readonly acks: number
  /** Of all producers of a run: each has its own. */
  readonly producerId: number
  readonly topic: string
  readonly partitionCount: number
  readonly pauseMs: number
}

/** Sends one record after the other, each until it is stored or the topic is gone. */
export class SimulatedProducer extends Client {
  readonly #producer: ProducerOptions
  readonly #sequences = new Map<string, number>()
  #values = 0
  /** What it sends now. */
  isBusy = false

  constructor(options: ProducerOptions) {
    super(options)
    this.#producer = options
  }

  async run(): Promise<void> {
    const { partitionCount, pauseMs } = this.#producer
    while (!this.isStopped) {
      this.isBusy = true
      await this.#send(this.random.integer(partitionCount))
      this.isBusy = false
      await this.pause(pauseMs * (0.5 + this.random.integer(100) / 100))
    }
  }

  async #send(partition: number): Promise<void> {
    const { topic, acks, producerId } = this.#producer
    this.#values += 1
    const value = producerId * 1_000_000 + this.#values
    for (;;) {
      const found = this.partition(topic, partition)
      if (found !== undefined && found.leader >= 0) {
        const answer = await this.#attempt(found.leader, partition, value)
        if (answer?.errorCode === 0) {
          this.#stored(answer, partition, value)
          return
        }
      }
      if (this.isStopped && acks !== -1) return
      // One that does not repeat leaves it at that: it may be stored or not.
      if (acks !== -1 && found !== undefined) return
      await this.pause(RETRY_MS * (0.5 + this.random.integer(100) / 100))
      await this.refresh()
    }
  }

  async #attempt(leader: number, partition: number, value: number): Promise<ProduceAnswer | null> {
    const { topic, acks, producerId } = this.#producer
    const request: Produce = {
      ...{ topic, partition, acks, value },
      timeoutMs: 1000,
      producerId: acks === -1 ? producerId : -1,
      sequence: this.#sequences.get(`${topic}-${partition}`) ?? 0,
    }
    try {
      const answer = (await this.ask(leader, 'Produce', request)) as ProduceAnswer
      if (answer.errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER && acks === -1) {
        this.options.world.violated(
          `${topic}-${partition}: sequence ${request.sequence} of ${producerId} is out of order`,
        )
      }
      return answer
    } catch (error) {
      this.process.trace(String(error))
      return null
    }
  }

  #stored(answer: ProduceAnswer, partition: number, value: number): void {
    const { topic, acks, invariants } = this.#producer
    if (acks !== -1) return
    const key = `${topic}-${partition}`
    this.#sequences.set(key, (this.#sequences.get(key) ?? 0) + 1)
    this.process.trace(`${value} is stored in ${key} at ${answer.baseOffset}`)
    invariants.acknowledged({ topicId: answer.topicId, topic, partition }, answer.baseOffset, value)
  }
}

export interface ConsumerOptions extends ClientOptions {
  readonly topic: string
  readonly partitionCount: number
  readonly pauseMs: number
}

/** Reads every partition from its beginning, from any replica. */
export class SimulatedConsumer extends Client {
  readonly #consumer: ConsumerOptions
  readonly #positions: number[]

  constructor(options: ConsumerOptions) {
    super(options)
    this.#consumer = options
    this.#positions = Array.from({ length: options.partitionCount }, () => 0)
  }

  async run(): Promise<void> {
    const { partitionCount, pauseMs } = this.#consumer
    while (!this.isStopped) {
      await this.pause(pauseMs * (0.5 + this.random.integer(100) / 100))
      await this.#poll(this.random.integer(partitionCount))
    }
  }

  async #poll(partition: number): Promise<void> {
    const { topic } = this.#consumer
    const found = this.partition(topic, partition)
    const from =
      this.random.integer(3) === 0
        ? found?.replicas[this.random.integer(found.replicas.length)]
        : found?.leader
    if (found === undefined || from === undefined || from < 0) {
      await this.refresh()
      return
    }
    const offset = this.#positions[partition] as number
    const request: Read = { topic, partition, currentLeaderEpoch: found.leaderEpoch, offset }
    let answer: ReadAnswer
    try {
      answer = (await this.ask(from, 'Read', request)) as ReadAnswer
    } catch (error) {
      this.process.trace(String(error))
      await this.refresh()
      return
    }
    if (answer.errorCode !== 0) {
      const isOutOfRange = answer.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE
      if (isOutOfRange && offset < answer.logStart) {
        this.#positions[partition] = answer.logStart
        return
      }
      // A follower that is behind has not what the leader had.
      if (isOutOfRange && from === found.leader) {
        this.options.world.violated(
          `${topic}-${partition}: ${offset} was read before, and its leader ${from} has it not`,
        )
      }
      await this.refresh()
      return
    }
    const at = { topicId: answer.topicId, topic, partition }
    for (const [i, value] of answer.values.entries()) {
      this.options.invariants.consumed(at, offset + i, value)
    }
    this.#positions[partition] = offset + answer.values.length
  }
}
