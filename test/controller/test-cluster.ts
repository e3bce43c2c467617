/**
 * Controllers on a real registry, over brokers that only remember what they were told and check
 * that it makes sense: no epoch goes back, nobody leads twice in one epoch.
 */
import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import type { BrokerLink, OpenBrokerLink } from '../../src/controller/broker-link.ts'
import { FULL_REQUEST } from '../../src/controller/broker-requests.ts'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import { Controller } from '../../src/controller/controller.ts'
import { decodeRequest, encodeRequest } from '../../src/protocol/codec.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import {
  LeaderAndIsr,
  type LeaderAndIsrRequest,
} from '../../src/protocol/messages/leader-and-isr.ts'
import { StopReplica, type StopReplicaRequest } from '../../src/protocol/messages/stop-replica.ts'
import {
  UpdateMetadata,
  type UpdateMetadataRequest,
} from '../../src/protocol/messages/update-metadata.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type RequestOf,
} from '../../src/protocol/schema.ts'
import type {
  BrokerRegistration,
  ClusterRegistry,
  RegisteredBroker,
} from '../../src/registry/cluster-registry.ts'
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { type Logger, silentLogger } from '../../src/util/logger.ts'
import { SeededRandom } from '../../src/util/random.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'

export type ToldPartition =
  LeaderAndIsrRequest['topicStates'][number]['partitionStates'][number] & { topicId: string }
export type ToldMetadata =
  UpdateMetadataRequest['topicStates'][number]['partitionStates'][number] & { topicId: string }

/** As a broker reads it: what the newest version cannot carry is found. */
function throughBytes<A extends ApiSchema>(api: A, request: RequestInput<A>): RequestOf<A> {
  const { max } = parseVersions(api.versions)
  const writer = new MessageWriter()
  encodeRequest(api, max, writer, request)
  const bytes = Buffer.from(writer.written)
  return decodeRequest(api, max, new MessageReader().reset(bytes, 0, bytes.length, false))
}

/** A broker that does as it is told. */
export class RecordingBroker {
  readonly brokerId: number
  brokerEpoch = -1
  controllerEpoch = 0
  readonly leadership = new Map<string, ToldPartition>()
  readonly metadata = new Map<string, ToldMetadata>()
  readonly deleted: string[] = []
  readonly stopped: string[] = []
  liveBrokers: readonly number[] = []
  /** What it was asked, by name and how many partitions. */
  readonly requests: string[] = []
  /** The requests themselves. */
  readonly leaderAndIsrs: LeaderAndIsrRequest[] = []
  readonly updates: UpdateMetadataRequest[] = []
  /** Partitions whose logs it cannot use. */
  readonly broken = new Set<string>()
  /** What answers wait for. */
  gate: Promise<void> = Promise.resolve()
  isReachable = true
  #links: BrokerLink[] = []

  constructor(brokerId: number) {
    this.brokerId = brokerId
  }

  /** Everything it knew is gone, but for its logs. */
  restart(): void {
    this.breakLinks()
    this.leadership.clear()
    this.metadata.clear()
    this.controllerEpoch = 0
    this.brokerEpoch = -1
  }

