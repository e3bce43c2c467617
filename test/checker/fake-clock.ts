/** A clock of a process of its own, through Debian's libfaketime: `Date` jumps, timers do not. */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** The library for programs of several threads; null where it is not installed. */
function library(): string | null {
  const folders = readdirSync('/usr/lib').map((name) => join('/usr/lib', name, 'faketime'))
  const paths = folders.map((folder) => join(folder, 'libfaketimeMT.so.1'))
  return paths.find((path) => existsSync(path)) ?? null
}

/** Why tests with jumping clocks must be skipped, false if they need not. Throws with CI=true. */
export function skipWithoutFakeClock(): string | false {
  if (library() !== null) return false
  assert.notEqual(process.env['CI'], 'true', 'libfaketime is not installed')
  return 'libfaketime is not installed'
}

export class FakeClock {
  readonly #folder = mkdtempSync(join(tmpdir(), 'fake-clock-'))

  constructor() {
    this.set(0)
  }

  /** For the process that is to have this clock. */
  get env(): NodeJS.ProcessEnv {
    return {
      LD_PRELOAD: library() ?? '',
      FAKETIME_TIMESTAMP_FILE: this.#file,
      // The file is looked at once in a second.
      FAKETIME_CACHE_DURATION: '1',
      DONT_FAKE_MONOTONIC: '1',
    }
  }

  get #file(): string {
    return join(this.#folder, 'offset')
  }

  /** Sets it so many hours before or behind the true time. */
  set(hours: number): void {
    writeFileSync(this.#file, `${hours < 0 ? '-' : '+'}${Math.abs(hours)}h\n`)
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
