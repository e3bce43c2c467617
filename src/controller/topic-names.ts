/** Names of topics in use, and of those being created, so that no two collide. */
import { collisionKey } from './topic-name.ts'

export class TopicNames {
  readonly #byKey = new Map<string, Set<string>>()

  /** Names that a topic of this name would collide with, itself included. */
  alike(name: string): readonly string[] {
    return [...(this.#byKey.get(collisionKey(name)) ?? [])]
  }

  /** From here on no topic whose name collides with this one can be created. */
  take(name: string): void {
    const key = collisionKey(name)
    const names = this.#byKey.get(key)
    if (names) names.add(name)
    else this.#byKey.set(key, new Set([name]))
  }

  drop(name: string): void {
    const key = collisionKey(name)
    const names = this.#byKey.get(key)
    names?.delete(name)
    if (names?.size === 0) this.#byKey.delete(key)
  }
}
