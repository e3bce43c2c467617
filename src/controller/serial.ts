/** Runs tasks one after another, in the order they were given. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve()

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task)
    // What a task failed with is for its caller; the next one starts all the same.
    this.#last = result.then(
      () => undefined,
      () => undefined,
    )
    return result
  }
}
