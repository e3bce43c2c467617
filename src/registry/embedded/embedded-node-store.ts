/**
 * The tree of nodes of a cluster of one broker: in memory, with every change in a journal.
 *
 * A write is acknowledged, and seen by readers and watchers, once it is on disk; writes that are
 * asked for while another is on its way share the next sync. A write that fails leaves the state
 * as it was. Ephemeral nodes are not kept, but the numbers of created nodes are never used twice.
 *
 * Journal payloads are JSON: `["format",1,creations]` first, then `["put",path,version,creation,
 * data]`, `["delete",path]` and `["created",creation]`.
 *
 * Main thread only; after a crash it holds every acknowledged write, in order.
 */
import { join } from 'node:path'
import { type Clock, systemClock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import { ANY_VERSION, RegistryError, type WriteResult } from '../cluster-registry.ts'
import type {
  ChildrenListener,
  CreateOptions,
  NodeStore,
  SessionState,
  StoredNode,
} from '../node-store.ts'
import { encodeRecord, Journal, RECORD_BYTES_MAX, RECORD_HEADER_BYTES } from './journal.ts'
import { type JournalFiles, nodeJournalFiles } from './journal-files.ts'

export const JOURNAL_FILE = 'registry.journal'
const FORMAT = 1
const COMPACT_BYTES_MIN = 1024 * 1024
const COMPACT_RATIO = 4
/** Writes that may wait for the disk; one more is refused. */
const WAITING_WRITES_MAX = 100_000

export interface EmbeddedNodeStoreOptions {
  readonly directory: string
  readonly logger: Logger
  readonly files?: JournalFiles
  readonly clock?: Clock
  /** What a new journal starts with: all of it is there after a crash, or no journal is. */
  readonly initialNodes?: () => Promise<readonly InitialNode[]>
}

export interface InitialNode {
  readonly path: string
  readonly data: string
}

interface LiveNode extends StoredNode {
  /** Of its record in the journal, 0 if it is ephemeral. */
  readonly bytes: number
}

type Mutation =
  | { readonly kind: 'create'; readonly path: string; readonly data: string; isEphemeral: boolean }
  | { readonly kind: 'set'; readonly path: string; readonly data: string; expected: number }
  | { readonly kind: 'delete'; readonly path: string; readonly expected: number }

interface WaitingWrite {
  readonly mutation: Mutation
  readonly resolve: (result: WriteResult) => void
  readonly reject: (error: unknown) => void
}

/** What one batch of writes would change, on top of the state. */
interface Stage {
  /** null: deleted. */
  readonly nodes: Map<string, LiveNode | null>
  readonly records: Buffer[]
  readonly changedPaths: Set<string>
  /** Paths below which names came or went. */
  readonly changedParents: Set<string>
  creations: number
}

const LATEST: WriteResult = { ok: true, version: ANY_VERSION }
const EXISTS: WriteResult = { ok: false, reason: 'exists' }
const MISSING: WriteResult = { ok: false, reason: 'missing' }
const CHANGED: WriteResult = { ok: false, reason: 'version' }

export class EmbeddedNodeStore implements NodeStore {
  /** The session is the process. */
  readonly sessionState: SessionState = 'connected'
  readonly sessionTimeoutMs = 0
  readonly #journal: Journal
  readonly #logger: Logger
  readonly #clock: Clock
  readonly #nodes = new Map<string, LiveNode>()
  /** Names below each path that has any, whether or not there is a node at the path itself. */
  readonly #children = new Map<string, Set<string>>()
  readonly #nodeListeners = new Map<string, Set<(node: StoredNode | null) => void>>()
  readonly #childListeners = new Map<string, Set<(names: readonly string[]) => void>>()
  #creations = 0
  #liveBytes = 0
  /** Journal size below which compaction is not tried again after it failed. */
  #compactFromBytes = COMPACT_BYTES_MIN
  #waiting: WaitingWrite[] = []
  #draining: Promise<void> | null = null
  #isClosed = false

  private constructor(journal: Journal, options: EmbeddedNodeStoreOptions) {
    this.#journal = journal
    this.#logger = options.logger
    this.#clock = options.clock ?? systemClock
  }

  /** Whether a directory has a journal; if not, the topics may have to be adopted from folders. */
  static async exists(directory: string, files = nodeJournalFiles): Promise<boolean> {
    return (await files.read(join(directory, JOURNAL_FILE))) !== null
  }

  /** Opens the journal of a data directory, or makes an empty one. */
  static async open(options: EmbeddedNodeStoreOptions): Promise<EmbeddedNodeStore> {
    const files = options.files ?? nodeJournalFiles
    const path = join(options.directory, JOURNAL_FILE)
    const opened = await Journal.open(path, files)
    if (opened === null) return EmbeddedNodeStore.#create(path, files, options)
    if (opened.cut !== null) {
      options.logger.warn({ path, ...opened.cut }, 'cut off the torn tail of the registry journal')
    }
    const store = new EmbeddedNodeStore(opened.journal, options)
    try {
      store.#replay(path, opened.payloads)
    } catch (error) {
      await opened.journal.close()
      throw error
    }
    return store
  }

  static async #create(
    path: string,
    files: JournalFiles,
    options: EmbeddedNodeStoreOptions,
  ): Promise<EmbeddedNodeStore> {
    const nodes = (await options.initialNodes?.()) ?? []
    const records = [formatRecord(nodes.length)]
    for (const [i, { path: at, data }] of nodes.entries()) {
      records.push(encodeRecord(putPayload(at, { data, version: 0, creationId: i + 1 })))
    }
    const journal = await Journal.create(path, files, records)
    const store = new EmbeddedNodeStore(journal, options)
    const payloads = records.map((record) => record.subarray(RECORD_HEADER_BYTES))
    store.#replay(path, payloads)
    return store
  }

  get journalBytes(): number {
    return this.#journal.bytes
  }

  async get(path: string): Promise<StoredNode | null> {
    this.#checkOpen()
    return this.#nodes.get(path) ?? null
  }

  async children(path: string): Promise<readonly string[]> {
    this.#checkOpen()
    return this.#namesBelow(path)
  }

  async childNodes(path: string): Promise<ReadonlyMap<string, StoredNode>> {
    this.#checkOpen()
    const found = new Map<string, StoredNode>()
    for (const name of this.#namesBelow(path)) {
      const node = this.#nodes.get(`${path}/${name}`)
      if (node) found.set(name, node)
    }
    return found
  }

  create(path: string, data: string, options?: CreateOptions): Promise<WriteResult> {
    const isEphemeral = options?.ephemeral ?? false
    return this.#submit({ kind: 'create', path, data, isEphemeral })
  }

  async createSequential(prefix: string, data: string): Promise<string> {
    for (let number = this.#creations + 1; ; number++) {
      const path = prefix + String(number).padStart(10, '0')
      if ((await this.create(path, data)).ok) return path
    }
  }

  set(path: string, data: string, expectedVersion: number): Promise<WriteResult> {
    return this.#submit({ kind: 'set', path, data, expected: expectedVersion })
  }

  /** No answer is ever lost here. */
  setOnce(path: string, data: string, expectedVersion: number): Promise<WriteResult> {
    return this.set(path, data, expectedVersion)
  }

  delete(path: string, expectedVersion: number): Promise<WriteResult> {
    return this.#submit({ kind: 'delete', path, expected: expectedVersion })
  }

  async deleteTree(path: string): Promise<void> {
    const names = await this.children(path)
    await Promise.all(names.map((name) => this.deleteTree(`${path}/${name}`)))
    await this.delete(path, ANY_VERSION)
  }

  watchNode(path: string, listener: (node: StoredNode | null) => void): () => void {
    return subscribe(this.#nodeListeners, path, listener, () => this.#nodes.get(path) ?? null)
  }

  watchChildren(path: string, listener: ChildrenListener): () => void {
    const told = (names: readonly string[]): void => {
      Promise.resolve(listener(names)).catch((error: unknown) => {
        if (!(error instanceof RegistryError)) throw error
        if (error.kind !== 'closed') {
          this.#logger.warn({ err: error, path }, 'a change of the registry was not followed')
        }
      })
    }
    return subscribe(this.#childListeners, path, told, () => this.#namesBelow(path))
  }

  /** It never changes. */
  onSessionState(): () => void {
    return () => undefined
  }

  /** Waits for the writes that were asked for, then closes the file. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#draining
    this.#nodeListeners.clear()
    this.#childListeners.clear()
    await this.#journal.close()
  }

  #namesBelow(path: string): string[] {
    return [...(this.#children.get(path) ?? [])]
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new RegistryError('closed', 'the registry is closed')
  }

  #submit(mutation: Mutation): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      this.#checkOpen()
      checkMutation(mutation)
      if (this.#waiting.length >= WAITING_WRITES_MAX) {
        throw new RegistryError('unavailable', 'too many writes wait for the registry journal')
      }
      this.#waiting.push({ mutation, resolve, reject })
      this.#draining ??= this.#drain()
    })
  }

  async #drain(): Promise<void> {
    await Promise.resolve() // Lets the writes of one turn gather into one sync.
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      await this.#commit(batch)
    }
    this.#draining = null
  }

  async #commit(batch: readonly WaitingWrite[]): Promise<void> {
    const stage: Stage = {
      nodes: new Map(),
      records: [],
      changedPaths: new Set(),
      changedParents: new Set(),
      creations: this.#creations,
    }
    const results = batch.map((write) => this.#evaluate(write.mutation, stage))
    try {
      if (stage.records.length > 0) {
        await this.#journal.append(Buffer.concat(stage.records), () => this.#snapshot())
      }
    } catch (error) {
      for (const write of batch) write.reject(error)
      return
    }
    this.#creations = stage.creations
    for (const [path, node] of stage.nodes) this.#apply(path, node, stage.changedParents)
    batch.forEach((write, i) => {
      write.resolve(results[i] as WriteResult)
    })
    for (const path of stage.changedPaths) this.#tellNode(path)
    for (const path of stage.changedParents) this.#tellChildren(path)
    await this.#compactIfLarge()
  }

  #tellNode(path: string): void {
    const node = this.#nodes.get(path) ?? null
    for (const listener of [...(this.#nodeListeners.get(path) ?? [])]) listener(node)
  }

  #tellChildren(path: string): void {
    const listeners = this.#childListeners.get(path)
    if (listeners === undefined) return
    const names = this.#namesBelow(path)
    for (const listener of [...listeners]) listener(names)
  }

  #evaluate(mutation: Mutation, stage: Stage): WriteResult {
    const { path } = mutation
    const staged = stage.nodes.get(path)
    const node = staged === undefined ? this.#nodes.get(path) : (staged ?? undefined)
    if (mutation.kind === 'create') {
      if (node !== undefined) return EXISTS
      stage.creations += 1
      const { data, isEphemeral } = mutation
      const endsWith = isEphemeral ? 'this-session' : 'nobody'
      const createdMs = this.#clock.nowMs()
      return this.#stagePut(
        path,
        { data, version: 0, creationId: stage.creations, createdMs, endsWith },
        stage,
      )
    }
    if (node === undefined) return MISSING
    if (mutation.expected !== ANY_VERSION && mutation.expected !== node.version) return CHANGED
    if (mutation.kind === 'set') {
      const version = node.version + 1
      return this.#stagePut(path, { ...node, data: mutation.data, version }, stage)
    }
    if (this.#hasDescendants(path, stage)) return EXISTS
    if (node.endsWith === 'nobody')
      stage.records.push(encodeRecord(JSON.stringify(['delete', path])))
    stage.nodes.set(path, null)
    stage.changedPaths.add(path)
    return LATEST
  }

  #stagePut(path: string, node: Omit<LiveNode, 'bytes'>, stage: Stage): WriteResult {
    const { version, creationId } = node
    const isEphemeral = node.endsWith !== 'nobody'
    const record = isEphemeral
      ? version === 0 && encodeRecord(JSON.stringify(['created', creationId]))
      : encodeRecord(putPayload(path, node))
    if (record) stage.records.push(record)
    const bytes = record && !isEphemeral ? record.length : 0
    stage.nodes.set(path, { ...node, bytes })
    stage.changedPaths.add(path)
    return { ok: true, version }
  }

  #hasDescendants(path: string, stage: Stage): boolean {
    const prefix = `${path}/`
    for (const [other, node] of stage.nodes) {
      if (node !== null && other.startsWith(prefix)) return true
    }
    for (const name of this.#children.get(path) ?? []) {
      const child = prefix + name
      if (this.#nodes.has(child) && stage.nodes.get(child) !== null) return true
      if (this.#hasDescendants(child, stage)) return true
    }
    return false
  }

  #apply(path: string, node: LiveNode | null, changedParents?: Set<string>): void {
    this.#liveBytes -= this.#nodes.get(path)?.bytes ?? 0
    if (node !== null) {
      this.#nodes.set(path, node)
      this.#liveBytes += node.bytes
      this.#link(path, changedParents)
    } else if (this.#nodes.delete(path)) {
      this.#unlink(path, changedParents)
    }
  }

  /** Makes a path, and whatever is above it, appear among the children of its parent. */
  #link(path: string, changedParents?: Set<string>): void {
    for (let at = path; at !== ''; ) {
      const slash = at.lastIndexOf('/')
      const parent = at.slice(0, slash)
      const names = this.#children.get(parent)
      if (names?.has(at.slice(slash + 1))) return
      changedParents?.add(parent)
      if (names) names.add(at.slice(slash + 1))
      else this.#children.set(parent, new Set([at.slice(slash + 1)]))
      at = parent
    }
  }

  /** Takes away a path, and whatever above it has nothing left. */
  #unlink(path: string, changedParents?: Set<string>): void {
    for (let at = path; at !== '' && !this.#nodes.has(at) && !this.#children.has(at); ) {
      const slash = at.lastIndexOf('/')
      const parent = at.slice(0, slash)
      const names = this.#children.get(parent)
      changedParents?.add(parent)
      names?.delete(at.slice(slash + 1))
      if (names?.size === 0) this.#children.delete(parent)
      at = parent
    }
  }

  async #compactIfLarge(): Promise<void> {
    const bytes = this.#journal.bytes
    if (bytes <= this.#compactFromBytes || bytes <= COMPACT_RATIO * this.#liveBytes) return
    try {
      await this.#journal.rewrite(this.#snapshot())
      this.#compactFromBytes = COMPACT_BYTES_MIN
      this.#logger.info(
        { bytesBefore: bytes, bytes: this.#journal.bytes },
        'compacted the registry',
      )
    } catch (error) {
      // What was acknowledged is safe in the old file or repaired by the next append.
      this.#compactFromBytes = 2 * bytes
      this.#logger.warn({ err: error }, 'the registry journal could not be compacted')
    }
  }

  *#snapshot(): Iterable<Buffer> {
    yield formatRecord(this.#creations)
    for (const [path, node] of this.#nodes) {
      if (node.endsWith === 'nobody') yield encodeRecord(putPayload(path, node))
    }
  }

  #replay(path: string, payloads: readonly Buffer[]): void {
    for (const [i, payload] of payloads.entries()) {
      const entry = parsePayload(path, payload)
      if ((entry[0] === 'format') !== (i === 0)) throw unreadable(path, payload)
      if (!this.#replayEntry(entry, payload.length + RECORD_HEADER_BYTES))
        throw unreadable(path, payload)
    }
  }

  #replayEntry(entry: readonly unknown[], bytes: number): boolean {
    const [kind, first, second, third, fourth] = entry
    if (kind === 'format' && first === FORMAT && typeof second === 'number') {
      this.#creations = second
      return true
    }
    if (kind === 'created' && typeof first === 'number') {
      this.#creations = Math.max(this.#creations, first)
      return true
    }
    if (typeof first !== 'string') return false
    if (kind === 'delete') {
      this.#apply(first, null)
      return true
    }
    if (kind !== 'put' || typeof second !== 'number' || typeof third !== 'number') return false
    if (typeof fourth !== 'string') return false
    this.#creations = Math.max(this.#creations, third)
    this.#apply(first, {
      data: fourth,
      version: second,
      creationId: third,
      createdMs: 0,
      endsWith: 'nobody',
      bytes,
    })
    return true
  }
}

