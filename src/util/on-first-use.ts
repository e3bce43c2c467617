/** Packages that a broker may run for days without: it is ready sooner when they are loaded late. */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

/** A package (by name, CommonJS) that is loaded by the first call, which throws if it cannot be. */
export function onFirstUse<T>(name: string): () => T {
  let loaded: T | null = null
  return () => {
    loaded ??= require(name) as T
    return loaded
  }
}