  breakLinks(): void {
    for (const link of this.#links.splice(0)) link.onLost?.()
  }

  open(): BrokerLink {
    if (!this.isReachable) throw new Error('the connection was refused')
    let isOpen = true
    let last: Promise<unknown> = Promise.resolve()
    const serve = <T>(task: () => T): Promise<T> => {
      const result = last.then(async () => {
        await this.gate
        if (!isOpen || !this.isReachable) throw new Error('the connection was lost')
        return task()
      })
      last = result.catch(() => undefined)
      return result
    }
    const link: BrokerLink = {
      leaderAndIsr: (request) =>
        serve(() => this.#leaderAndIsr(throughBytes(LeaderAndIsr, request))),
      updateMetadata: (request) =>
        serve(() => this.#updateMetadata(throughBytes(UpdateMetadata, request))),
      stopReplica: (request) => serve(() => this.#stopReplica(throughBytes(StopReplica, request))),
      onLost: null,
      close: () => {
        isOpen = false
      },
    }
    this.#links.push(link)
    return link
  }

  #wrongEpoch(request: { controllerEpoch: number; brokerEpoch: number }): number {
    if (request.controllerEpoch < this.controllerEpoch) return ErrorCode.STALE_CONTROLLER_EPOCH
    if (request.brokerEpoch < this.brokerEpoch) return ErrorCode.STALE_BROKER_EPOCH
    this.controllerEpoch = request.controllerEpoch
    return ErrorCode.NONE
  }

  #leaderAndIsr(request: LeaderAndIsrRequest) {
    const errorCode = this.#wrongEpoch(request)
    if (errorCode !== ErrorCode.NONE) return { errorCode, partitionErrors: [], topics: [] }
    this.leaderAndIsrs.push(request)
    let count = 0
    const topics = request.topicStates.map(({ topicName, topicId, partitionStates }) => ({
      topicId,
      partitionErrors: partitionStates.map((state) => {
        count += 1
        const key = `${topicName}-${state.partitionIndex}`
        const before = this.leadership.get(key)
        assert.ok(state.replicas.includes(this.brokerId), `${key} is not on ${this.brokerId}`)
        if (before?.topicId === topicId) {
          assert.ok(state.leaderEpoch >= before.leaderEpoch, `the epoch of ${key} goes back`)
          assert.ok(
            state.partitionEpoch >= before.partitionEpoch,
            `the version of ${key} goes back`,
          )
          const isSame = state.leaderEpoch === before.leaderEpoch
          if (isSame) assert.equal(state.leader, before.leader, `two lead ${key} in one epoch`)
        }
        const isBroken = this.broken.has(key)
        if (!isBroken) this.leadership.set(key, { ...state, topicId })
        return {
          topicName,
          partitionIndex: state.partitionIndex,
          errorCode: isBroken ? ErrorCode.KAFKA_STORAGE_ERROR : ErrorCode.NONE,
        }
      }),
    }))
    this.requests.push(`LeaderAndIsr ${request.type === FULL_REQUEST ? 'full ' : ''}${count}`)
    return { errorCode, partitionErrors: [], topics }
  }

  #updateMetadata(request: UpdateMetadataRequest) {
    const errorCode = this.#wrongEpoch(request)
    if (errorCode !== ErrorCode.NONE) return { errorCode }
    this.updates.push(request)
    let count = 0
    for (const { topicName, topicId, partitionStates } of request.topicStates) {
      for (const state of partitionStates) {
        count += 1
        const key = `${topicName}-${state.partitionIndex}`
        if (state.leader === -2) this.metadata.delete(key)
        else this.metadata.set(key, { ...state, topicId })
      }
    }
    this.liveBrokers = request.liveBrokers.map((broker) => broker.id).sort()
    this.requests.push(`UpdateMetadata ${count}`)
    return { errorCode }
  }

  #stopReplica(request: StopReplicaRequest) {
    const errorCode = this.#wrongEpoch(request)
    if (errorCode !== ErrorCode.NONE) return { errorCode, partitionErrors: [] }
    let count = 0
    for (const { topicName, partitionStates } of request.topicStates) {
      for (const { partitionIndex, deletePartition } of partitionStates) {
        count += 1
        const key = `${topicName}-${partitionIndex}`
        this.stopped.push(key)
        if (!deletePartition) continue
        this.deleted.push(key)
        this.leadership.delete(key)
      }
    }
    this.requests.push(`StopReplica ${count}`)
    return { errorCode, partitionErrors: [] }
  }
}

export function registrationOf(
  brokerId: number,
  options: Partial<BrokerRegistration> = {},
): BrokerRegistration {
  const endpoint = { listenerName: 'PLAINTEXT', securityProtocol: 'PLAINTEXT', host: '127.0.0.1' }
  return {
    brokerId,
    endpoints: [{ ...endpoint, port: 9092 + brokerId }],
    rack: null,
    timestampMs: 1,
    ...options,
  }
}

export class TestCluster {
  readonly registry: ClusterRegistry
  readonly clock = new ManualClock()
  readonly timers = new TimerQueue(this.clock)
  readonly brokers = new Map<number, RecordingBroker>()
  readonly controllers: Controller[] = []
  readonly suspects: number[] = []
  readonly #logger: Logger
  readonly #properties: Record<string, string>