function formatRecord(creations: number): Buffer {
  return encodeRecord(JSON.stringify(['format', FORMAT, creations]))
}

type JournalledNode = Pick<StoredNode, 'data' | 'version' | 'creationId'>

function putPayload(path: string, node: JournalledNode): string {
  return JSON.stringify(['put', path, node.version, node.creationId, node.data])
}

function parsePayload(path: string, payload: Buffer): readonly unknown[] {
  try {
    const entry: unknown = JSON.parse(payload.toString())
    if (Array.isArray(entry)) return entry
  } catch (error) {
    throw new RegistryError('corrupt', `${path}: a record is not JSON`, { cause: error })
  }
  throw unreadable(path, payload)
}

function unreadable(path: string, payload: Buffer): RegistryError {
  const start = payload.subarray(0, 80).toString()
  return new RegistryError('corrupt', `${path}: a record is not understood: ${start}`)
}

function checkMutation(mutation: Mutation): void {
  const data = mutation.kind === 'delete' ? '' : mutation.data
  // A byte may become six when it is quoted.
  if (data.length > RECORD_BYTES_MAX / 8) {
    throw new RegistryError('invalid', `${mutation.path}: ${data.length} characters are too many`)
  }
}

/** Tells the listener what is there now, and leaves it among the listeners. */
function subscribe<T>(
  listeners: Map<string, Set<(value: T) => void>>,
  path: string,
  listener: (value: T) => void,
  read: () => T,
): () => void {
  const others = listeners.get(path)
  if (others) others.add(listener)
  else listeners.set(path, new Set([listener]))
  queueMicrotask(() => {
    if (listeners.get(path)?.has(listener)) listener(read())
  })
  return () => {
    const all = listeners.get(path)
    all?.delete(listener)
    if (all?.size === 0) listeners.delete(path)
  }
}
