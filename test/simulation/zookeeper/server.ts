/**
 * One server of a simulated ensemble: its copy of the tree, and the connections of its clients.
 * Answers of a connection come in the order of its requests, and watches in order with them.
 */
import {
  ClientCode,
  type ClientOperation,
  type ClientReply,
  type SessionCredentials,
} from '../../../src/registry/zookeeper/client.ts'
import type { Handlers, Wire } from '../network.ts'
import { SimulatedProcess } from '../simulated-process.ts'
import type { Decision, Session, SimulatedEnsemble } from './ensemble.ts'
import { isPath, statOf, Tree, type Watcher } from './tree.ts'

export type ToServer =
  | {
      readonly kind: 'hello'
      readonly credentials: SessionCredentials | null
      readonly timeoutMs: number
    }
  | { readonly kind: 'ping' }
  | { readonly kind: 'operation'; readonly operation: ClientOperation }
  | { readonly kind: 'end-session' }

export type ToClient =
  | {
      readonly kind: 'welcome'
      readonly credentials: SessionCredentials
      readonly timeoutMs: number
    }
  | { readonly kind: 'expired' }
  | { readonly kind: 'pong' }
  | { readonly kind: 'reply'; readonly reply: ClientReply }
  | { readonly kind: 'changed'; readonly path: string }

export class EnsembleServer {
  readonly process: SimulatedProcess
  readonly tree = new Tree()
  /** How many of the decided transactions it has applied. */
  applied = 0
  /** More than what its lag is by chance. */
  extraLagMs = 0
  readonly #ensemble: SimulatedEnsemble
  readonly #connections = new Set<ServerConnection>()
  #isApplying = false

  constructor(ensemble: SimulatedEnsemble, name: string) {
    this.#ensemble = ensemble
    this.process = new SimulatedProcess(ensemble.world, name)
    this.start()
  }

  get name(): string {
    return this.process.name
  }

  get isUp(): boolean {
    return this.process.isUp
  }

  start(): void {
    this.process.start()
    this.#isApplying = false
    this.#ensemble.network.serve<ToClient, ToServer>(this.process, 'zookeeper', (_, wire) => {
      if (this.#ensemble.leader === null) return null
      const connection = new ServerConnection(this.#ensemble, this, wire)
      this.#connections.add(connection)
      return connection
    })
  }

  kill(): void {
    this.#forgetConnections()
    this.process.kill()
  }

