/** Whoever creates, deletes and moves topics in a simulated cluster, and minds what it was told. */
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import type { AdminRequest, BrokerParts } from './simulated-broker.ts'
import {
  Client,
  type ClientOptions,
  type DeleteRecords,
  type DeleteRecordsAnswer,
} from './simulated-clients.ts'

interface Outcome {
  readonly errorCode: number
}

const TIMEOUT_MS = 1000
const EXTRA_TOPICS_MAX = 2

/** What a broker does with it: as the handlers do, if it is the controller. */
export async function answerAdmin(
  { member: { controller } }: BrokerParts,
  request: AdminRequest,
): Promise<Outcome> {
  const options = { timeoutMs: TIMEOUT_MS, validateOnly: false }
  const { topic } = request
  switch (request.kind) {
    case 'create': {
      const { assignments } = request
      const [outcome] = await controller.createTopics(
        [
          {
            name: topic,
            numPartitions: -1,
            replicationFactor: -1,
            assignments: assignments.map((brokerIds, partitionIndex) => ({
              ...{ brokerIds, partitionIndex },
            })),
            configs: [],
          },
        ],
        options,
      )
      return { errorCode: outcome?.errorCode ?? -1 }
    }
    case 'delete': {
      const [outcome] = await controller.deleteTopics([topic], TIMEOUT_MS)
      return { errorCode: outcome?.errorCode ?? -1 }
    }
    case 'grow': {
      const more = { name: topic, count: request.count, assignments: null }
      const [outcome] = await controller.createPartitions([more], options)
      return { errorCode: outcome?.errorCode ?? -1 }
    }
    case 'elect': {
      const { errorCode } = await controller.electLeaders({
        electionType: 0,
        topicPartitions: null,
        timeoutMs: TIMEOUT_MS,
      })
      return { errorCode }
    }
    case 'reassign': {
      const { errorCode } = await controller.alterPartitionReassignments({
        timeoutMs: TIMEOUT_MS,
        topics: [
          {
            name: topic,
            partitions: [
              {
                partitionIndex: request.partition,
                replicas: request.replicas === null ? null : [...request.replicas],
              },
            ],
          },
        ],
      })
      return { errorCode }
    }
  }
}

export class SimulatedAdmin extends Client {
  #created = 0
  readonly #extra = new Set<string>()
  /** Those of them whose creation is over, one way or the other. */
  readonly #over = new Set<string>()
  /** What it was told has been done. */
  readonly mustExist = new Set<string>()
  readonly mustBeGone = new Set<string>()

  constructor(options: ClientOptions) {
    super(options)
  }

  createTopic(): boolean {
    if (this.#extra.size >= EXTRA_TOPICS_MAX) return false
    this.#created += 1
    const topic = `u${this.#created}`
    this.#extra.add(topic)
    const assignments = Array.from({ length: 1 + this.random.integer(2) }, () => this.#replicas(2))
    this.#send({ kind: 'create', topic, assignments }, (errorCode) => {
      this.#over.add(topic)
      if (errorCode === 0) this.mustExist.add(topic)
    })
    return true
  }

  deleteTopic(): boolean {
    const topics = [...this.#extra].filter((topic) => this.#over.has(topic))
    const topic = topics[this.random.integer(topics.length || 1)]
    if (topic === undefined) return false
    this.#extra.delete(topic)
    this.mustExist.delete(topic)
    this.#send({ kind: 'delete', topic }, (errorCode) => {
      if (errorCode === 0) this.mustBeGone.add(topic)
    })
    return true
  }

  addPartitions(): boolean {
    const topics = [...this.#extra]
    const topic = topics[this.random.integer(topics.length || 1)]
    if (topic === undefined) return false
    this.#send({ kind: 'grow', topic, count: 3 }, () => undefined)
    return true
  }

  electPreferred(): boolean {
    this.#send({ kind: 'elect', topic: '' }, () => undefined)
    return true
  }

  reassign(): boolean {
    const count = Math.min(this.options.brokers.size, 3)
    const replicas = this.#replicas(count)
    const partition = this.random.integer(2)
    this.#send({ kind: 'reassign', topic: 't', partition, replicas }, () => undefined)
    return true
  }

  cancel(): boolean {
    const partition = this.random.integer(2)
    this.#send({ kind: 'reassign', topic: 't', partition, replicas: null }, () => undefined)
    return true
  }

  /** Everything before some offset of a partition, or all that is committed. */
  deleteRecords(): boolean {
    const topic = 't'
    const partition = this.random.integer(2)
    const { invariants } = this.options
    const topicId = invariants.topicIds.get(topic)
    if (topicId === undefined) return false
    const { committed } = invariants.history(topicId, topic, partition)
    const offset = this.random.integer(3) === 0 ? -1 : this.random.integer(committed.length + 2)
    this.process.at(0, () => {
      this.#deleteRecords({ topic, partition, offset, timeoutMs: TIMEOUT_MS }).catch(
        (error: unknown) => this.process.trace(`delete records: ${error}`),
      )
    })
    return true
  }

  async #deleteRecords(request: DeleteRecords): Promise<void> {
    const { topic, partition, offset } = request
    await this.refresh()
    const found = this.partition(topic, partition)
    if (found === undefined || found.leader < 0) return
    this.options.invariants.recordsDeleted(topic, partition, offset)
    const answer = (await this.ask(found.leader, 'DeleteRecords', request)) as DeleteRecordsAnswer
    this.process.trace(`delete records before ${offset}: ${JSON.stringify(answer)}`)
    if (answer.errorCode !== 0 || answer.lowWatermark >= offset) return
    this.options.world.violated(
      `${topic}-${partition}: deleted before ${offset}, and ${answer.lowWatermark} is there`,
    )
  }

  #replicas(count: number): number[] {
    const left = [...this.options.brokers.keys()]
    return Array.from(
      { length: count },
      () => left.splice(this.random.integer(left.length), 1)[0] as number,
    )
  }

  /** `answered` is given null when nobody can tell. */
  #send(request: AdminRequest, answered: (errorCode: number | null) => void): void {
    this.process.at(0, () => {
      this.#ask(request).then(
        ({ errorCode }) => {
          this.process.trace(`${request.kind} ${request.topic}: ${errorCode}`)
          answered(errorCode)
        },
        (error: unknown) => {
          this.process.trace(`${request.kind} ${request.topic}: ${error}`)
          answered(null)
        },
      )
    })
  }

  /** Asks the controller, who may not be it any more. */
  async #ask(request: AdminRequest): Promise<Outcome> {
    await this.refresh()
    for (let attempt = 0; ; attempt++) {
      const controllerId = this.metadata?.controllerId ?? -1
      try {
        if (controllerId < 0) throw new Error('no controller is known')
        const outcome = (await this.ask(controllerId, 'Admin', request)) as Outcome
        if (outcome.errorCode !== ErrorCode.NOT_CONTROLLER) return outcome
      } catch (error) {
        if (attempt === 3) throw error
      }
      await this.pause(300)
      await this.refresh()
      if (attempt === 3) return { errorCode: ErrorCode.NOT_CONTROLLER }
    }
  }
}
