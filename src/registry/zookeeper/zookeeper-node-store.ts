/**
 * The tree of nodes of a ZooKeeper ensemble, below the chroot.
 *
 * ZooKeeper's client of choice has no multi-operation: every write stands alone. A write whose
 * answer was lost is looked up and, if it was not made, repeated within the same session; when the
 * session ended meanwhile it throws `uncertain`.
 *
 * Keeps nothing but its watches, which are set anew with every connection. Main thread only.
 */
import type { Logger } from '../../util/logger.ts'
import type { TimerQueue } from '../../util/timer-queue.ts'
import { ANY_VERSION, RegistryError, type WriteResult } from '../cluster-registry.ts'
import type {
  ChildrenListener,
  CreateOptions,
  NodeStore,
  SessionState,
  StoredNode,
} from '../node-store.ts'
import { ClientCode, type ClientOperation, type ClientReply } from './client.ts'
import { NodeWatches } from './node-watches.ts'
import type { ZooKeeperSession } from './session.ts'

/** What a server takes at most is 1 MiB with everything around it. */
const DATA_BYTES_MAX = 1_000_000

const EXISTS: WriteResult = { ok: false, reason: 'exists' }
const MISSING: WriteResult = { ok: false, reason: 'missing' }
const CHANGED: WriteResult = { ok: false, reason: 'version' }
const CREATED: WriteResult = { ok: true, version: 0 }
const DELETED: WriteResult = { ok: true, version: ANY_VERSION }

export interface ZooKeeperNodeStoreOptions {
  readonly session: ZooKeeperSession
  /** '' or a path without a slash at its end. */
  readonly chroot: string
  readonly timers: TimerQueue
  readonly logger: Logger
  /** Called when the session was ended on purpose. */
  readonly closed?: () => Promise<void>
}

/** What is known of a write once the node has been looked up: its result, or null to repeat it. */
type Verdict = (node: StoredNode | null) => WriteResult | null

export class ZooKeeperNodeStore implements NodeStore {
  readonly #session: ZooKeeperSession
  readonly #chroot: string
  readonly #watches: NodeWatches
  readonly #closed: (() => Promise<void>) | undefined
  /** Not created ahead again. Should one be gone, it is created when it is found missing. */
  readonly #knownParents = new Set<string>()