  /** The leader is gone: nobody can be served. */
  dropConnections(): void {
    for (const connection of [...this.#connections]) connection.close()
  }

  forget(connection: ServerConnection): void {
    this.#connections.delete(connection)
    this.tree.forget(connection)
  }

  /** Something was decided. */
  hear(): void {
    if (!this.isUp || this.#isApplying) return
    const isLeader = this === this.#ensemble.leader
    this.#isApplying = true
    this.process.at(isLeader ? 0 : this.#ensemble.lag() + this.extraLagMs, () => this.catchUp())
  }

  /** Applies everything that was decided until now. */
  catchUp(): void {
    this.#isApplying = false
    const { decided } = this.#ensemble
    while (this.applied < decided.length) {
      const one = decided[this.applied] as (typeof decided)[number]
      this.applied += 1
      this.tree.apply(one.transaction, one.zxid)
    }
    for (const connection of [...this.#connections]) connection.flush()
  }

  get appliedZxid(): number {
    return this.#ensemble.decided[this.applied - 1]?.zxid ?? 0
  }

  #forgetConnections(): void {
    for (const connection of [...this.#connections]) connection.forget()
  }
}

interface Request {
  /** null ends the session. */
  readonly operation: ClientOperation | null
  /** Of a write, once it is decided; of a sync, once it is known how far to go. */
  decision: Decision | null
}

class ServerConnection implements Handlers<ToServer>, Watcher {
  readonly #ensemble: SimulatedEnsemble
  readonly #server: EnsembleServer
  readonly #wire: Wire<ToClient>
  #session: Session | null = null
  #requests: Request[] = []
  #isOver = false

  constructor(ensemble: SimulatedEnsemble, server: EnsembleServer, wire: Wire<ToClient>) {
    this.#ensemble = ensemble
    this.#server = server
    this.#wire = wire
  }

  received(message: ToServer): void {
    if (this.#isOver) return
    if (message.kind === 'hello') {
      this.#greet(message.credentials, message.timeoutMs)
      return
    }
    const session = this.#session
    if (session === null) return
    session.heardMs = this.#ensemble.world.nowMs
    if (message.kind === 'ping') this.#wire.send({ kind: 'pong' })
    else this.#take(session, message.kind === 'operation' ? message.operation : null)
  }

  lost(): void {
    this.forget()
  }

  fired(path: string): void {
    this.#wire.send({ kind: 'changed', path })
  }

  close(): void {
    if (this.#isOver) return
    this.forget()
    this.#wire.close()
  }

  forget(): void {
    this.#isOver = true
    if (this.#session?.connection === this) this.#session.connection = null
    this.#server.forget(this)
  }

  /** Answers what can be answered by now. */
  flush(): void {
    for (;;) {
      const first = this.#requests[0]
      if (first === undefined || this.#isOver) return
      const { operation, decision } = first
      const isRead = operation !== null && isReading(operation)
      if (!isRead && (decision === null || this.#server.appliedZxid < decision.zxid)) return
      this.#requests.shift()
      if (operation === null) continue
      const reply = isRead ? this.#read(operation) : this.#written(operation, decision as Decision)
      this.#wire.send({ kind: 'reply', reply })
    }
  }

  #greet(credentials: SessionCredentials | null, timeoutMs: number): void {
    const ensemble = this.#ensemble
    // The leader decides on sessions.
    ensemble.world.schedule(ensemble.lag(), () => {
      if (this.#isOver) return
      if (ensemble.leader === null) {
        this.close()
        return
      }
      const session =
        credentials === null
          ? ensemble.openSession(timeoutMs)
          : ensemble.sessions.get(credentials.id)
      if (session === undefined || (credentials && credentials.password !== session.password)) {
        this.#wire.send({ kind: 'expired' })
        this.close()
        return
      }
      session.connection?.close()
      session.connection = this
      session.heardMs = ensemble.world.nowMs
      this.#session = session
      const { id, password } = session
      this.#wire.send({
        kind: 'welcome',
        credentials: { id, password },
        timeoutMs: session.timeoutMs,
      })
    })
  }

  #take(session: Session, operation: ClientOperation | null): void {
    const request: Request = { operation, decision: null }
    this.#requests.push(request)
    if (operation !== null && isReading(operation)) {
      this.flush()
      return
    }
    const decided = (decision: Decision | null): void => {
      if (decision === null) {
        this.close()
        return
      }
      request.decision = decision
      this.flush()
    }
    if (operation === null) this.#ensemble.closeSession(session, decided)
    else if (operation.kind === 'sync') {
      const ensemble = this.#ensemble
      ensemble.world.schedule(ensemble.lag(), () => {
        if (ensemble.leader === null) return
        decided({ code: 0, zxid: ensemble.decided.at(-1)?.zxid ?? 0 })
      })
    } else if (isWriting(operation)) {
      this.#ensemble.submit({ session, write: operation, decided })
    }
  }

  #read(operation: ClientOperation): ClientReply {
    const { path } = operation
    if (!isPath(path)) return { code: ClientCode.BAD_ARGUMENTS }
    this.#ensemble.onRead?.(path)
    const { tree } = this.#server
    const node = tree.node(path)
    const watch = 'watch' in operation && operation.watch
    if (watch && (node !== undefined || operation.kind === 'exists')) {
      if (operation.kind === 'children') tree.watchChildren(path, this)
      else tree.watchData(path, this)
    }
    if (node === undefined) return { code: ClientCode.NO_NODE }
    if (operation.kind === 'children') return { code: 0, names: [...node.children] }
    const stat = statOf(node)
    return operation.kind === 'get' ? { code: 0, stat, data: node.data } : { code: 0, stat }
  }

  #written(operation: ClientOperation, decision: Decision): ClientReply {
    const { code } = decision
    if (code !== 0) return { code }
    if (operation.kind === 'create') return { code, path: decision.path ?? operation.path }
    if (operation.kind !== 'set') return { code }
    const node = this.#server.tree.node(operation.path)
    // Others may have written since; what this write made of the node is what is answered.
    const stat = node === undefined ? GONE : statOf(node)
    return { code, stat: { ...stat, version: decision.version ?? 0 } }
  }
}

const GONE = { version: 0, czxid: 0, ctimeMs: 0, ephemeralOwner: '0' }

function isReading(operation: ClientOperation): boolean {
  return operation.kind === 'get' || operation.kind === 'exists' || operation.kind === 'children'
}

function isWriting(
  operation: ClientOperation,
): operation is Extract<ClientOperation, { kind: 'create' | 'set' | 'delete' }> {
  return operation.kind === 'create' || operation.kind === 'set' || operation.kind === 'delete'
}
