/**
 * A simulated network of connections between processes. A connection never reorders and never
 * loses a message in its middle: what cannot pass waits, as TCP would send it again, and when the
 * connection breaks everything that was still on its way is lost.
 *
 * A process that is paused still takes connections and messages: its kernel does. One that was
 * killed resets its connections; one whose host lost power does not, and the other end finds out
 * much later.
 */
import type { SeededRandom } from '../../src/util/random.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { World } from './world.ts'

/** Until a peer gives up on one that went without a word. */
const SILENCE_MAX_MS = 20_000

export interface NetworkOptions {
  readonly latencyMinMs: number
  readonly latencyMaxMs: number
}

/** What a process does with a connection. */
export interface Handlers<In> {
  received(message: In): void
  /** The connection is gone, for whatever reason but its own `close`. */
  lost(): void
}

/** One end of a connection. */
export interface Wire<Out> {
  readonly isOpen: boolean
  send(message: Out): void
  /** What was sent before arrives; what is on its way to this end does not. */
  close(): void
}

/** How a process takes a connection to one of its services: null refuses it. */
export type Accept<Out, In> = (peer: string, wire: Wire<Out>) => Handlers<In> | null

interface End {
  readonly process: SimulatedProcess
  handlers: Handlers<unknown> | null
  isOpen: boolean
  /** On their way to this end; `null` is the end of the stream. */
  inbox: { readonly message: unknown; readonly isEnd: boolean }[]
  lastArrivalMs: number
  /** Deliveries that are scheduled; the rest waits for the way to be free. */
  underWay: number
  forgetDeath: () => void
}

class Connection {
  readonly network: Network
  readonly ends: readonly [End, End]
  isBroken = false

  constructor(network: Network, from: SimulatedProcess, to: SimulatedProcess) {
    this.network = network
    const end = (process: SimulatedProcess): End => ({
      process,
      handlers: null,
      isOpen: true,
      inbox: [],
      lastArrivalMs: 0,
      underWay: 0,
      forgetDeath: () => undefined,
    })
    this.ends = [end(from), end(to)]
    for (const side of [0, 1] as const) {
      const own = this.ends[side]
      own.forgetDeath = own.process.onDeath((isSilent) => this.#died(side, isSilent))
    }
  }

  wire(side: 0 | 1): Wire<unknown> {
    const own = this.ends[side]
    return {
      get isOpen() {
        return own.isOpen
      },
      send: (message) => {
        if (own.isOpen) this.#put(side, { message, isEnd: false })
      },
      close: () => {
        if (!own.isOpen) return
        this.#leave(side)
        this.#put(side, { message: null, isEnd: true })
      },
    }
  }

  /** Both ends lose it, each in its own time; nothing that is on its way arrives. */
  break(): void {
    if (this.isBroken) return
    this.isBroken = true
    for (const side of [0, 1] as const) {
      const { process } = this.ends[side]
      this.ends[side].inbox = []
      process.at(this.network.latency(), () => this.#lose(side))
    }
    this.network.remove(this)
  }

  /** The way may be free again. */
  pump(): void {
    for (const side of [0, 1] as const) {
      const end = this.ends[side]
      for (let left = end.inbox.length - end.underWay; left > 0; left--) this.#arrive(side)
    }
  }

  #put(from: 0 | 1, item: End['inbox'][number]): void {
    if (this.isBroken) return
    const side = from === 0 ? 1 : 0
    this.ends[side].inbox.push(item)
    this.#arrive(side)
  }

  #arrive(side: 0 | 1): void {
    const end = this.ends[side]
    const other = this.ends[side === 0 ? 1 : 0]
    if (this.network.isBlocked(other.process.name, end.process.name)) return
    const { world } = this.network
    const atMs = Math.max(end.lastArrivalMs, world.nowMs + this.network.latency())
    end.lastArrivalMs = atMs
    end.underWay += 1
    world.schedule(atMs - world.nowMs, () => {
      end.underWay -= 1
      if (this.isBroken) return
      if (this.network.isBlocked(other.process.name, end.process.name)) return
      const item = end.inbox.shift()
      if (item === undefined) return
      // What a paused process has not read yet is lost to it when it is killed.
      end.process.at(0, () => {
        if (item.isEnd) this.#lose(side)
        else if (end.isOpen) end.handlers?.received(item.message)
      })
    })
  }

  #lose(side: 0 | 1): void {
    const end = this.ends[side]
    if (!end.isOpen) return
    this.#leave(side)
    this.network.remove(this)
    end.handlers?.lost()
  }

  #leave(side: 0 | 1): void {
    const end = this.ends[side]
    end.isOpen = false
    end.forgetDeath()
  }

  #died(side: 0 | 1, isSilent: boolean): void {
    const own = this.ends[side]
    own.isOpen = false
    if (!isSilent) {
      // What it wrote before is still sent.
      this.#put(side, { message: null, isEnd: true })
      return
    }
    this.isBroken = true
    const peer = side === 0 ? 1 : 0
    const { process } = this.ends[peer]
    process.at(this.network.silence(), () => this.#lose(peer))
    this.network.remove(this)
  }
}

