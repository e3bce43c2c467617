/**
 * A session with a ZooKeeper ensemble, over as many connections as it takes.
 *
 * Operations are pipelined in the order in which they were asked for. While there is no connection
 * nothing is handed to a client: operations wait here, in a bounded queue, and fail when their time
 * is up or the session ends, so that no write comes alive long after its author gave up on it. What
 * was under way when a connection went answers CONNECTION_LOSS: it may or may not have been done.
 *
 * When the ensemble says that the session is over a new one is begun, with another number. What
 * was asked for under the old number is never sent under the new one.
 *
 * Main thread only. Time and connections are injected.
 */
import type { Logger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import type { Timer, TimerQueue } from '../../util/timer-queue.ts'
import { RegistryError } from '../cluster-registry.ts'
import type { SessionState } from '../node-store.ts'
import {
  ClientCode,
  type ClientOperation,
  type ClientReply,
  type ConnectClient,
  ConnectError,
  type ServerAddress,
  type SessionCredentials,
  type ZooKeeperClient,
} from './client.ts'
import { serverText } from './connect-string.ts'

/** Between two rounds over all servers. */
const ROUND_PAUSE_MS = 100
/** For one server in the first round; more in each of the next. */
const PATIENCE_MS = 1000
const WAITING_MAX = 100_000

export interface SessionOptions {
  readonly servers: readonly ServerAddress[]
  readonly sessionTimeoutMs: number
  /** For the first connection. */
  readonly connectionTimeoutMs: number
  /** For an answer, and for the connection that an operation waits for. */
  readonly requestTimeoutMs: number
  readonly inFlightMax: number
  readonly connect: ConnectClient
  readonly timers: TimerQueue
  readonly random: Random
  readonly logger: Logger
  /** Called with each new session before it is used. */
  readonly established?: (credentials: SessionCredentials) => Promise<void>
}

interface Pending {
  readonly operation: ClientOperation
  timer: Timer
  isSent: boolean
  isSettled: boolean
  readonly settle: (reply: ClientReply) => void
  readonly fail: (error: unknown) => void
}

export class ZooKeeperSession {
  readonly #options: SessionOptions
  readonly #servers: readonly ServerAddress[]
  readonly #stateListeners = new Set<(state: SessionState) => void>()
  readonly #watchListeners = new Set<(path: string) => void>()
  #state: SessionState = 'disconnected'
  #client: ZooKeeperClient | null = null
  #credentials: SessionCredentials | null = null
  #number = 1
  #grantedMs = 0
  #nextServer = 0
  #waiting: Pending[] = []
  #waitingFrom = 0
  #sent = 0
  #isClosed = false
  #wake: (() => void) | null = null
  #drained: (() => void) | null = null
  #lastFailure = ''

  private constructor(options: SessionOptions) {
    this.#options = options
    this.#servers = shuffled(options.servers, options.random)
  }

  /** Begins a session. Throws a RegistryError when no server answers in time. */
  static async open(options: SessionOptions): Promise<ZooKeeperSession> {
    const session = new ZooKeeperSession(options)
    await session.#begin()
    return session
  }

  /** Of the present session in this process: one more each time that one has expired. */
  get number(): number {
    return this.#number
  }

  get state(): SessionState {
    return this.#state
  }

  /** Hexadecimal id of the session; null while there is none. */
  get id(): string | null {
    return this.#credentials?.id ?? null
  }

  /** What the ensemble granted last, 0 before there was a connection. */
  get sessionTimeoutMs(): number {
    return this.#grantedMs
  }

  /** Calls `listener` at each change of the state; returns how to stop it. */
  onState(listener: (state: SessionState) => void): () => void {
    this.#stateListeners.add(listener)
    return () => this.#stateListeners.delete(listener)
  }

  /** Calls `listener` with the path of each watch that fired. */
  onWatch(listener: (path: string) => void): () => void {
    this.#watchListeners.add(listener)
    return () => this.#watchListeners.delete(listener)
  }

  /**
   * Carries out an operation in the session of that number. Throws a RegistryError, `unavailable`
   * or `closed`, if it was certainly not sent; answers CONNECTION_LOSS if nobody can tell.
   */
  request(operation: ClientOperation, number: number): Promise<ClientReply> {
    return new Promise((settle, fail) => {
      if (this.#isClosed) throw closedError()
      if (number !== this.#number) throw endedError()
      if (this.#waiting.length - this.#waitingFrom >= WAITING_MAX) {
        throw new RegistryError('unavailable', 'too many operations wait for ZooKeeper')
      }
      const pending: Pending = {
        operation,
        timer: this.#options.timers.schedule(this.#options.requestTimeoutMs, () =>
          this.#timeOut(pending),
        ),
        isSent: false,
        isSettled: false,
        settle,
        fail,
      }
      this.#waiting.push(pending)
      this.#pump()
    })
  }

  /** Waits for what is under way, then ends the session. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    if (this.#state === 'connected' && this.#sent + this.#waiting.length - this.#waitingFrom > 0) {
      await new Promise<void>((done) => {
        this.#drained = done
      })
    }
    this.#isClosed = true
    this.#wake?.()
    this.#client?.close()
    this.#client = null
    this.#failWaiting(closedError())
    this.#stateListeners.clear()
    this.#watchListeners.clear()
  }

  async #begin(): Promise<void> {
    const { timers, connectionTimeoutMs } = this.#options
    let late: Timer | undefined
    const isLate = new Promise<true>((resolve) => {
      late = timers.schedule(connectionTimeoutMs, () => resolve(true))
    })
    try {
      if (!(await Promise.race([this.#connect(), isLate]))) return
    } finally {
      late?.cancel()
    }
    // An attempt that is still under way sees it, and gives up what it gets.
    this.#isClosed = true
    this.#wake?.()
    const servers = this.#options.servers.map(serverText).join(',')
    const why = this.#lastFailure === '' ? '' : ` (${this.#lastFailure})`
    throw new RegistryError(
      'unavailable',
      `ZooKeeper at ${servers} cannot be reached within ${connectionTimeoutMs} ms${why}`,
    )
  }

  /** Until there is a connection, or the session is closed. */
  async #connect(): Promise<false> {
    for (let round = 0; !this.#isClosed; round++) {
      for (let turn = 0; turn < this.#servers.length && !this.#isClosed; turn++) {
        if (await this.#tryNextServer(round)) return false
      }
      if (!this.#isClosed) await this.#pause(ROUND_PAUSE_MS)
    }
    return false
  }

  async #tryNextServer(round: number): Promise<boolean> {
    const { connect, sessionTimeoutMs } = this.#options
    const server = this.#servers[this.#nextServer++ % this.#servers.length] as ServerAddress
    const credentials = this.#credentials
    let isLost = false
    let client: ZooKeeperClient
    try {
      client = await connect({
        server,
        sessionTimeoutMs,
        credentials,
        patienceMs: Math.min(PATIENCE_MS * (round + 1), Math.ceil(sessionTimeoutMs / 3)),
        events: {
          disconnected: () => {
            isLost = true
            if (this.#client === client) this.#disconnected()
          },
          changed: (path) => {
            for (const listener of [...this.#watchListeners]) listener(path)
          },
        },
      })
    } catch (error) {
      this.#connectFailed(error)
      return false
    }
    this.#credentials = client.credentials
    if (credentials === null) await this.#establish(client.credentials)
    if (this.#isClosed) client.close()
    if (isLost || this.#isClosed) return false
    this.#connected(client, server)
    return true
  }

  #connectFailed(error: unknown): void {
    if (!(error instanceof ConnectError)) throw error
    if (error.kind === 'missing-package') {
      throw new RegistryError('unavailable', error.message, { cause: error })
    }
    if (error.kind === 'expired') this.#expired()
    else this.#lastFailure = error.message
  }

  async #establish(credentials: SessionCredentials): Promise<void> {
    try {
      await this.#options.established?.(credentials)
    } catch (error) {
      // It only spares the next start a wait.
      this.#options.logger.warn({ err: error }, 'the ZooKeeper session cannot be noted')
    }
  }

  #connected(client: ZooKeeperClient, server: ServerAddress): void {
    this.#client = client
    this.#grantedMs = client.sessionTimeoutMs
    this.#sent = 0
    // This server may be behind the one before: what is read here is to be no older than what was
    // read or written there. Should it fail, so does the connection.
    client.submit({ kind: 'sync', path: '/' }, () => undefined)
    this.#options.logger.info(
      {
        server: serverText(server),
        session: client.credentials.id,
        sessionTimeoutMs: client.sessionTimeoutMs,
      },
      'connected to ZooKeeper',
    )
    this.#enter('connected')
    this.#pump()
  }

  #disconnected(): void {
    this.#client = null
    this.#options.logger.warn({ session: this.id }, 'the connection to ZooKeeper is lost')
    this.#enter('disconnected')
    this.#finishDraining()
    this.#connect().catch((error: unknown) => {
      this.#options.logger.error({ err: error }, 'ZooKeeper cannot be reached any more')
    })
  }

  #expired(): void {
    this.#options.logger.warn({ session: this.id }, 'the ZooKeeper session has expired')
    this.#credentials = null
    this.#number += 1
    this.#failWaiting(endedError())
    this.#enter('expired')
  }

  #enter(state: SessionState): void {
    this.#state = state
    for (const listener of [...this.#stateListeners]) listener(state)
  }

  #pump(): void {
    while (
      this.#client !== null &&
      this.#sent < this.#options.inFlightMax &&
      this.#waitingFrom < this.#waiting.length
    ) {
      const pending = this.#waiting[this.#waitingFrom++] as Pending
      if (!pending.isSettled) this.#send(this.#client, pending)
    }
    if (this.#waitingFrom === this.#waiting.length) {
      this.#waiting = []
      this.#waitingFrom = 0
    }
    if (this.#sent === 0 && this.#waiting.length === 0) this.#finishDraining()
  }

  #send(client: ZooKeeperClient, pending: Pending): void {
    this.#sent += 1
    pending.isSent = true
    let isWithinSubmit = true
    client.submit(pending.operation, (reply) => {
      this.#settle(pending, reply)
      if (this.#client !== client) return
      this.#sent -= 1
      if (!isWithinSubmit) this.#pump()
    })
    isWithinSubmit = false
  }

  #settle(pending: Pending, reply: ClientReply): void {
    if (pending.isSettled) return
    pending.isSettled = true
    pending.timer.cancel()
    // Only two kinds of failures matter: the server said no, and nobody knows.
    if (reply.code === ClientCode.BAD_ARGUMENTS) {
      const { path } = pending.operation
      pending.fail(new RegistryError('invalid', `not a path of a node: ${JSON.stringify(path)}`))
      return
    }
    const isUnknown = reply.code < 0 && reply.code > SERVER_SAID_NO
    pending.settle(isUnknown ? { code: ClientCode.CONNECTION_LOSS } : reply)
  }

  /** One that was sent keeps its place among those in flight until its connection is gone. */
  #timeOut(pending: Pending): void {
    if (pending.isSettled) return
    if (pending.isSent) {
      this.#settle(pending, { code: ClientCode.CONNECTION_LOSS })
      return
    }
    pending.isSettled = true
    const ms = this.#options.requestTimeoutMs
    pending.fail(new RegistryError('unavailable', `ZooKeeper did not take it within ${ms} ms`))
  }

  #failWaiting(error: RegistryError): void {
    const waiting = this.#waiting.slice(this.#waitingFrom)
    this.#waiting = []
    this.#waitingFrom = 0
    for (const pending of waiting) {
      if (pending.isSettled) continue
      pending.isSettled = true
      pending.timer.cancel()
      pending.fail(error)
    }
  }

  #finishDraining(): void {
    const drained = this.#drained
    this.#drained = null
    drained?.()
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.timers.schedule(ms, () => this.#wake?.())
      this.#wake = () => {
        this.#wake = null
        timer.cancel()
        resolve()
      }
    })
  }
}

/** Codes from here to −1 are the client's own. */
const SERVER_SAID_NO = -100

function closedError(): RegistryError {
  return new RegistryError('closed', 'the registry is closed')
}

function endedError(): RegistryError {
  return new RegistryError('unavailable', 'the ZooKeeper session has ended')
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = random.integer(i + 1)
    const other = result[j] as T
    result[j] = result[i] as T
    result[i] = other
  }
  return result
}
