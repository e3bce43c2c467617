/**
 * ZooKeeperClient on the `zookeeper` package, the only file that loads it.
 *
 * One instance of the package's client is one connection here: as soon as it loses the connection
 * it is given up, because left to itself it sleeps up to a third of the session time-out between
 * its attempts, keeps writes for later and re-sets watches in one packet of any size. Whoever wants
 * the session back connects again with its credentials.
 *
 * Main thread only: the package is built on NAN.
 */
import { createRequire } from 'node:module'
import { connect as connectSocket } from 'node:net'
import {
  ClientCode,
  type ClientOperation,
  type ClientReply,
  ConnectError,
  type ConnectOptions,
  type NodeStat,
  type SessionCredentials,
  type ZooKeeperClient,
} from './client.ts'
import { serverText } from './connect-string.ts'

const EPHEMERAL_FLAG = 1
const SEQUENTIAL_FLAG = 2
/** The package gives up a session after so many turns without an answer; ours are timed instead. */
const IDLE_TURNS_MAX = 0x7fffffff

interface PackageStat {
  readonly version: number
  readonly czxid: number
  readonly ctime: Date
  readonly ephemeralOwner: string
}

type Done = (code: number, text: string, ...rest: unknown[]) => void

/** The package's own binding: its wrapper formats all arguments of every call for a log. */
interface PackageBinding {
  a_create(path: string, data: string, flags: number, done: Done): number
  a_get(path: string, watch: boolean, done: Done): number
  a_exists(path: string, watch: boolean, done: Done): number
  a_get_children(path: string, watch: boolean, done: Done): number
  a_set(path: string, data: string, version: number, done: Done): number
  a_delete_(path: string, version: number, done: Done): number
  a_sync(path: string, done: Done): number
}

interface PackageClient {
  readonly native: PackageBinding
  readonly client_id: string
  readonly client_password: string
  readonly timeout: number
  on(event: string, listener: (source: unknown, detail: unknown) => void): void
  init(options: Record<string, unknown>): void
  close(): void
}

type PackageConstructor = new () => PackageClient

let loaded: PackageConstructor | null = null

function loadPackage(): PackageConstructor {
  if (loaded !== null) return loaded
  const require = createRequire(import.meta.url)
  try {
    loaded = require('zookeeper') as PackageConstructor
    return loaded
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
    const what = isMissing ? 'is not installed' : 'cannot be loaded'
    throw new ConnectError(
      'missing-package',
      `zookeeper.connect needs the npm package zookeeper, which ${what}; npm install zookeeper`,
      { cause: error },
    )
  }
}

/** Connects to a real ZooKeeper server. Rejects with a ConnectError. */
export async function connectNativeClient(options: ConnectOptions): Promise<ZooKeeperClient> {
  const Package = loadPackage()
  const address = await probe(options)
  return NativeClient.connect(new Package(), address, options)
}

/**
 * Whether the server takes connections, and its address: the package would look the name up on
 * this thread, and would not tell that it was refused.
 */
function probe({ server, patienceMs }: ConnectOptions): Promise<string> {
  return new Promise((found, fail) => {
    const socket = connectSocket({ host: server.host, port: server.port, timeout: patienceMs })
    const give = (why: string, cause?: unknown): void => {
      socket.destroy()
      fail(new ConnectError('unreachable', `${serverText(server)}: ${why}`, { cause }))
    }
    socket.once('connect', () => {
      const address = socket.remoteAddress
      socket.destroy()
      if (address === undefined) give('the connection was closed at once')
      else found(`${address}:${server.port}`)
    })
    socket.once('timeout', () => give('no answer'))
    socket.once('error', (error: NodeJS.ErrnoException) => give(error.code ?? error.message, error))
  })
}

class NativeClient implements ZooKeeperClient {
  readonly #client: PackageClient
  readonly #options: ConnectOptions
  readonly #pending = new Set<(reply: ClientReply) => void>()
  #settle: { resolve: (client: NativeClient) => void; reject: (error: unknown) => void } | null
  #patience: NodeJS.Timeout
  #isOver = false
  credentials: SessionCredentials = { id: '0', password: '' }
  sessionTimeoutMs: number

  private constructor(
    client: PackageClient,
    options: ConnectOptions,
    settle: { resolve: (client: NativeClient) => void; reject: (error: unknown) => void },
  ) {
    this.#client = client
    this.#options = options
    this.#settle = settle
    this.sessionTimeoutMs = options.sessionTimeoutMs
    this.#patience = setTimeout(() => this.#fail('unreachable', 'no answer'), options.patienceMs)
  }

