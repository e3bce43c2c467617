/** Waiting for what others bring about. */
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'

/**
 * Resolves as soon as `condition` holds, which is looked at every few milliseconds; fails with what
 * was waited for after `patienceMs`.
 */
export async function until(
  what: string | (() => string),
  condition: () => boolean | Promise<boolean>,
  patienceMs = 60_000,
  everyMs = 5,
): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await condition())) {
    if (performance.now() >= deadline) {
      assert.fail(`waited in vain for: ${typeof what === 'string' ? what : what()}`)
    }
    await pause(everyMs)
  }
}
