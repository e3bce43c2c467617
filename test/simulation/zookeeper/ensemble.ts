/**
 * A simulated ZooKeeper ensemble. Writes are decided by the leader, one after the other, when a
 * majority of the servers is up; every server applies what was decided in that order and in its own
 * time, so that what is read from one may be old until a `sync`. Sessions end when nothing was heard
 * of them for their time-out, by the clock of the world, and not while there is no leader.
 *
 * When the leader dies every connection is closed until there is another one, and of the writes that
 * it was about to decide some are decided by the next and some are lost.
 */
import type { SeededRandom } from '../../../src/util/random.ts'
import type { Timer } from '../../../src/util/timer-queue.ts'
import type { Network } from '../network.ts'
import { FIRST_WALL_MS, type World } from '../world.ts'
import { EnsembleServer } from './server.ts'
import { prepare, type Transaction, Tree } from './tree.ts'

export interface EnsembleOptions {
  readonly serverCount: number
  /** What a server may be behind what was decided. */
  readonly lagMaxMs: number
  /** From a write at the leader to its decision. */
  readonly decisionMaxMs: number
  readonly electionMaxMs: number
  readonly sessionTimeoutMinMs: number
}

export const ENSEMBLE_OPTIONS: EnsembleOptions = {
  serverCount: 3,
  lagMaxMs: 3,
  decisionMaxMs: 2,
  electionMaxMs: 400,
  sessionTimeoutMinMs: 100,
}

export interface Session {
  readonly id: string
  readonly password: string
  readonly timeoutMs: number
  heardMs: number
  isOver: boolean
  /** The connection that speaks for it: one at a time. */
  connection: { close(): void } | null
  expiry: Timer | null
  readonly ephemerals: Set<string>
}

export type Write = Parameters<typeof prepare>[1]

export interface Decision {
  readonly code: number
  readonly zxid: number
  /** Of create, with its digits. */
  readonly path?: string
  /** Of set: what it made of the node. */
  readonly version?: number
}

interface Undecided {
  readonly session: Session
  readonly write: Write | null
  readonly decided: (decision: Decision | null) => void
}

/** Numbers of one leader's transactions. */
const ZXIDS_PER_EPOCH = 2 ** 32

export class SimulatedEnsemble {
  readonly world: World
  readonly network: Network
  readonly options: EnsembleOptions
  readonly servers: readonly EnsembleServer[]
  readonly sessions = new Map<string, Session>()
  readonly random: SeededRandom
  /** What has been decided: the state that every server comes to. */
  readonly head = new Tree()
  readonly decided: { readonly zxid: number; readonly transaction: Transaction }[] = []
  /** Called with each transaction as it is decided. */
  onDecided: ((transaction: Transaction, zxid: number) => void) | null = null
  /** Called with the path of each reading as it is carried out. */
  onRead: ((path: string) => void) | null = null
  #leader: EnsembleServer | null = null
  #epoch = 0
  #counter = 0
  #sessionCount = 0
  #undecided: Undecided[] = []
  #lastDecisionMs = 0
  #election: Timer | null = null

  constructor(world: World, network: Network, options: Partial<EnsembleOptions> = {}) {
    this.world = world
    this.network = network
    this.options = { ...ENSEMBLE_OPTIONS, ...options }
    this.random = world.stream()
    this.servers = Array.from(
      { length: this.options.serverCount },
      (_, i) => new EnsembleServer(this, `zk${i + 1}`),
    )
    this.#lead()
  }

  get connect(): string {
    return this.servers.map(({ name }) => `${name}:2181`).join(',')
  }

  get leader(): EnsembleServer | null {
    return this.#leader
  }

  server(name: string): EnsembleServer | undefined {
    return this.servers.find((one) => one.name === name)
  }