export class Network {
  readonly world: World
  readonly #random: SeededRandom
  readonly #options: NetworkOptions
  readonly #connections = new Set<Connection>()
  readonly #blocked = new Set<string>()
  readonly #services = new Map<
    string,
    { process: SimulatedProcess; accept: Accept<never, never> }
  >()

  constructor(world: World, options: NetworkOptions) {
    this.world = world
    this.#random = world.stream()
    this.#options = options
  }

  /** What another process reaches under that name while this one lives. */
  serve<Out, In>(process: SimulatedProcess, service: string, accept: Accept<Out, In>): void {
    const key = `${process.name}/${service}`
    const entry = { process, accept: accept as Accept<never, never> }
    this.#services.set(key, entry)
    process.onDeath(() => {
      if (this.#services.get(key) === entry) this.#services.delete(key)
    })
  }

  /**
   * Connects a process to a service of another. Rejects with an Error: `refused`, or `timed out`
   * when nobody answers within that time.
   */
  connect<Out, In>(
    from: SimulatedProcess,
    to: { readonly process: SimulatedProcess; readonly service: string },
    timeoutMs: number,
    handlersFor: (wire: Wire<Out>) => Handlers<In>,
  ): Promise<Wire<Out>> {
    const { life } = from
    return new Promise((resolve, reject) => {
      let isOver = false
      const give = (why: string): void => {
        if (isOver) return
        isOver = true
        late.cancel()
        reject(new Error(`${to.process.name}: ${why}`))
      }
      const late = from.at(timeoutMs, () => give('timed out'))
      // There and back, each way only if it is free.
      this.#pass(from.name, to.process.name, timeoutMs, () => {
        // Whoever asked may be dead, and its next life knows nothing of it.
        if (from.life !== life || !from.isUp) return
        const service = this.#services.get(`${to.process.name}/${to.service}`)
        if (!service?.process.isUp) {
          this.#pass(to.process.name, from.name, timeoutMs, () => {
            if (from.life === life) from.at(0, () => give('refused'))
          })
          return
        }
        const connection = new Connection(this, from, service.process)
        this.#connections.add(connection)
        const serverEnd = connection.wire(1)
        const taken = service.accept(from.name, serverEnd as Wire<never>)
        if (taken === null) {
          connection.break()
          from.at(this.latency(), () => give('refused'))
          return
        }
        connection.ends[1].handlers = taken as Handlers<unknown>
        this.#pass(to.process.name, from.name, timeoutMs, () => {
          if (from.life !== life) return
          from.at(0, () => {
            if (isOver || connection.isBroken || !connection.ends[0].isOpen) {
              connection.wire(0).close()
              give('reset')
              return
            }
            isOver = true
            late.cancel()
            const wire = connection.wire(0) as Wire<Out>
            connection.ends[0].handlers = handlersFor(wire) as Handlers<unknown>
            resolve(wire)
          })
        })
      })
    })
  }

  latency(): number {
    const { latencyMinMs, latencyMaxMs } = this.#options
    // Mostly short, now and then long.
    const spread = latencyMaxMs - latencyMinMs
    const part = this.#random.integer(1000) / 1000
    return latencyMinMs + spread * part * part * part
  }

  silence(): number {
    return 1000 + this.#random.integer(SILENCE_MAX_MS)
  }

  isBlocked(from: string, to: string): boolean {
    return this.#blocked.has(`${from}>${to}`)
  }

  /** Nothing passes from one host to the other any more; what is sent waits. */
  block(from: string, to: string): void {
    this.#blocked.add(`${from}>${to}`)
  }

  unblock(from: string, to: string): void {
    if (this.#blocked.delete(`${from}>${to}`)) this.#pumpAll()
  }

  heal(): void {
    this.#blocked.clear()
    this.#pumpAll()
  }

  /** Breaks one connection, by chance; of this host only, if it is given. */
  breakOne(host?: string): void {
    const some = [...this.#connections].filter(
      ({ ends }) => host === undefined || ends.some(({ process }) => process.name === host),
    )
    some[this.#random.integer(some.length || 1)]?.break()
  }

  breakAll(host: string): void {
    for (const connection of [...this.#connections]) {
      if (connection.ends.some(({ process }) => process.name === host)) connection.break()
    }
  }

  remove(connection: Connection): void {
    this.#connections.delete(connection)
  }

  #pumpAll(): void {
    for (const connection of [...this.#connections]) connection.pump()
  }

  /** Calls `passed` when something got through, which it tries again until the time is up. */
  #pass(from: string, to: string, timeoutMs: number, passed: () => void): void {
    const endMs = this.world.nowMs + timeoutMs
    const attempt = (delayMs: number): void => {
      this.world.schedule(this.latency(), () => {
        if (!this.isBlocked(from, to)) passed()
        else if (this.world.nowMs + delayMs < endMs) {
          this.world.schedule(delayMs, () => attempt(delayMs * 2))
        }
      })
    }
    attempt(200)
  }
}
