/**
 * What the registry asks of a ZooKeeper client: one connection to one server, on behalf of a
 * session. `ZooKeeperSession` makes a session of many such connections, so that a simulated
 * ensemble can stand in for a real one below everything that production runs.
 */

/** ZooKeeper's codes that the registry tells apart; all others are failures. */
export const ClientCode = {
  OK: 0,
  /** The connection went while the answer was on its way: the outcome is not known. */
  CONNECTION_LOSS: -4,
  BAD_ARGUMENTS: -8,
  NO_NODE: -101,
  NO_AUTH: -102,
  BAD_VERSION: -103,
  NO_CHILDREN_FOR_EPHEMERALS: -108,
  NODE_EXISTS: -110,
  NOT_EMPTY: -111,
} as const

export type ClientOperation =
  | { readonly kind: 'get' | 'exists' | 'children'; readonly path: string; readonly watch: boolean }
  | {
      readonly kind: 'create'
      readonly path: string
      readonly data: string
      readonly isEphemeral: boolean
      /** The server adds ten digits to the path. */
      readonly isSequential: boolean
    }
  | { readonly kind: 'set'; readonly path: string; readonly data: string; readonly version: number }
  | { readonly kind: 'delete'; readonly path: string; readonly version: number }
  /** Answers when the server has caught up with all that was decided before. */
  | { readonly kind: 'sync'; readonly path: string }

export interface NodeStat {
  readonly version: number
  /** Number of the transaction that created the node: it grows over the whole ensemble. */
  readonly czxid: number
  /** Wall clock of the server, ms since 1970. */
  readonly ctimeMs: number
  /** Hexadecimal id of the session that an ephemeral node belongs to, '0' if it is none. */
  readonly ephemeralOwner: string
}

export interface ClientReply {
  readonly code: number
  /** Of get, exists and set. */
  readonly stat?: NodeStat
  /** Of get. */
  readonly data?: string
  /** Of children. */
  readonly names?: readonly string[]
  /** Of create: with the digits that a sequential node got. */
  readonly path?: string
}

/** With these a session is taken up again on another connection. */
export interface SessionCredentials {
  /** Hexadecimal. */
  readonly id: string
  /** 32 hexadecimal digits. */
  readonly password: string
}

export interface ServerAddress {
  readonly host: string
  readonly port: number
}

export interface ClientEvents {
  /**
   * The connection is gone, the session may still live. It comes before the operations under way
   * answer CONNECTION_LOSS, and nothing else is called after it.
   */
  disconnected(): void
  /** A watch on the path fired; the watch is gone. */
  changed(path: string): void
}

export interface ZooKeeperClient {
  readonly credentials: SessionCredentials
  /** What the server granted. */
  readonly sessionTimeoutMs: number
  /**
   * Sends an operation; operations are carried out in this order. `done` is called once, with
   * CONNECTION_LOSS if the connection goes first.
   */
  submit(operation: ClientOperation, done: (reply: ClientReply) => void): void
  /** Ends the session: its ephemeral nodes go. No event is called any more. */
  close(): void
}

export interface ConnectOptions {
  readonly server: ServerAddress
  readonly sessionTimeoutMs: number
  /** Of the session to take up again; null begins one. */
  readonly credentials: SessionCredentials | null
  /** For the connection and the server's word on the session. */
  readonly patienceMs: number
  readonly events: ClientEvents
}

/** Connects to one server. Rejects with a ConnectError. */
export type ConnectClient = (options: ConnectOptions) => Promise<ZooKeeperClient>

/** `expired`: the server said that the session to be taken up is over. */
export type ConnectErrorKind = 'unreachable' | 'expired' | 'missing-package'

export class ConnectError extends Error {
  readonly kind: ConnectErrorKind

  constructor(kind: ConnectErrorKind, message: string, options?: { cause: unknown }) {
    super(message, options)
    this.name = 'ConnectError'
    this.kind = kind
  }
}
