/** The client of a simulated ensemble that a process has: production runs above it as it is. */
import {
  ClientCode,
  type ClientEvents,
  type ClientOperation,
  type ClientReply,
  type ConnectClient,
  ConnectError,
  type ConnectOptions,
  type SessionCredentials,
  type ZooKeeperClient,
} from '../../../src/registry/zookeeper/client.ts'
import type { Timer } from '../../../src/util/timer-queue.ts'
import type { Handlers, Wire } from '../network.ts'
import type { SimulatedProcess } from '../simulated-process.ts'
import type { SimulatedEnsemble } from './ensemble.ts'
import type { ToClient, ToServer } from './server.ts'

export function simulatedConnect(
  ensemble: SimulatedEnsemble,
  process: SimulatedProcess,
): ConnectClient {
  return async (options) => {
    const server = ensemble.server(options.server.host)
    if (server === undefined) throw new ConnectError('unreachable', 'no such server')
    const to = { process: server.process, service: 'zookeeper' }
    let client: SimulatedClient | null = null
    try {
      await ensemble.network.connect<ToServer, ToClient>(
        process,
        to,
        options.patienceMs,
        (wire) => {
          client = new SimulatedClient(process, wire, options)
          return client
        },
      )
    } catch (error) {
      throw new ConnectError('unreachable', String(error))
    }
    return (client as SimulatedClient | null as SimulatedClient).welcomed
  }
}

class SimulatedClient implements ZooKeeperClient, Handlers<ToClient> {
  readonly #process: SimulatedProcess
  readonly #wire: Wire<ToServer>
  readonly #events: ClientEvents
  readonly #pending: ((reply: ClientReply) => void)[] = []
  readonly welcomed: Promise<ZooKeeperClient>
  #settle: {
    resolve: (client: ZooKeeperClient) => void
    reject: (error: ConnectError) => void
  } | null = null
  #patience: Timer
  #pinging: Timer | null = null
  #heardMs: number
  #isOver = false
  credentials: SessionCredentials = { id: '0', password: '' }
  sessionTimeoutMs = 0

  constructor(process: SimulatedProcess, wire: Wire<ToServer>, options: ConnectOptions) {
    this.#process = process
    this.#wire = wire
    this.#events = options.events
    this.#heardMs = process.world.nowMs
    this.welcomed = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
    })
    this.#patience = process.at(options.patienceMs, () => this.#refuse('unreachable', 'no answer'))
    const { credentials, sessionTimeoutMs } = options
    wire.send({ kind: 'hello', credentials, timeoutMs: sessionTimeoutMs })
  }

  submit(operation: ClientOperation, done: (reply: ClientReply) => void): void {
    if (this.#isOver) {
      done({ code: ClientCode.CONNECTION_LOSS })
      return
    }
    this.#pending.push(done)
    this.#wire.send({ kind: 'operation', operation })
  }

  close(): void {
    if (this.#isOver) return
    this.#wire.send({ kind: 'end-session' })
    this.#give()
  }

  received(message: ToClient): void {
    if (this.#isOver) return
    this.#heardMs = this.#process.world.nowMs
    switch (message.kind) {
      case 'welcome': {
        this.credentials = message.credentials
        this.sessionTimeoutMs = message.timeoutMs
        this.#patience.cancel()
        this.#ping()
        const settle = this.#settle
        this.#settle = null
        settle?.resolve(this)
        return
      }
      case 'expired':
        this.#refuse('expired', 'the session is over')
        return
      case 'reply':
        this.#pending.shift()?.(message.reply)
        return
      case 'changed':
        this.#events.changed(message.path)
        return
      case 'pong':
        return
    }
  }

  lost(): void {
    if (this.#settle !== null) {
      this.#refuse('unreachable', 'the connection was closed')
      return
    }
    if (this.#isOver) return
    this.#isOver = true
    this.#events.disconnected()
    this.#give()
  }

  #refuse(kind: 'unreachable' | 'expired', why: string): void {
    const settle = this.#settle
    this.#settle = null
    this.#give()
    settle?.reject(new ConnectError(kind, why))
  }

  /** As the real client: pings after a third of the time-out, gone when two thirds are silent. */
  #ping(): void {
    const everyMs = this.sessionTimeoutMs / 3
    const silentMs = this.#process.world.nowMs - this.#heardMs
    this.#pinging = this.#process.at(Math.min(everyMs, 2 * everyMs - silentMs), () => {
      if (this.#process.world.nowMs - this.#heardMs >= 2 * everyMs) {
        this.lost()
        return
      }
      this.#wire.send({ kind: 'ping' })
      this.#ping()
    })
  }

  #give(): void {
    this.#isOver = true
    this.#patience.cancel()
    this.#pinging?.cancel()
    this.#wire.close()
    for (const done of this.#pending.splice(0)) done({ code: ClientCode.CONNECTION_LOSS })
  }
}
