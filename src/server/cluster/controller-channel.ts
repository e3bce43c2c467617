/**
 * The way from this broker to whoever is the controller: a call when that is this broker itself,
 * otherwise one connection that is kept, because losing it is how the death of a controller shows
 * long before its session ends.
 *
 * Main thread, no input or output of its own.
 */
import type { Controller } from '../../controller/controller.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  AllocateProducerIdsRequest,
  AllocateProducerIdsResponse,
} from '../../protocol/messages/allocate-producer-ids.ts'
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../../protocol/messages/alter-partition.ts'
import type {
  ControlledShutdownRequest,
  ControlledShutdownResponse,
} from '../../protocol/messages/controlled-shutdown.ts'
import type { EnvelopeRequest, EnvelopeResponse } from '../../protocol/messages/envelope.ts'
import type { RegisteredBroker } from '../../registry/cluster-registry.ts'
import type { ControllerLink } from '../../replica/controller-link.ts'
import type { Logger } from '../../util/logger.ts'
import type { Timer, TimerQueue } from '../../util/timer-queue.ts'
import type { RegisteredBrokers } from './registered-brokers.ts'

/** A connection to a controller elsewhere. Each call rejects with an Error when it is lost. */
export interface ControllerConnection extends ControllerLink {
  controlledShutdown(request: ControlledShutdownRequest): Promise<ControlledShutdownResponse>
  allocateProducerIds(request: AllocateProducerIdsRequest): Promise<AllocateProducerIdsResponse>
  envelope(request: EnvelopeRequest): Promise<EnvelopeResponse>
  /** Called once when the connection is lost, whether or not something was asked for. */
  onLost: (() => void) | null
  close(): void
}

/** Connects to a broker; rejects with an Error that says why it cannot. */
export type OpenControllerConnection = (broker: RegisteredBroker) => Promise<ControllerConnection>

/** What this broker knows of controllers, and the one that it may be itself. */
export type OwnController = Pick<
  Controller,
  | 'isActive'
  | 'controllerId'
  | 'onController'
  | 'alterPartition'
  | 'controlledShutdown'
  | 'allocateProducerIds'
>

export interface ControllerChannelOptions {
  readonly brokerId: number
  readonly controller: OwnController
  readonly brokers: RegisteredBrokers
  readonly open: OpenControllerConnection
  /** `controller.socket.timeout.ms` */
  readonly timeoutMs: number
  readonly timers: TimerQueue
  readonly logger: Logger
  /** The connection to the controller broke, or cannot be made. */
  readonly lost: (brokerId: number) => void
}

const FIRST_RETRY_MS = 20
const RETRY_MAX_MS = 500
/** A controller that has just resigned is asked again after this. */
const NOT_CONTROLLER_PAUSE_MS = 20

type Call<T> = (connection: ControllerConnection) => Promise<T>

interface Waiting {
  readonly ready: (connection: ControllerConnection | null) => void
}

export class ControllerChannel implements ControllerLink {
  readonly #options: ControllerChannelOptions
  readonly #waiting = new Set<Waiting>()
  #connection: ControllerConnection | null = null
  /** Registration that the connection, or the attempt to make one, is for. */
  #target: RegisteredBroker | null = null
  #isConnecting = false
  #retries = 0
  #retryTimer: Timer | null = null
  #isStopped = false
  readonly #unwatch: (() => void)[] = []

  constructor(options: ControllerChannelOptions) {
    this.#options = options
  }

  start(): void {
    const { controller, brokers } = this.#options
    this.#unwatch.push(controller.onController(() => this.#follow()))
    this.#unwatch.push(brokers.onChange(() => this.#follow()))
    this.#follow()
  }

