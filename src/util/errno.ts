/** Names of errno values. */
import { constants } from 'node:os'

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]))

/** `errnoName(28)` and `errnoName(-28)` are `ENOSPC`. */
export function errnoName(errno: number): string {
  return names.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`
}
