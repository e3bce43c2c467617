// Hot path.
/**
 * The TypeScript face of the native transport: listeners, connections, and one callback per loop
 * turn with everything that happened, in order.
 */
import { lookup } from 'node:dns/promises'
import type { Duplex } from 'node:stream'
import { addon, type TransportOptions } from '../native/addon.ts'
import { closeReasons, EVENT_WIDTH, EventKind } from '../native/events.ts'
import { errnoName } from '../util/errno.ts'
import type { Logger } from '../util/logger.ts'
import { Connection } from './connection.ts'
import { InternalConnection } from './internal-connection.ts'
import { OutboundConnection } from './outbound-connection.ts'
import { type Frame, ProtocolViolation, type RequestHandler } from './request-handler.ts'

const ROWS = 1024
const PULL_BYTES = 256 * 1024

export interface TransportEvents {
  readonly handle: RequestHandler
  /** A produce request failed in part: its answer must be encoded from its results. */
  readonly result: (connection: Connection, sequence: number, apiVersion: number) => void
  /** A row that somebody waits for has moved. */
  readonly advanced: (row: number) => void
  readonly storageError: (row: number, errno: number) => void
}

export interface ConnectionLimits {
  readonly maxPerIp: number
  readonly maxPerIpOverrides: ReadonlyMap<string, number>
}

export class Transport {
  readonly id: number
  readonly #rows = new Float64Array(ROWS * EVENT_WIDTH)
  readonly #connections = new Map<number, Connection>()
  readonly #listeners = new Map<number, string>()
  readonly #perIp = new Map<string, number>()
  readonly #piped = new Map<number, () => void>()
  readonly #internal = new Map<number, InternalConnection>()
  readonly #outbound = new Map<number, OutboundConnection>()
  readonly #limits: ConnectionLimits
  readonly #logger: Logger
  #events: TransportEvents | null = null
  #nextListener = 1
  #drained: (() => void) | null = null

  constructor(options: TransportOptions, limits: ConnectionLimits, logger: Logger) {
    this.#limits = limits
    this.#logger = logger
    this.id = addon.openTransport(options, this.#rows, (count) => this.#deliver(count))
  }

  /** Who gets the events; set before the first `listen`. */
  attachEvents(events: TransportEvents): void {
    this.#events = events
  }

  /** Listens on `host` (empty: every interface) and returns the bound port. Throws an Error. */
  async listen(name: string, host: string, port: number, backlog: number): Promise<number> {
    const address = host === '' ? '::' : (await lookup(host)).address
    let bound = addon.listen(this.id, address, port, backlog)
    // A machine without IPv6 listens on every interface of IPv4.
    if (bound < 0 && host === '') bound = addon.listen(this.id, '0.0.0.0', port, backlog)
    if (bound < 0) {
      const where = `${host === '' ? '*' : host}:${port}`
      const why = errnoName(bound)
      throw new Error(
        why === 'EADDRINUSE'
          ? `cannot listen on ${where}: the port is in use by another process`
          : `cannot listen on ${where}: ${why}`,
      )
    }
    this.#listeners.set(this.#nextListener, name)
    this.#nextListener += 1
    return bound
  }

  get connectionCount(): number {
    return this.#connections.size
  }

  find(connection: number): Connection | undefined {
    return this.#connections.get(connection)
  }

  close(connection: Connection): void {
    addon.closeConnection(this.id, connection.id)
  }

  /**
   * Serves a duplex stream (a TLS socket, a pipe) as a connection: same frames, same order, same
   * limits, and the handlers cannot tell the difference.
   */
  attach(stream: Duplex, listenerName: string, address: string): Connection {
    const id = addon.attach(this.id)
    const connection = new Connection(id, listenerName, address)
    this.#connections.set(id, connection)
    const scratch = Buffer.allocUnsafeSlow(PULL_BYTES)
    let blocked = false
    const pull = (): void => {
      if (stream.readableFlowing === false && !addon.wantsPause(this.id, id)) stream.resume()
      while (!blocked) {
        const n = addon.pull(this.id, id, scratch)
        if (n < 0) {
          stream.destroy()
          return
        }
        if (n === 0) return
        blocked = !stream.write(Buffer.from(scratch.subarray(0, n)))
      }
    }
    this.#piped.set(id, pull)
    stream.on('drain', () => {
      blocked = false
      pull()
    })
    stream.on('data', (chunk: Buffer) => {
      const wanted = addon.feed(this.id, id, chunk)
      if (wanted < 0) stream.destroy()
      else if (wanted === 0) stream.pause()
    })
    const closed = (): void => addon.closeConnection(this.id, id)
    stream.on('end', closed)
    stream.on('close', closed)
    stream.on('error', closed)
    connection.onClose.add(() => {
      this.#piped.delete(id)
      stream.destroy()
    })
    return connection
  }

  /** For appends of the broker itself. */
  openInternal(): InternalConnection {
    const connection = new InternalConnection(this.id)
    this.#internal.set(connection.id, connection)
    return connection
  }

  /** Connects to another broker. Rejects with an Error that says why it cannot. */
  async connect(host: string, port: number): Promise<OutboundConnection> {
    const where = `${host}:${port}`
    const { address } = await lookup(host)
    const id = addon.connect(this.id, address, port)
    if (id < 0) throw new Error(`cannot connect to ${where}: ${errnoName(id)}`)
    const connection = new OutboundConnection(this.id, id, where)
    this.#outbound.set(id, connection)
    await connection.opened
    return connection
  }

  /** Stops reading; resolves when the answers of everything in flight are out. */
  async stop(): Promise<void> {
    const drained = new Promise<void>((resolve) => {
      this.#drained = resolve
    })
    addon.stopTransport(this.id)
    await drained
  }

  destroy(): void {
    addon.closeTransport(this.id)
    for (const connection of this.#connections.values()) this.#forget(connection)
    for (const connection of this.#internal.values()) connection.closed()
    this.#internal.clear()
    for (const connection of [...this.#outbound.values()]) connection.closed(0)
    this.#outbound.clear()
  }

  #deliver(count: number): void {
    const rows = this.#rows
    for (let at = 0; at < count * EVENT_WIDTH; at += EVENT_WIDTH) {
      const a = rows[at + 1] as number
      const b = rows[at + 2] as number
      switch (rows[at]) {
        case EventKind.FRAME: {
          const connection = this.#connections.get(a)
          if (connection === undefined) {
            this.#outbound.get(a)?.received(b, rows[at + 3] as number)
            break
          }
          const api = rows[at + 4] as number
          const key = Math.floor(api / 65536)
          const version = api % 65536
          this.#dispatch({
            connection,
            sequence: b,
            bytes: rows[at + 3] as number,
            apiKey: key > 32767 ? key - 65536 : key,
            apiVersion: version > 32767 ? version - 65536 : version,
            correlationId: rows[at + 5] as number,
          })
          break
        }
        case EventKind.OPENED:
          if (b > 0) this.#opened(a, b)
          else if (b < 0) this.#outbound.get(a)?.connected()
          break
        case EventKind.CLOSED:
          this.#closed(a, b, rows[at + 3] as number)
          break
        case EventKind.RESULT: {
          const connection = this.#connections.get(a)
          if (connection !== undefined) {
            this.#events?.result(connection, b, rows[at + 3] as number)
          } else {
            this.#internal.get(a)?.completed(b)
            this.#outbound.get(a)?.appended(b)
          }
          break
        }
        case EventKind.ADVANCED:
          this.#events?.advanced(a)
          break
        case EventKind.OUTPUT:
          this.#piped.get(a)?.()
          break
        case EventKind.STORAGE_ERROR:
          this.#events?.storageError(a, b)
          break
        case EventKind.DRAINED:
          this.#drained?.()
          break
        case EventKind.ACCEPT_ERROR:
          this.#logger.warn({ errno: errnoName(b) }, 'connections cannot be accepted for now')
          break
      }
    }
  }

  #dispatch(frame: Frame): void {
    const connection = frame.connection
    if (connection.busy) {
      connection.held.push(frame)
      return
    }
    let working: void | Promise<void>
    try {
      working = this.#events?.handle(frame)
    } catch (error) {
      this.#violated(connection, error)
      return
    }
    if (working === undefined) return
    connection.busy = true
    working.then(
      () => this.#settled(connection),
      (error: unknown) => {
        this.#violated(connection, error)
        this.#settled(connection)
      },
    )
  }

  #settled(connection: Connection): void {
    connection.busy = false
    while (!connection.busy && !connection.closed) {
      const next = connection.held.shift()
      if (next === undefined) return
      this.#dispatch(next)
    }
  }