  constructor(registry: ClusterRegistry, properties: Record<string, string>, logger: Logger) {
    this.registry = registry
    this.#properties = properties
    this.#logger = logger
  }

  /** Brokers 1 to `count` are registered, and broker 1 is the controller. */
  static async start(
    count: number,
    properties: Record<string, string> = {},
    options: { files?: MemoryFiles; logger?: Logger; registry?: ClusterRegistry } = {},
  ): Promise<TestCluster> {
    const registry =
      options.registry ??
      (await openEmbeddedRegistry({
        directory: '/data',
        logger: silentLogger,
        files: options.files ?? new MemoryFiles(),
      }))
    const quiet = { 'auto.leader.rebalance.enable': 'false', ...properties }
    const cluster = new TestCluster(registry, quiet, options.logger ?? silentLogger)
    for (let id = 1; id <= count; id++) await cluster.register(id)
    if (count > 0) await cluster.elect(1)
    return cluster
  }

  broker(brokerId: number): RecordingBroker {
    return this.brokers.get(brokerId) as RecordingBroker
  }

  /** The controller that is one. */
  get active(): Controller {
    const found = this.controllers.filter((one) => one.isActive)
    assert.equal(found.length, 1, `${found.length} controllers are active`)
    return found[0] as Controller
  }

  async register(
    brokerId: number,
    options: Partial<BrokerRegistration> = {},
  ): Promise<RecordingBroker> {
    const broker = this.brokers.get(brokerId) ?? new RecordingBroker(brokerId)
    this.brokers.set(brokerId, broker)
    const result = await this.registry.registerBroker(registrationOf(brokerId, options))
    assert.ok(result.ok)
    broker.brokerEpoch = result.brokerEpoch as number
    return broker
  }

  /** The broker is gone with all that it knew; its logs stay. */
  async kill(brokerId: number): Promise<void> {
    this.broker(brokerId).isReachable = false
    this.broker(brokerId).restart()
    await this.registry.unregisterBroker(brokerId)
  }

  async revive(brokerId: number, options: Partial<BrokerRegistration> = {}): Promise<void> {
    this.broker(brokerId).isReachable = true
    await this.register(brokerId, options)
  }