  stop(): void {
    this.#isStopped = true
    for (const unwatch of this.#unwatch.splice(0)) unwatch()
    this.#retryTimer?.cancel()
    this.#drop()
    for (const waiting of [...this.#waiting]) waiting.ready(null)
  }

  /** Not repeated here: who asks knows whether the change is still wanted. */
  async alterPartition(request: AlterPartitionRequest): Promise<AlterPartitionResponse> {
    const { controller, timeoutMs } = this.#options
    if (controller.isActive) return controller.alterPartition(request)
    return (await this.#connected(timeoutMs)).alterPartition(request)
  }

  /** Asked anew of a new controller until there is an answer. Throws an Error after the time-out. */
  controlledShutdown(request: ControlledShutdownRequest): Promise<ControlledShutdownResponse> {
    const { controller } = this.#options
    return this.#insist(
      () => controller.controlledShutdown(request),
      (connection) => connection.controlledShutdown(request),
    )
  }

  /** As `controlledShutdown`. */
  allocateProducerIds(request: AllocateProducerIdsRequest): Promise<AllocateProducerIdsResponse> {
    const { controller } = this.#options
    return this.#insist(
      () => controller.allocateProducerIds(request),
      (connection) => connection.allocateProducerIds(request),
    )
  }

  /**
   * Hands a client's request to the controller elsewhere; null when it is this broker, or when none
   * can be asked in time, or when it does not take such requests.
   */
  async forward(request: EnvelopeRequest, timeoutMs: number): Promise<EnvelopeResponse | null> {
    const { controller } = this.#options
    const deadlineMs = this.#nowMs() + timeoutMs
    while (!controller.isActive) {
      const leftMs = deadlineMs - this.#nowMs()
      if (leftMs <= 0 || this.#isStopped) return null
      try {
        const connection = await this.#connected(leftMs)
        const response = await connection.envelope(request)
        if (response.errorCode !== ErrorCode.NOT_CONTROLLER) return response
        await this.#pause(NOT_CONTROLLER_PAUSE_MS)
      } catch (error) {
        // Nobody can tell whether it was carried out: the client decides.
        this.#options.logger.info({ error: String(error) }, 'a request was not forwarded')
        return null
      }
    }
    return null
  }

  async #insist<T extends { readonly errorCode: number }>(
    here: () => Promise<T>,
    there: Call<T>,
  ): Promise<T> {
    const { controller, timeoutMs, logger } = this.#options
    const deadlineMs = this.#nowMs() + timeoutMs
    for (;;) {
      const leftMs = Math.max(0, deadlineMs - this.#nowMs())
      try {
        const response = controller.isActive
          ? await here()
          : await there(await this.#connected(leftMs))
        if (response.errorCode !== ErrorCode.NOT_CONTROLLER || leftMs === 0) return response
      } catch (error) {
        if (leftMs === 0 || this.#isStopped) throw error
        logger.info({ error: String(error) }, 'the controller was not reached; it is tried again')
      }
      await this.#pause(NOT_CONTROLLER_PAUSE_MS)
    }
  }

  /** The connection, as soon as there is one. Throws an Error after the time. */
  async #connected(timeoutMs: number): Promise<ControllerConnection> {
    if (this.#connection !== null) return this.#connection
    if (this.#isStopped) throw new Error('the broker stops')
    const connection = await new Promise<ControllerConnection | null>((resolve) => {
      const timer = this.#options.timers.schedule(timeoutMs, () => waiting.ready(null))
      const waiting: Waiting = {
        ready: (found) => {
          this.#waiting.delete(waiting)
          timer.cancel()
          resolve(found)
        },
      }
      this.#waiting.add(waiting)
    })
    if (connection === null) throw new Error('there is no controller that can be reached')
    return connection
  }

  /** Connects to the controller that there is now. */
  #follow(): void {
    if (this.#isStopped) return
    const { controller, brokers, brokerId } = this.#options
    const id = controller.controllerId
    const target = id === brokerId ? null : (brokers.get(id) ?? null)
    const isSame =
      target?.brokerId === this.#target?.brokerId &&
      target?.brokerEpoch === this.#target?.brokerEpoch
    if (isSame) return
    this.#drop()
    this.#target = target
    this.#retries = 0
    this.#retryTimer?.cancel()
    this.#retryTimer = null
    this.#connect()
  }

  #connect(): void {
    const target = this.#target
    if (target === null || this.#isConnecting || this.#isStopped) return
    this.#isConnecting = true
    this.#options.open(target).then(
      (connection) => {
        this.#isConnecting = false
        this.#opened(target, connection)
      },
      (error: unknown) => {
        this.#isConnecting = false
        this.#options.logger.debug(
          { controller: target.brokerId, error: String(error) },
          'the controller cannot be reached',
        )
        this.#failed(target)
      },
    )
  }

  #opened(target: RegisteredBroker, connection: ControllerConnection): void {
    if (target !== this.#target || this.#isStopped) {
      connection.close()
      this.#connect()
      return
    }
    this.#connection = connection
    this.#retries = 0
    connection.onLost = () => {
      if (connection !== this.#connection) return
      this.#connection = null
      this.#failed(target)
    }
    for (const waiting of [...this.#waiting]) waiting.ready(connection)
  }

  #failed(target: RegisteredBroker): void {
    if (this.#isStopped) return
    if (target !== this.#target) {
      this.#connect()
      return
    }
    this.#options.lost(target.brokerId)
    const delayMs = Math.min(RETRY_MAX_MS, FIRST_RETRY_MS * 2 ** this.#retries)
    this.#retries += 1
    this.#retryTimer = this.#options.timers.schedule(delayMs, () => {
      this.#retryTimer = null
      this.#connect()
    })
  }

  #drop(): void {
    const connection = this.#connection
    this.#connection = null
    if (connection === null) return
    connection.onLost = null
    connection.close()
  }

  #nowMs(): number {
    return this.#options.timers.nowMs
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#options.timers.schedule(ms, resolve)
    })
  }
}
