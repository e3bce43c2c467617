/**
 * Requests that wait for their turn at the same time are carried out in one event, so that they
 * share writes. Each plans in the order in which it came, and sees what those before it plan.
 */
import type { ActiveController } from './active-controller.ts'

interface Job<C> {
  readonly count: number
  readonly plan: () => readonly C[]
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class SharedEvent<C> {
  readonly #active: ActiveController
  readonly #changesMax: number
  readonly #carryOut: (changes: readonly C[]) => Promise<void>
  #waiting: Job<C>[] = []

  constructor(options: {
    readonly active: ActiveController
    /** Changes that one event carries out, unless a single request has more. */
    readonly changesMax: number
    readonly carryOut: (changes: readonly C[]) => Promise<void>
  }) {
    this.#active = options.active
    this.#changesMax = options.changesMax
    this.#carryOut = options.carryOut
  }

  /** `plan` gives what is to be carried out, of at most `count` changes. Throws what fails. */
  run(count: number, plan: () => readonly C[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ count, plan, resolve, reject })
      if (this.#waiting.length === 1) this.#begin()
    })
  }

  #begin(): void {
    let jobs: readonly Job<C>[] = []
    const event = async (): Promise<void> => {
      jobs = this.#take()
      if (this.#waiting.length > 0) this.#begin()
      const changes = jobs.flatMap((job) => job.plan())
      if (changes.length === 0) return
      await this.#active.checkEpoch()
      await this.#carryOut(changes)
    }
    this.#active.run(event).then(
      () => {
        for (const job of jobs) job.resolve()
      },
      (error: unknown) => {
        // Over before its turn came: nobody else will take those that wait.
        if (jobs.length === 0) jobs = this.#waiting.splice(0)
        for (const job of jobs) job.reject(error)
      },
    )
  }

  #take(): Job<C>[] {
    let count = 0
    let end = 0
    for (const job of this.#waiting) {
      count += job.count
      if (end > 0 && count > this.#changesMax) break
      end += 1
    }
    return this.#waiting.splice(0, end)
  }
}