  #violated(connection: Connection, error: unknown): void {
    if (!connection.complained && !connection.closed) {
      connection.complained = true
      const fields = { ...connection.describe(), error: String(error) }
      if (error instanceof ProtocolViolation) {
        this.#logger.warn(fields, 'a client broke the protocol; its connection is closed')
      } else {
        const stack = error instanceof Error ? error.stack : undefined
        this.#logger.error({ ...fields, stack }, 'a request failed; its connection is closed')
      }
    }
    this.close(connection)
  }

  #opened(id: number, listener: number): void {
    const address = addon.peerAddress(this.id, id)
    const connection = new Connection(id, this.#listeners.get(listener) ?? 'PLAINTEXT', address)
    this.#connections.set(id, connection)
    const count = (this.#perIp.get(address) ?? 0) + 1
    this.#perIp.set(address, count)
    if (count > (this.#limits.maxPerIpOverrides.get(address) ?? this.#limits.maxPerIp)) {
      this.close(connection)
    }
  }

  #closed(id: number, reason: number, errno: number): void {
    const connection = this.#connections.get(id)
    if (connection === undefined) {
      this.#outbound.get(id)?.closed(errno)
      this.#outbound.delete(id)
      return
    }
    this.#connections.delete(id)
    if (reason > 2 && !connection.complained) {
      const fields = { ...connection.describe(), reason: closeReasons[reason] ?? reason }
      this.#logger.warn(fields, 'a connection was closed')
    } else {
      this.#logger.debug({ ...connection.describe(), reason, errno }, 'connection closed')
    }
    this.#forget(connection)
  }

  #forget(connection: Connection): void {
    connection.closed = true
    connection.held.length = 0
    const left = (this.#perIp.get(connection.address) ?? 1) - 1
    if (left > 0) this.#perIp.set(connection.address, left)
    else this.#perIp.delete(connection.address)
    for (const callback of connection.onClose) callback()
    connection.onClose.clear()
  }
}
