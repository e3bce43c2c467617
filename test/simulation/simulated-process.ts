/**
 * A process in a simulated world: it is started, killed, stopped by a signal and let go on again.
 * All that ever wakes its code is an event of its present life, so what a crash leaves behind never
 * runs again. While it is paused its events wait; the kernel goes on for it.
 */
import type { Clock } from '../../src/util/clock.ts'
import type { Logger } from '../../src/util/logger.ts'
import type { SeededRandom } from '../../src/util/random.ts'
import { type Timer, TimerQueue } from '../../src/util/timer-queue.ts'
import { FIRST_WALL_MS, type World } from './world.ts'

export class SimulatedProcess {
  readonly world: World
  /** Also the name of its host. */
  readonly name: string
  readonly clock: Clock
  readonly random: SeededRandom
  /** 0 while it was never started; one more with each start. */
  life = 0
  isUp = false
  isPaused = false
  /** What its wall clock is ahead of the world's. */
  wallOffsetMs = 0
  /** Called when it dies, with each life's own ends to tie up. */
  readonly #deaths = new Set<(isSilent: boolean) => void>()
  #waiting: (() => void)[] = []

  constructor(world: World, name: string) {
    this.world = world
    this.name = name
    this.random = world.stream()
    this.clock = {
      nowMs: () => Math.floor(FIRST_WALL_MS + world.nowMs + this.wallOffsetMs),
      monotonicMs: () => world.nowMs,
    }
  }

  start(): void {
    this.life += 1
    this.isUp = true
    this.isPaused = false
    this.#waiting = []
    this.trace(`started, life ${this.life}`)
  }

  /** Its memory is gone. `isSilent`: its host went with it, and nobody is told. */
  kill(isSilent = false): void {
    if (!this.isUp) return
    this.trace(isSilent ? 'lost power' : 'killed')
    this.isUp = false
    this.isPaused = false
    this.#waiting = []
    const deaths = [...this.#deaths]
    this.#deaths.clear()
    for (const died of deaths) died(isSilent)
  }

  pause(): void {
    if (!this.isUp || this.isPaused) return
    this.trace('paused')
    this.isPaused = true
  }

  resume(): void {
    if (!this.isPaused) return
    this.trace('goes on')
    this.isPaused = false
    const waiting = this.#waiting
    this.#waiting = []
    // In the order in which they came, each an event of its own.
    for (const run of waiting) this.at(0, run)
  }

  /** Calls `died` when this life ends by `kill`; returns how to take that back. */
  onDeath(died: (isSilent: boolean) => void): () => void {
    this.#deaths.add(died)
    return () => this.#deaths.delete(died)
  }

  /** Something happens to this life of the process after so much time. */
  at(delayMs: number, run: () => void): Timer {
    const { life } = this
    let isCancelled = false
    const deliver = (): void => {
      if (isCancelled || !this.isUp || this.life !== life) return
      if (this.isPaused) this.#waiting.push(deliver)
      else run()
    }
    const timer = this.world.schedule(delayMs, deliver)
    return {
      cancel: () => {
        isCancelled = true
        timer.cancel()
      },
    }
  }

  trace(what: string): void {
    this.world.trace(this.name, what)
  }

  /** A logger of the present life: what it logs is part of the history. */
  logger(): Logger {
    const log =
      (level: string) =>
      (fields: object, message: string): void => {
        this.trace(message)
        this.world.show(this.name, () => `  ${level} ${text(fields)}`)
      }
    const logger: Logger = {
      child: () => logger,
      debug: (fields, message) =>
        this.world.show(this.name, () => `  debug ${message} ${text(fields)}`),
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
    }
    return logger
  }
}

function text(fields: object): string {
  return JSON.stringify(fields, (_, value: unknown) =>
    value instanceof Error ? String(value) : value,
  )
}

/** Timers of one life of a process: they are events of the world. */
export class SimulatedTimers extends TimerQueue {
  readonly #process: SimulatedProcess
  readonly #live = new Set<Timer>()

  constructor(process: SimulatedProcess) {
    super(process.clock)
    this.#process = process
  }

  override get size(): number {
    return this.#live.size
  }

  override schedule(delayMs: number, callback: () => void): Timer {
    const event = this.#process.at(delayMs, () => {
      this.#live.delete(timer)
      callback()
    })
    const timer = {
      cancel: (): void => {
        event.cancel()
        this.#live.delete(timer)
      },
    }
    this.#live.add(timer)
    return timer
  }

  override run(): void {
    // The world runs them.
  }

  override close(): void {
    for (const timer of [...this.#live]) timer.cancel()
  }
}
