/**
 * The credentials of the broker's ZooKeeper session, in its data directory: a broker that was
 * killed and comes back ends its old session with them, instead of waiting until it expires.
 *
 * On disk: `zookeeper.session`, JSON, readable by its owner only. Without it, or with one that is
 * damaged, a start is only slower. It names the directory it was made for, so that a copy of a data
 * directory does not end the session of the broker that it was copied from.
 */
import { open, readFile, rename, rm, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { SessionCredentials } from './client.ts'

export const SESSION_FILE = 'zookeeper.session'

/** Keeps the credentials of a session for the next run. */
export interface SessionKeeper {
  /** What an earlier run left for that connect string; null if there is nothing of use. */
  read(connect: string): Promise<SessionCredentials | null>
  write(connect: string, credentials: SessionCredentials): Promise<void>
  remove(): Promise<void>
}

export class SessionFile implements SessionKeeper {
  readonly #directory: string
  readonly #path: string

  constructor(directory: string) {
    this.#directory = directory
    this.#path = join(directory, SESSION_FILE)
  }

  /** What an earlier run in this directory left; null if there is nothing of use. */
  async read(connect: string): Promise<SessionCredentials | null> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
    const parsed = parse(text)
    if (parsed === null || parsed['connect'] !== connect) return null
    if (parsed['place'] !== (await this.#place())) return null
    const { id, password } = parsed
    const isWhole =
      typeof id === 'string' &&
      typeof password === 'string' &&
      /^[0-9a-f]{1,16}$/.test(id) &&
      /^[0-9A-F]{32}$/.test(password)
    return isWhole ? { id, password } : null
  }

  async write(connect: string, credentials: SessionCredentials): Promise<void> {
    const beside = `${this.#path}.tmp`
    const text = JSON.stringify({ connect, place: await this.#place(), ...credentials })
    const file = await open(beside, 'w', 0o600)
    try {
      await file.writeFile(text)
    } finally {
      await file.close()
    }
    await rename(beside, this.#path)
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true })
  }

  async #place(): Promise<string> {
    return `${hostname()} ${(await stat(this.#directory)).ino}`
  }
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch (error) {
    if (error instanceof SyntaxError) return null // Torn by a crash: no more than absent.
    throw error
  }
}
