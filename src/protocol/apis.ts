/** The APIs that have a table, by key. */
import * as messages from './messages/index.ts'
import type { ApiSchema } from './schema.ts'

/** Every API that has a table, by ascending key. */
export const APIS: readonly ApiSchema[] = Object.values(messages).sort((a, b) => a.key - b.key)

const byKey = new Map(APIS.map((api) => [api.key, api]))

/** The table of an API, or undefined for a key that has none. */
export function apiByKey(key: number): ApiSchema | undefined {
  return byKey.get(key)
}
