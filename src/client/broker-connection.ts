/**
 * One connection to one broker: requests are pipelined, answers come in their order. Negotiates
 * versions when it opens. A request that is not answered in time closes the connection, because
 * the order of the answers is lost then.
 */
import { connect as connectSocket, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { decodeResponse } from '../protocol/codec.ts'
import { ErrorCode } from '../protocol/error-codes.ts'
import { readResponseHeader, writeRequestFrame } from '../protocol/headers.ts'
import { MessageReader } from '../protocol/message-reader.ts'
import { MessageWriter } from '../protocol/message-writer.ts'
import { ApiVersions } from '../protocol/messages/api-versions.ts'
import {
  type ApiSchema,
  parseVersions,
  type RequestInput,
  type ResponseOf,
} from '../protocol/schema.ts'
import { invariant } from '../util/invariant.ts'
import {
  ClientClosedError,
  ConnectionError,
  ProtocolError,
  RequestTimeoutError,
  UnsupportedVersionError,
} from './errors.ts'

/** An answer above this is not believed. */
const FRAME_BYTES_MAX = 1 << 30
/** How long what is written may take to leave when a connection is closed. */
const CLOSE_WAIT_MS = 1000
/** Payloads up to here are cheaper to copy than to write on their own. */
const COPIED_BYTES_MAX = 4096
/** A broker that is in order answers sooner: a fetch waits for half of it. */
const OVERDUE_MS = 1000
const NOTHING = Buffer.alloc(0)
const SOFTWARE_NAME = 'shardlog'
const SOFTWARE_VERSION = '0.1.0'

/** What brokers of 0.9 serve, which do not say so: API key → [lowest, highest version]. */
const LEGACY_VERSIONS: ReadonlyMap<number, readonly [number, number]> = new Map([
  [0, [0, 1]],
  [1, [0, 1]],
  [2, [0, 0]],
  [3, [0, 0]],
  [8, [0, 2]],
  [9, [0, 1]],
  [10, [0, 0]],
  [11, [0, 0]],
  [12, [0, 0]],
  [13, [0, 0]],
  [14, [0, 0]],
  [15, [0, 0]],
  [16, [0, 0]],
])

export interface BrokerConnectionOptions {
  readonly host: string
  readonly port: number
  readonly clientId: string
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly connect?: ((host: string, port: number) => Duplex) | undefined
  /** Take a broker that closes the connection when it is asked for its versions for a 0.9 one. */
  readonly legacyBrokers?: boolean | undefined
}

export interface SendOptions {
  /** Highest common one if it is not given. */
  readonly version?: number
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /**
   * The bytes of the `records` fields that the request declares by their length alone, in its
   * order. They are not copied: leave them as they are until the answer.
   */
  readonly payloads?: readonly Uint8Array[]
}

/** An answer with the bytes it was read from, where its `records` fields are. */
export interface FramedResponse<A extends ApiSchema> {
  readonly response: ResponseOf<A>
  readonly frame: Buffer
  readonly version: number
}

interface Waiting {
  readonly correlationId: number
  readonly what: string
  readonly sentMs: number
  readonly deadlineMs: number
  readonly resolve: (frame: Buffer) => void
  readonly reject: (error: Error) => void
}

export class BrokerConnection {
  readonly host: string
  readonly port: number
  /** What the broker serves: API key → [lowest, highest version]. */
  apiVersions: ReadonlyMap<number, readonly [number, number]> = new Map()
  readonly #stream: Duplex
  readonly #clientId: string
  readonly #requestTimeoutMs: number
  readonly #writer = new MessageWriter()
  readonly #reader = new MessageReader()
  readonly #waiting: Waiting[] = []
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #wanted = 4
  #nextCorrelationId = 1
  #timer: NodeJS.Timeout | null = null
  /** When the timer is due. */
  #alarmMs = Number.POSITIVE_INFINITY
  #closed: Error | null = null
  #corked = false
  readonly #closedPromise: Promise<void>
  #resolveClosed: () => void = () => undefined

  private constructor(stream: Duplex, options: BrokerConnectionOptions) {
    this.host = options.host
    this.port = options.port
    this.#stream = stream
    this.#clientId = options.clientId
    this.#requestTimeoutMs = options.requestTimeoutMs
    this.#closedPromise = new Promise((resolve) => {
      this.#resolveClosed = resolve
    })
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.on('error', (error: Error) => this.#fail(this.#broken(error.message, error)))
    stream.on('close', () => {
      this.#fail(this.#broken('the broker closed the connection'))
      this.#resolveClosed()
    })
  }

  /** Connects and asks for the versions. Throws ConnectionError or UnsupportedVersionError. */
  static async open(options: BrokerConnectionOptions): Promise<BrokerConnection> {
    const connection = new BrokerConnection(await openStream(options), options)
    try {
      await connection.#negotiate(options.connectTimeoutMs)
      return connection
    } catch (error) {
      connection.#stream.destroy()
      // A broker before 0.10 closes the connection on a request that it does not know.
      const mayBeOld = error instanceof ConnectionError && options.legacyBrokers === true
      if (!mayBeOld) throw error
    }
    const legacy = new BrokerConnection(await openStream(options), options)
    legacy.apiVersions = LEGACY_VERSIONS
    return legacy
  }

  get isOpen(): boolean {
    return this.#closed === null
  }

  /** Requests that are not answered yet. */
  get pending(): number {
    return this.#waiting.length
  }

  /** Whether a request waits for longer than those do that wait for records as a rule. */
  get isOverdue(): boolean {
    const first = this.#waiting[0]
    return first !== undefined && performance.now() - first.sentMs > OVERDUE_MS
  }

  /** Resolves when the connection is closed, by whichever side. */
  get closed(): Promise<void> {
    return this.#closedPromise
  }

  /** Highest version of the API that both sides serve. Throws UnsupportedVersionError. */
  versionOf(api: ApiSchema): number {
    const ours = parseVersions(api.versions)
    const theirs = this.apiVersions.get(api.key)
    const version = theirs === undefined ? -1 : Math.min(ours.max, theirs[1])
    if (theirs === undefined || version < Math.max(ours.min, theirs[0])) {
      throw new UnsupportedVersionError(
        `the broker at ${this.host}:${this.port} does not serve ${api.name} in a version known here`,
      )
    }
    return version
  }

  /** Whether the broker serves some version of the API that is known here. */
  supports(api: ApiSchema): boolean {
    const ours = parseVersions(api.versions)
    const theirs = this.apiVersions.get(api.key)
    return theirs !== undefined && theirs[0] <= ours.max && theirs[1] >= ours.min
  }

  /**
   * Sends a request and decodes its answer. Rejects with ConnectionError, RequestTimeoutError,
   * UnsupportedVersionError, ProtocolError or, after `close`, ClientClosedError.
   */
  async send<A extends ApiSchema>(
    api: A,
    request: RequestInput<A>,
    options: SendOptions = {},
  ): Promise<ResponseOf<A>> {
    return (await this.sendFramed(api, request, options)).response
  }

  /** As `send`, with the bytes that the places of `records` fields point into. */
  async sendFramed<A extends ApiSchema>(
    api: A,
    request: RequestInput<A>,
    options: SendOptions = {},
  ): Promise<FramedResponse<A>> {
    const version = options.version ?? this.versionOf(api)
    options.signal?.throwIfAborted()
    const correlationId = this.#write(api, version, request, options.payloads)
    const frame = await this.#answer(api, correlationId, options)
    return { response: this.#decode(api, version, frame), frame, version }
  }

  /** What cannot be read closes the connection. Throws ProtocolError. */
  #decode<A extends ApiSchema>(api: A, version: number, frame: Buffer): ResponseOf<A> {
    try {
      this.#reader.reset(frame, 0, frame.length, false)
      readResponseHeader(this.#reader, api, version)
      return decodeResponse(api, version, this.#reader)
    } catch (error) {
      const violation = new ProtocolError(
        `the answer of ${this.host}:${this.port} to ${api.name} cannot be read: ${messageOf(error)}`,
        error,
      )
      this.#fail(violation)
      this.#stream.destroy()
      throw violation
    }
  }

  /**
   * Sends a request that gets no answer (Produce with acks 0). Resolves when the system has taken
   * it; rejects with ConnectionError.
   */
  async sendWithoutResponse<A extends ApiSchema>(
    api: A,
    request: RequestInput<A>,
    options: Pick<SendOptions, 'version' | 'payloads'> = {},
  ): Promise<void> {
    this.#write(api, options.version ?? this.versionOf(api), request, options.payloads)
    await new Promise<void>((resolve, reject) => {
      // Behind all that was written before.
      this.#stream.write(NOTHING, (error) => {
        if (error) reject(this.#broken(error.message, error))
        else resolve()
      })
    })
  }

  /** Resolves when the stream takes more bytes without piling them up. */
  async writable(): Promise<void> {
    if (this.#closed !== null || !this.#stream.writableNeedDrain) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#stream.off('drain', done)
        this.#stream.off('close', done)
        resolve()
      }
      this.#stream.on('drain', done)
      this.#stream.on('close', done)
    })
  }

  /** Fails what is not answered with ClientClosedError, after what is written has gone out. */
  async close(): Promise<void> {
    this.#fail(new ClientClosedError())
    this.#stream.end(() => this.#stream.destroy())
    // A broker that does not read must not keep this one open.
    const timer = setTimeout(() => this.#stream.destroy(), CLOSE_WAIT_MS)
    await this.#closedPromise
    clearTimeout(timer)
  }

  async #negotiate(timeoutMs: number): Promise<void> {
    const ours = parseVersions(ApiVersions.versions)
    let answer = await this.#askVersions(ours.max, timeoutMs)
    if (answer.errorCode === ErrorCode.UNSUPPORTED_VERSION) {
      const theirs = answer.apiKeys.find(({ apiKey }) => apiKey === ApiVersions.key)
      answer = await this.#askVersions(Math.min(ours.max, theirs?.maxVersion ?? 0), timeoutMs)
    }
    if (answer.errorCode !== 0) {
      throw new UnsupportedVersionError(
        `the broker at ${this.host}:${this.port} does not say which versions it serves (error ${answer.errorCode})`,
      )
    }
    this.apiVersions = new Map(
      answer.apiKeys.map(({ apiKey, minVersion, maxVersion }) => [
        apiKey,
        [minVersion, maxVersion] as const,
      ]),
    )
  }

  async #askVersions(version: number, timeoutMs: number): Promise<ResponseOf<typeof ApiVersions>> {
    const request = { clientSoftwareName: SOFTWARE_NAME, clientSoftwareVersion: SOFTWARE_VERSION }
    const correlationId = this.#write(ApiVersions, version, request)
    const frame = await this.#answer(ApiVersions, correlationId, { timeoutMs })
    // A broker that does not know the version refuses it in version 0.
    const isRefusal =
      frame.length >= 6 && frame.readInt16BE(4) === ErrorCode.UNSUPPORTED_VERSION && version > 0
    return this.#decode(ApiVersions, isRefusal ? 0 : version, frame)
  }

  #write<A extends ApiSchema>(
    api: A,
    version: number,
    request: RequestInput<A>,
    payloads: readonly Uint8Array[] = [],
  ): number {
    if (this.#closed !== null) throw this.#closed
    const correlationId = this.#nextCorrelationId
    this.#nextCorrelationId = correlationId === 0x7fffffff ? 1 : correlationId + 1
    const writer = this.#writer.reset()
    writeRequestFrame(
      writer,
      api,
      { apiVersion: version, correlationId, clientId: this.#clientId },
      request,
    )
    // Requests of one turn leave in one system call.
    if (!this.#corked) {
      this.#corked = true
      this.#stream.cork()
      process.nextTick(this.#uncork)
    }
    if (writer.cuts.length > 0) this.#writePieces(payloads)
    else this.#stream.write(Buffer.from(writer.written))
    return correlationId
  }

  readonly #uncork = (): void => {
    this.#corked = false
    this.#stream.uncork()
  }

  /** What the writer holds, with the payloads where it left them out. */
  #writePieces(payloads: readonly Uint8Array[]): void {
    const { cuts, written, payloadBytes } = this.#writer
    invariant(cuts.length === payloads.length, 'a payload for each records field')
    const isSmall = payloadBytes <= COPIED_BYTES_MAX
    const head = Buffer.allocUnsafe(written.length + (isSmall ? payloadBytes : 0))
    let from = 0
    let at = 0
    for (let i = 0; i <= cuts.length; i += 1) {
      const to = cuts[i] ?? written.length
      const start = at
      at += written.copy(head, at, from, to)
      from = to
      if (!isSmall && at > start) this.#stream.write(head.subarray(start, at))
      const payload = payloads[i]
      if (payload === undefined) continue
      if (isSmall) {
        head.set(payload, at)
        at += payload.length
      } else {
        this.#stream.write(payload)
      }
    }
    if (isSmall) this.#stream.write(head)
  }

  #answer(api: ApiSchema, correlationId: number, options: SendOptions): Promise<Buffer> {
    const { signal } = options
    const sentMs = performance.now()
    const deadlineMs = sentMs + (options.timeoutMs ?? this.#requestTimeoutMs)
    return new Promise((resolve, reject) => {
      const onAbort = (): void => reject(signal?.reason as Error)
      signal?.addEventListener('abort', onAbort, { once: true })
      const settled = (): void => signal?.removeEventListener('abort', onAbort)
      this.#waiting.push({
        correlationId,
        what: api.name,
        sentMs,
        deadlineMs,
        resolve: (frame) => {
          settled()
          resolve(frame)
        },
        reject: (error) => {
          settled()
          reject(error)
        },
      })
      if (deadlineMs < this.#alarmMs) this.#arm()
    })
  }

  /** One timer for the earliest deadline; it keeps the process alive only while somebody waits. */
  #arm(): void {
    this.#disarm()
    for (const { deadlineMs } of this.#waiting) this.#alarmMs = Math.min(this.#alarmMs, deadlineMs)
    if (this.#alarmMs === Number.POSITIVE_INFINITY) return
    const delay = Math.max(1, Math.ceil(this.#alarmMs - performance.now()))
    this.#timer = setTimeout(this.#alarm, Math.min(delay, 0x7fffffff))
  }

  #disarm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#alarmMs = Number.POSITIVE_INFINITY
  }

  readonly #alarm = (): void => {
    const now = performance.now()
    const late = this.#waiting.find(({ deadlineMs }) => deadlineMs <= now)
    if (late === undefined) {
      this.#arm()
      return
    }
    this.#fail(
      new RequestTimeoutError(`${this.host}:${this.port} did not answer ${late.what} in time`),
    )
    this.#stream.destroy()
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#chunkBytes += chunk.length
    while (this.#closed === null && this.#chunkBytes >= this.#wanted) {
      const first = this.#chunks[0] as Buffer
      const bytes = this.#chunks.length === 1 ? first : Buffer.concat(this.#chunks)
      this.#chunks = [bytes]
      const size = bytes.readInt32BE(0)
      if (size < 4 || size > FRAME_BYTES_MAX) {
        this.#fail(
          new ProtocolError(
            `${this.host}:${this.port} sent a length of ${size}: it is not a Kafka broker`,
          ),
        )
        this.#stream.destroy()
        return
      }
      this.#wanted = 4 + size
      if (bytes.length < this.#wanted) return
      this.#deliver(bytes.subarray(4, this.#wanted))
      const rest = bytes.subarray(this.#wanted)
      this.#chunks = rest.length === 0 ? [] : [rest]
      this.#chunkBytes = rest.length
      this.#wanted = 4
    }
  }

  #deliver(frame: Buffer): void {
    const one = this.#waiting.shift()
    const correlationId = frame.readInt32BE(0)
    if (one === undefined || one.correlationId !== correlationId) {
      const violation = new ProtocolError(
        `${this.host}:${this.port} answered request ${correlationId} where ${one?.correlationId ?? 'none'} was due`,
      )
      one?.reject(violation)
      this.#fail(violation)
      this.#stream.destroy()
      return
    }
    if (this.#waiting.length === 0) this.#disarm()
    one.resolve(frame)
  }

  #broken(why: string, cause?: unknown): ConnectionError {
    return new ConnectionError(`the connection to ${this.host}:${this.port} broke: ${why}`, cause)
  }

  #fail(error: Error): void {
    if (this.#closed !== null) return
    this.#closed = error
    this.#disarm()
    this.#chunks = []
    for (const one of this.#waiting.splice(0)) one.reject(error)
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function openStream(options: BrokerConnectionOptions): Promise<Duplex> {
  const { host, port, connectTimeoutMs } = options
  if (options.connect !== undefined) return Promise.resolve(options.connect(host, port))
  return new Promise((resolve, reject) => {
    const socket: Socket = connectSocket({ host, port, noDelay: true })
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new ConnectionError(`${host}:${port} did not take a connection in time`))
    }, connectTimeoutMs)
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer)
      // A host with several addresses fails with all of their errors.
      const code = error.code ?? (error as AggregateError).errors?.[0]?.code
      const why = code === 'ECONNREFUSED' ? 'connection refused' : error.message || String(code)
      reject(new ConnectionError(`cannot connect to ${host}:${port}: ${why}`, error))
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', failed)
      resolve(socket)
    })
  })
}