  static connect(
    client: PackageClient,
    address: string,
    options: ConnectOptions,
  ): Promise<NativeClient> {
    return new Promise((resolve, reject) => {
      const self = new NativeClient(client, options, { resolve, reject })
      self.#start(address)
    })
  }

  #start(address: string): void {
    const { credentials, sessionTimeoutMs, events } = this.#options
    const client = this.#client
    client.on('connect', () => this.#connected())
    client.on('connecting', () => this.#lost())
    client.on('close', () => this.#lost())
    for (const event of ['created', 'changed', 'deleted', 'child']) {
      client.on(event, (_, path) => {
        if (!this.#isOver) events.changed(String(path))
      })
    }
    client.init({
      connect: address,
      timeout: sessionTimeoutMs,
      debug_level: 0,
      host_order_deterministic: false,
      response_counter_limit: IDLE_TURNS_MAX,
      ...(credentials === null
        ? {}
        : { client_id: credentials.id, client_password: credentials.password }),
    })
  }

  #connected(): void {
    if (this.#settle === null) return
    clearTimeout(this.#patience)
    const { resolve } = this.#settle
    this.#settle = null
    this.credentials = { id: this.#client.client_id, password: this.#client.client_password }
    this.sessionTimeoutMs = this.#client.timeout
    resolve(this)
  }

  /** Before the connection stands the package only closes by itself where a session is over. */
  #lost(): void {
    if (this.#settle !== null) {
      this.#fail('expired', 'the session is over')
      return
    }
    if (this.#isOver) return
    this.#isOver = true
    this.#options.events.disconnected()
    this.#give()
  }

  #fail(kind: 'unreachable' | 'expired', why: string): void {
    const settle = this.#settle
    this.#settle = null
    this.#give()
    settle?.reject(new ConnectError(kind, `${serverText(this.#options.server)}: ${why}`))
  }

  /** Nothing more comes of this connection. Unless it stands, the server does not hear of it. */
  #give(): void {
    clearTimeout(this.#patience)
    this.#isOver = true
    this.#client.close()
    const pending = [...this.#pending]
    this.#pending.clear()
    for (const done of pending) done({ code: ClientCode.CONNECTION_LOSS })
  }

  submit(operation: ClientOperation, done: (reply: ClientReply) => void): void {
    if (this.#isOver) {
      done({ code: ClientCode.CONNECTION_LOSS })
      return
    }
    this.#pending.add(done)
    const answer = (reply: ClientReply): void => {
      if (this.#pending.delete(done)) done(reply)
    }
    const refused = issue(this.#client.native, operation, answer)
    if (refused !== 0) answer({ code: refused })
  }

  close(): void {
    if (!this.#isOver) this.#give()
  }
}

function issue(
  binding: PackageBinding,
  operation: ClientOperation,
  answer: (reply: ClientReply) => void,
): number {
  const { path } = operation
  switch (operation.kind) {
    case 'get':
      return binding.a_get(path, operation.watch, (code, _, stat, data) =>
        answer({ code, ...statPart(stat), data: textOf(data) }),
      )
    case 'exists':
      return binding.a_exists(path, operation.watch, (code, _, stat) =>
        answer({ code, ...statPart(stat) }),
      )
    case 'children':
      return binding.a_get_children(path, operation.watch, (code, _, names) =>
        answer({ code, names: Array.isArray(names) ? (names as string[]) : [] }),
      )
    case 'create': {
      const flags =
        (operation.isEphemeral ? EPHEMERAL_FLAG : 0) |
        (operation.isSequential ? SEQUENTIAL_FLAG : 0)
      return binding.a_create(path, operation.data, flags, (code, _, made) =>
        answer({ code, path: String(made) }),
      )
    }
    case 'set':
      return binding.a_set(path, operation.data, operation.version, (code, _, stat) =>
        answer({ code, ...statPart(stat) }),
      )
    case 'delete':
      return binding.a_delete_(path, operation.version, (code) => answer({ code }))
    case 'sync':
      return binding.a_sync(path, (code) => answer({ code }))
  }
}

function statPart(stat: unknown): { stat?: NodeStat } {
  if (stat === null || stat === undefined) return {}
  const { version, czxid, ctime, ephemeralOwner } = stat as PackageStat
  return { stat: { version, czxid, ctimeMs: Number(ctime), ephemeralOwner } }
}

function textOf(data: unknown): string {
  return Buffer.isBuffer(data) ? data.toString() : ''
}