  controller(brokerId: number, registry: ClusterRegistry = this.registry): Controller {
    const loaded = loadBrokerConfig(new Map(Object.entries(this.#properties)))
    const openLink: OpenBrokerLink = async (to: RegisteredBroker) => {
      const broker = this.brokers.get(to.brokerId)
      if (broker === undefined) throw new Error(`there is no broker ${to.brokerId}`)
      return broker.open()
    }
    const controller = new Controller({
      brokerId,
      registry,
      config: loaded.config,
      texts: new LiveBrokerTexts(loaded.explicit),
      openLink,
      clock: this.clock,
      timers: this.timers,
      random: new SeededRandom(brokerId),
      logger: this.#logger,
      suspect: (id) => this.suspects.push(id),
    })
    this.controllers.push(controller)
    return controller
  }

  async elect(brokerId: number, registry?: ClusterRegistry): Promise<Controller> {
    const controller = this.controller(brokerId, registry)
    controller.start()
    await this.until(`broker ${brokerId} is the controller`, () => controller.isActive)
    return controller
  }

  /** Takes the controller's registration away, as the end of its session does. */
  async depose(): Promise<void> {
    const controller = await this.registry.controller()
    if (controller) await this.registry.fenceController(controller.registrationId)
  }

  /** Resolves with what the promise does; time passes meanwhile. */
  async settled<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const done = promise.finally(() => {
      isSettled = true
    })
    done.catch(() => undefined) // It is awaited below.
    for (let i = 0; i < 5000 && !isSettled; i++) {
      await turn()
      if (i > 20) this.clock.advance(10)
    }
    assert.ok(isSettled, 'what was waited for does not settle')
    return done
  }

  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    for (let i = 0; i < 5000; i++) {
      if (await condition()) return
      await turn()
      if (i > 20) this.clock.advance(10)
    }
    assert.fail(`waited in vain for: ${what}`)
  }

  async createTopic(
    name: string,
    assignment: readonly (readonly number[])[],
    configs: Record<string, string> = {},
  ): Promise<number> {
    const topic = {
      name,
      numPartitions: -1,
      replicationFactor: -1,
      assignments: assignment.map((brokerIds, partitionIndex) => ({ partitionIndex, brokerIds })),
      configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
    }
    const options = { timeoutMs: 60_000, validateOnly: false }
    const [outcome] = await this.settled(this.active.createTopics([topic], options))
    return outcome?.errorCode as number
  }

  /** `leader/leaderEpoch isr` of a partition in the registry, with who else may lead. */
  async state(topic: string, partition = 0): Promise<string> {
    const entry = await this.registry.partitionState(topic, partition)
    if (entry === null) return 'none'
    const { leader, leaderEpoch, isr, eligibleLeaders, isRecovering } = entry.value
    const eligible = eligibleLeaders?.length ? ` elr ${eligibleLeaders.join()}` : ''
    return `${leader}/${leaderEpoch} ${isr.join()}${eligible}${isRecovering ? ' recovering' : ''}`
  }

  async untilState(text: string, topic: string, partition = 0): Promise<void> {
    let seen = ''
    for (let i = 0; i < 5000; i++) {
      seen = await this.state(topic, partition)
      if (seen === text) return
      await turn()
      if (i > 20) this.clock.advance(10)
    }
    assert.equal(seen, text)
  }

  /** What is wrong with what live brokers know, compared with the registry; null if nothing is. */
  async disagreement(): Promise<string | null> {
    const { registry } = this
    if ((await registry.topicDeletions()).length > 0) return 'a deletion is not complete'
    const live = await registry.brokers()
    const ids = live.map((broker) => broker.brokerId)
    const known = new Set<string>()
    for (const name of await registry.topicNames()) {
      const topic = await registry.topic(name)
      if (!topic?.value.topicId) return `${name} has no id`
      for (const [index, replicas] of topic.value.partitions.entries()) {
        const key = `${name}-${index}`
        known.add(key)
        const entry = await registry.partitionState(name, index)
        const { value: state, version } = entry ?? { value: null, version: -1 }
        if (state === null) return `${key} has no state`
        if (state.leader !== -1 && !ids.includes(state.leader)) return `${key} is led by the dead`
        if (state.leader !== -1 && !state.isr.includes(state.leader)) return `${key}: leader, ISR`
        if (state.isr.some((id) => !replicas.includes(id))) return `${key}: ISR, assignment`
        const canLead = state.isr.some((id) => ids.includes(id))
        if (state.leader === -1 && canLead) return `${key} has no leader`
        for (const id of ids) {
          const broker = this.broker(id)
          const seen = broker.metadata.get(key)
          if (seen?.leader !== state.leader) return `${id} sees ${seen?.leader} lead ${key}`
          if (seen.leaderEpoch !== state.leaderEpoch) return `${id} sees an old epoch of ${key}`
          if (seen.zkVersion !== version) return `${id} sees an old state of ${key}`
          if (seen.isr.join() !== state.isr.join()) return `${id} sees another ISR of ${key}`
          if (seen.replicas.join() !== replicas.join()) return `${id} sees other replicas of ${key}`
          const told = broker.leadership.get(key)
          if (!replicas.includes(id)) {
            if (told) return `${id} still has ${key}`
            continue
          }
          if (told?.leader !== state.leader || told.leaderEpoch !== state.leaderEpoch) {
            return `${id} was not told who leads ${key}`
          }
        }
      }
    }
    for (const id of ids) {
      const broker = this.broker(id)
      if (broker.liveBrokers.join() !== ids.join()) return `${id} sees ${broker.liveBrokers}`
      for (const key of [...broker.metadata.keys(), ...broker.leadership.keys()]) {
        if (!known.has(key)) return `${id} knows ${key}, which is gone`
      }
    }
    return null
  }

  async untilAgreed(): Promise<void> {
    let wrong: string | null = null
    for (let i = 0; i < 3000; i++) {
      wrong = await this.disagreement()
      if (wrong === null) return
      await turn()
      if (i > 20) this.clock.advance(10)
    }
    assert.fail(wrong ?? '')
  }

  async close(): Promise<void> {
    for (const controller of this.controllers) await controller.stop()
    this.timers.close()
    await this.registry.close()
  }
}