  /** A server dies; what it had decided or applied is on its disk. */
  kill(server: EnsembleServer): void {
    if (!server.isUp) return
    server.kill()
    if (server === this.#leader || !this.#hasMajority) this.#loseLeader()
  }

  restart(server: EnsembleServer): void {
    if (server.isUp) return
    server.start()
    if (this.#leader === null) this.#electLater()
    else server.catchUp()
  }

  /** The whole ensemble is away. */
  killAll(): void {
    for (const server of this.servers) this.kill(server)
  }

  restartAll(): void {
    for (const server of this.servers) this.restart(server)
  }

  /** Ends a session as if its time were up. */
  expire(id: string): void {
    const session = this.sessions.get(id)
    if (session !== undefined && this.#leader !== null) this.#endSession(session)
  }

  openSession(timeoutMs: number): Session {
    this.#sessionCount += 1
    const hex = this.random.bytes(16).toString('hex').toUpperCase()
    const session: Session = {
      id: (0x1000_0000_0000 + this.#sessionCount).toString(16),
      password: hex,
      timeoutMs: Math.max(timeoutMs, this.options.sessionTimeoutMinMs),
      heardMs: this.world.nowMs,
      isOver: false,
      connection: null,
      expiry: null,
      ephemerals: new Set(),
    }
    this.sessions.set(session.id, session)
    this.#watchExpiry(session)
    return session
  }

  /** Gives a write to the leader, which takes them in the order in which they come. */
  submit(undecided: Undecided): void {
    if (this.#leader === null) {
      undecided.decided(null)
      return
    }
    this.#undecided.push(undecided)
    const delayMs = (this.options.decisionMaxMs * this.random.integer(1000)) / 1000
    const atMs = Math.max(this.#lastDecisionMs, this.world.nowMs + delayMs)
    this.#lastDecisionMs = atMs
    const epoch = this.#epoch
    this.world.schedule(atMs - this.world.nowMs, () => {
      if (epoch !== this.#epoch || this.#leader === null) return
      const first = this.#undecided.shift()
      if (first !== undefined) this.#decide(first)
    })
  }

  closeSession(session: Session, decided: (decision: Decision | null) => void): void {
    this.submit({ session, write: null, decided })
  }

  /** What one server may be behind, by chance. */
  lag(): number {
    const part = this.random.integer(1000) / 1000
    return this.options.lagMaxMs * part * part
  }

  get lastZxid(): number {
    return this.#epoch * ZXIDS_PER_EPOCH + this.#counter
  }

  get #hasMajority(): boolean {
    return this.servers.filter(({ isUp }) => isUp).length * 2 > this.servers.length
  }

  #decide({ session, write, decided }: Undecided): void {
    if (session.isOver) {
      decided(null)
      return
    }
    if (write === null) {
      decided({ code: 0, zxid: this.#endSession(session) })
      return
    }
    const wallMs = Math.floor(FIRST_WALL_MS + this.world.nowMs)
    const { code, transaction } = prepare(this.head, write, session.id, wallMs)
    if (transaction.kind === 'create' && write.kind === 'create' && write.isEphemeral) {
      session.ephemerals.add(transaction.path)
    }
    const zxid = this.#commit(transaction)
    const made = this.head.node(write.path)
    decided({
      code,
      zxid,
      ...(transaction.kind === 'create' ? { path: transaction.path } : {}),
      ...(transaction.kind === 'set' && made !== undefined ? { version: made.version } : {}),
    })
  }

  #commit(transaction: Transaction): number {
    this.#counter += 1
    const zxid = this.lastZxid
    if (transaction.kind === 'delete') {
      const owner = this.head.node(transaction.path)?.owner ?? '0'
      this.sessions.get(owner)?.ephemerals.delete(transaction.path)
    }
    this.head.apply(transaction, zxid)
    this.decided.push({ zxid, transaction })
    if (transaction.kind !== 'nothing') {
      this.world.trace('zk', `${transaction.kind} ${'path' in transaction ? transaction.path : ''}`)
      if ('data' in transaction) this.world.show('zk', () => `  ${transaction.data}`)
    }
    this.onDecided?.(transaction, zxid)
    for (const server of this.servers) server.hear()
    return zxid
  }

  #endSession(session: Session): number {
    session.isOver = true
    session.expiry?.cancel()
    this.sessions.delete(session.id)
    this.world.trace('zk', `session ${session.id} is over`)
    const paths = [...session.ephemerals].sort()
    const zxid = this.#commit({ kind: 'end-session', session: session.id, paths })
    session.connection?.close()
    return zxid
  }

  #watchExpiry(session: Session): void {
    const leftMs = session.heardMs + session.timeoutMs - this.world.nowMs
    session.expiry = this.world.schedule(leftMs, () => {
      if (session.isOver || this.#leader === null) return
      if (this.world.nowMs < session.heardMs + session.timeoutMs) this.#watchExpiry(session)
      else this.#endSession(session)
    })
  }

  #loseLeader(): void {
    if (this.#leader === null) return
    this.world.trace('zk', 'no leader')
    this.#leader = null
    for (const server of this.servers) server.dropConnections()
    if (this.#hasMajority) this.#electLater()
  }

  #electLater(): void {
    if (this.#election !== null || !this.#hasMajority) return
    const { electionMaxMs } = this.options
    this.#election = this.world.schedule(50 + this.random.integer(electionMaxMs), () => {
      this.#election = null
      if (this.#leader === null && this.#hasMajority) this.#lead()
    })
  }

  #lead(): void {
    const able = this.servers.filter(({ isUp }) => isUp)
    this.#leader = able[this.random.integer(able.length)] as EnsembleServer
    this.#epoch += 1
    this.#counter = 0
    this.world.trace('zk', `${this.#leader.name} leads`)
    // Some of what the last leader was about to decide reached those who elected this one.
    const undecided = this.#undecided
    this.#undecided = []
    const kept = this.random.integer(undecided.length + 1)
    for (const one of undecided.slice(0, kept)) this.#decide(one)
    for (const session of this.sessions.values()) {
      session.heardMs = this.world.nowMs
      session.expiry?.cancel()
      this.#watchExpiry(session)
    }
    for (const server of this.servers) if (server.isUp) server.catchUp()
  }
}
