/** A disk of a few megabytes that can be filled: tmpfs, which wants root. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const BALLAST = '.ballast'

/** Why tests with disks must be skipped, false if they need not. Throws with CI=true. */
export function skipWithoutDisks(): string | false {
  let reason: string | false = false
  if (process.getuid?.() !== 0) reason = 'mounting a disk needs root'
  else {
    try {
      new SmallDisk(1)[Symbol.dispose]()
    } catch (error) {
      reason = `no disk can be mounted here: ${(error as Error).message}`
    }
  }
  assert.ok(reason === false || process.env['CI'] !== 'true', String(reason))
  return reason
}

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', timeout: 10_000 })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr}`)
}

export class SmallDisk implements Disposable {
  /** Where it is mounted. */
  readonly path = mkdtempSync(join(tmpdir(), 'small-disk-test-'))

  constructor(megabytes: number) {
    try {
      run('mount', '-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', this.path)
    } catch (error) {
      rmdirSync(this.path)
      throw error
    }
  }

  /** Takes all that is free: whoever needs another block gets ENOSPC. */
  fill(): void {
    for (const bytes of [1 << 20, 4096]) {
      try {
        for (;;) appendFileSync(join(this.path, BALLAST), Buffer.alloc(bytes))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
  }

  /** Gives back what `fill` took. */
  free(): void {
    writeFileSync(join(this.path, BALLAST), '')
    rmSync(join(this.path, BALLAST))
  }

  [Symbol.dispose](): void {
    run('umount', '--lazy', this.path)
    rmdirSync(this.path)
  }
}