  constructor(options: ZooKeeperNodeStoreOptions) {
    this.#session = options.session
    this.#chroot = options.chroot
    this.#closed = options.closed
    this.#watches = new NodeWatches({
      readNode: (path) => this.#readNode(path, true),
      readChildren: (path) => this.#readChildren(path, true),
      timers: options.timers,
      logger: options.logger,
    })
    options.session.onWatch((path) => this.#watches.fired(path.slice(this.#chroot.length)))
    options.session.onState((state) => {
      if (state === 'connected') this.#watches.refresh()
    })
  }

  get sessionState(): SessionState {
    return this.#session.state
  }

  get sessionTimeoutMs(): number {
    return this.#session.sessionTimeoutMs
  }

  onSessionState(listener: (state: SessionState) => void): () => void {
    return this.#session.onState(listener)
  }

  get(path: string): Promise<StoredNode | null> {
    return this.#readNode(path, false)
  }

  children(path: string): Promise<readonly string[]> {
    return this.#readChildren(path, false)
  }

  async childNodes(path: string): Promise<ReadonlyMap<string, StoredNode>> {
    const names = await this.children(path)
    const nodes = await Promise.all(names.map((name) => this.get(`${path}/${name}`)))
    const found = new Map<string, StoredNode>()
    for (const [i, name] of names.entries()) {
      const node = nodes[i]
      if (node) found.set(name, node)
    }
    return found
  }

  async create(path: string, data: string, options: CreateOptions = {}): Promise<WriteResult> {
    checkData(path, data)
    const number = this.#session.number
    const isEphemeral = options.ephemeral ?? false
    const operation = {
      kind: 'create',
      path: this.#chroot + path,
      data,
      isEphemeral,
      isSequential: false,
    } as const
    const ahead = parentsOf(path, options.parentLevels ?? 0)
      .filter((parent) => !this.#knownParents.has(parent))
      .map((parent) => this.#createParent(parent, number))
    const verdict: Verdict = (node) => {
      if (node === null) return null
      const isOurs = node.version === 0 && node.data === data && isEphemeral === isOwn(node)
      return isOurs ? CREATED : EXISTS
    }
    const [result] = await Promise.all([this.#write(operation, path, number, verdict), ...ahead])
    if (result.ok || result.reason !== 'missing') return result
    await this.#createParents(path, number)
    return this.#write(operation, path, number, verdict)
  }

  async createSequential(prefix: string, data: string): Promise<string> {
    checkData(prefix, data)
    const number = this.#session.number
    for (let attempt = 0; ; attempt++) {
      const reply = await this.#session.request(
        {
          kind: 'create',
          path: this.#chroot + prefix,
          data,
          isEphemeral: false,
          isSequential: true,
        },
        number,
      )
      if (reply.code === ClientCode.OK) return (reply.path as string).slice(this.#chroot.length)
      if (reply.code === ClientCode.NO_NODE) await this.#createParents(prefix, number)
      else if (reply.code !== ClientCode.CONNECTION_LOSS)
        throw refused(this.#pathOf(prefix), reply.code)
      if (attempt === ATTEMPTS_MAX) throw uncertain(prefix)
    }
  }

  set(path: string, data: string, expectedVersion: number): Promise<WriteResult> {
    return this.#set(path, data, expectedVersion, (node) => {
      if (node === null) return MISSING
      if (expectedVersion === ANY_VERSION || node.version === expectedVersion) return null
      const isOurs = node.version === expectedVersion + 1 && node.data === data
      return isOurs ? { ok: true, version: node.version } : CHANGED
    })
  }

  setOnce(path: string, data: string, expectedVersion: number): Promise<WriteResult> {
    return this.#set(path, data, expectedVersion, () => {
      throw uncertain(path)
    })
  }

  async #set(
    path: string,
    data: string,
    expectedVersion: number,
    verdict: Verdict,
  ): Promise<WriteResult> {
    checkData(path, data)
    const operation = {
      kind: 'set',
      path: this.#chroot + path,
      data,
      version: expectedVersion,
    } as const
    return this.#write(operation, path, this.#session.number, verdict)
  }

  async delete(path: string, expectedVersion: number): Promise<WriteResult> {
    const operation = {
      kind: 'delete',
      path: this.#chroot + path,
      version: expectedVersion,
    } as const
    this.#knownParents.delete(path)
    return this.#write(operation, path, this.#session.number, (node) => {
      if (node === null) return DELETED
      return expectedVersion === ANY_VERSION || node.version === expectedVersion ? null : CHANGED
    })
  }

  async deleteTree(path: string): Promise<void> {
    for (;;) {
      const names = await this.children(path)
      await Promise.all(names.map((name) => this.deleteTree(`${path}/${name}`)))
      const deleted = await this.delete(path, ANY_VERSION)
      // Another may have put a node below it in between.
      if (deleted.ok || deleted.reason !== 'exists') return
    }
  }

  watchNode(path: string, listener: (node: StoredNode | null) => void): () => void {
    return this.#watches.addNode(path, listener)
  }

  watchChildren(path: string, listener: ChildrenListener): () => void {
    return this.#watches.addChildren(path, listener)
  }

  async close(): Promise<void> {
    this.#watches.close()
    const isEnded = this.#session.state === 'connected'
    await this.#session.close()
    // Otherwise its nodes are still there, and the next start ends it.
    if (isEnded) await this.#closed?.()
  }

  /** Creates the chroot where it is missing. Throws a RegistryError that names it. */
  async createChroot(): Promise<void> {
    const number = this.#session.number
    for (const path of [...parentsOf(`${this.#chroot}/x`, Number.POSITIVE_INFINITY)]) {
      const operation = {
        kind: 'create',
        path,
        data: '',
        isEphemeral: false,
        isSequential: false,
      } as const
      const { code } = await this.#answered(operation, number)
      if (code === ClientCode.OK || code === ClientCode.NODE_EXISTS) continue
      // Who may not write beside a node is told nothing of the node itself.
      if (code === ClientCode.NO_AUTH && (await this.#isThere(path, number))) continue
      throw new RegistryError(
        'unavailable',
        `zookeeper.connect: the chroot ${this.#chroot} cannot be created: ${codeText(code)}`,
      )
    }
  }

  /** Of a full path. */
  async #isThere(path: string, number: number): Promise<boolean> {
    const { code } = await this.#answered({ kind: 'exists', path, watch: false }, number)
    return code === ClientCode.OK
  }

  /** With the watch that tells of its next change, also where there is no node yet. */
  async #readNode(path: string, watch: boolean): Promise<StoredNode | null> {
    const number = this.#session.number
    const at = this.#pathOf(path)
    for (;;) {
      const reply = await this.#answered({ kind: 'get', path: at, watch }, number)
      if (reply.code === ClientCode.OK) return this.#nodeOf(reply)
      if (reply.code !== ClientCode.NO_NODE) throw refused(this.#pathOf(path), reply.code)
      if (!watch) return null
      const { code } = await this.#answered({ kind: 'exists', path: at, watch }, number)
      if (code === ClientCode.NO_NODE) return null
      if (code !== ClientCode.OK) throw refused(this.#pathOf(path), code)
    }
  }

  async #readChildren(path: string, watch: boolean): Promise<readonly string[]> {
    const number = this.#session.number
    const at = this.#pathOf(path)
    for (;;) {
      const reply = await this.#answered({ kind: 'children', path: at, watch }, number)
      if (reply.code === ClientCode.OK) return reply.names ?? []
      if (reply.code !== ClientCode.NO_NODE) throw refused(this.#pathOf(path), reply.code)
      if (!watch) return []
      const { code } = await this.#answered({ kind: 'exists', path: at, watch }, number)
      if (code === ClientCode.NO_NODE) return []
      if (code !== ClientCode.OK) throw refused(this.#pathOf(path), code)
    }
  }

  /** An operation that may be repeated as it is. */
  async #answered(operation: ClientOperation, number: number): Promise<ClientReply> {
    for (let attempt = 0; attempt <= ATTEMPTS_MAX; attempt++) {
      const reply = await this.#session.request(operation, number)
      if (reply.code !== ClientCode.CONNECTION_LOSS) return reply
    }
    throw new RegistryError('unavailable', `ZooKeeper does not answer for ${operation.path}`)
  }

  async #write(
    operation: ClientOperation,
    path: string,
    number: number,
    verdict: Verdict,
  ): Promise<WriteResult> {
    let reply = await this.#session.request(operation, number)
    if (reply.code !== ClientCode.CONNECTION_LOSS)
      return resultOf(this.#pathOf(path), reply, operation)
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      try {
        const found = verdict(await this.#lookUp(path, number))
        if (found !== null) return found
        reply = await this.#session.request(operation, number)
      } catch (error) {
        throw uncertain(path, error)
      }
      // What an earlier attempt has done may be what refuses this one: look again.
      if (reply.code === ClientCode.OK) return resultOf(this.#pathOf(path), reply, operation)
      if (operation.kind === 'create' && reply.code === ClientCode.NO_NODE) return MISSING
    }
    throw uncertain(path)
  }

  async #lookUp(path: string, number: number): Promise<StoredNode | null> {
    const reply = await this.#answered(
      { kind: 'get', path: this.#pathOf(path), watch: false },
      number,
    )
    if (reply.code === ClientCode.OK) return this.#nodeOf(reply)
    if (reply.code === ClientCode.NO_NODE) return null
    throw refused(this.#pathOf(path), reply.code)
  }

  async #createParents(path: string, number: number): Promise<void> {
    const parents = parentsOf(path, Number.POSITIVE_INFINITY)
    await Promise.all(parents.map((parent) => this.#createParent(parent, number)))
  }

  /** Nobody asks who made it. That its own parent is missing is found out later. */
  async #createParent(path: string, number: number): Promise<void> {
    if (this.#knownParents.size >= KNOWN_PARENTS_MAX) this.#knownParents.clear()
    this.#knownParents.add(path)
    const { code } = await this.#answered(
      {
        kind: 'create',
        path: this.#chroot + path,
        data: '',
        isEphemeral: false,
        isSequential: false,
      },
      number,
    )
    if (code === ClientCode.OK || code === ClientCode.NODE_EXISTS) return
    this.#knownParents.delete(path)
    if (code !== ClientCode.NO_NODE) throw refused(this.#pathOf(path), code)
  }

  #nodeOf({ data, stat }: ClientReply): StoredNode {
    if (stat === undefined) throw new RegistryError('unavailable', 'an answer without a version')
    const { version, czxid, ctimeMs, ephemeralOwner } = stat
    const isOwnSession = ephemeralOwner === this.#session.id
    return {
      data: data ?? '',
      version,
      creationId: czxid,
      createdMs: ctimeMs,
      endsWith:
        ephemeralOwner === '0' ? 'nobody' : isOwnSession ? 'this-session' : 'another-session',
    }
  }

  #pathOf(path: string): string {
    return this.#chroot + path === '' ? '/' : this.#chroot + path
  }
}

const KNOWN_PARENTS_MAX = 50_000
/** Lost answers in a row after which an operation gives up. */
const ATTEMPTS_MAX = 10

function isOwn(node: StoredNode): boolean {
  return node.endsWith === 'this-session'
}

/** The lowest `levels` of them, from the top. */
function parentsOf(path: string, levels: number): string[] {
  const parents: string[] = []
  for (let at = path.lastIndexOf('/'); at > 0 && parents.length < levels; ) {
    parents.unshift(path.slice(0, at))
    at = path.lastIndexOf('/', at - 1)
  }
  return parents
}

function resultOf(path: string, reply: ClientReply, operation: ClientOperation): WriteResult {
  switch (reply.code) {
    case ClientCode.OK:
      if (operation.kind === 'set') return { ok: true, version: reply.stat?.version ?? 0 }
      return operation.kind === 'create' ? CREATED : DELETED
    case ClientCode.NODE_EXISTS:
    case ClientCode.NOT_EMPTY:
      return EXISTS
    case ClientCode.NO_NODE:
      return MISSING
    case ClientCode.BAD_VERSION:
      return CHANGED
    default:
      throw refused(path, reply.code)
  }
}

function codeText(code: number): string {
  const name = Object.entries(ClientCode).find(([, value]) => value === code)?.[0]
  return name ?? `code ${code}`
}

function refused(path: string, code: number): RegistryError {
  return new RegistryError('unavailable', `ZooKeeper refuses ${path}: ${codeText(code)}`)
}

function uncertain(path: string, cause?: unknown): RegistryError {
  return new RegistryError(
    'uncertain',
    `nobody can tell whether ${path} was written: the answer was lost`,
    { cause },
  )
}

function checkData(path: string, data: string): void {
  const bytes = Buffer.byteLength(data)
  if (bytes > DATA_BYTES_MAX) {
    throw new RegistryError('invalid', `${path}: ${bytes} bytes are too many for a node`)
  }
}
