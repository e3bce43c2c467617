/**
 * An append-only file of records, each durable before it is acknowledged.
 *
 * On disk: records of `length:uint32, crc32:uint32, payload`, big-endian, the checksum over the
 * payload. The file comes into being complete: written beside its place, synced and renamed; so
 * its first record is never torn. After a crash the file is a prefix of what was written; a torn
 * tail, which nobody was told of, is cut off when it is opened.
 *
 * Owned by one EmbeddedNodeStore, which never calls it twice at once.
 */
import { dirname } from 'node:path'
import { crc32 } from 'node:zlib'
import { RegistryError } from '../cluster-registry.ts'
import { errorCode } from './error-code.ts'
import type { JournalFile, JournalFiles } from './journal-files.ts'

export const RECORD_HEADER_BYTES = 8
/** No record is longer: a longer announcement is damage. */
export const RECORD_BYTES_MAX = 64 * 1024 * 1024
const REWRITE_CHUNK_BYTES = 1024 * 1024

export interface JournalCut {
  /** Of the first byte that was cut off. */
  readonly position: number
  readonly bytes: number
  readonly reason: string
}

export interface OpenedJournal {
  readonly journal: Journal
  /** What was in the file, in order. */
  readonly payloads: readonly Buffer[]
  readonly cut: JournalCut | null
}

/** A payload with its length and checksum in front. */
export function encodeRecord(payload: string): Buffer {
  const bytes = Buffer.byteLength(payload)
  const record = Buffer.allocUnsafe(RECORD_HEADER_BYTES + bytes)
  record.write(payload, RECORD_HEADER_BYTES)
  record.writeUInt32BE(bytes, 0)
  record.writeUInt32BE(crc32(record.subarray(RECORD_HEADER_BYTES)), 4)
  return record
}

/** Walks records up to the end or the first damage. */
export function scanRecords(file: Buffer): { payloads: Buffer[]; cut: JournalCut | null } {
  const payloads: Buffer[] = []
  let position = 0
  const cutHere = (reason: string) => ({
    payloads,
    cut: { position, bytes: file.length - position, reason },
  })
  while (position < file.length) {
    const left = file.length - position - RECORD_HEADER_BYTES
    if (left < 0) return cutHere('the header of a record is incomplete')
    const bytes = file.readUInt32BE(position)
    if (bytes === 0 || bytes > RECORD_BYTES_MAX) {
      return cutHere(`a record cannot have ${bytes} bytes`)
    }
    if (bytes > left) return cutHere('a record is incomplete')
    const start = position + RECORD_HEADER_BYTES
    const payload = file.subarray(start, start + bytes)
    if (crc32(payload) !== file.readUInt32BE(position + 4)) {
      return cutHere('the checksum of a record is wrong')
    }
    payloads.push(payload)
    position = start + bytes
  }
  return { payloads, cut: null }
}

export class Journal {
  readonly path: string
  readonly #files: JournalFiles
  #file: JournalFile
  #bytes: number
  /** The file cannot be appended to any more: it must be written anew first. */
  #isBroken = false

  private constructor(path: string, files: JournalFiles, file: JournalFile, bytes: number) {
    this.path = path
    this.#files = files
    this.#file = file
    this.#bytes = bytes
  }

  /**
   * Opens the journal, cutting off a torn tail; null if there is none. Throws a RegistryError of
   * kind `corrupt` if not even the first record is whole.
   */
  static async open(path: string, files: JournalFiles): Promise<OpenedJournal | null> {
    try {
      const content = await files.read(path)
      if (content === null) return null
      const { payloads, cut } = scanRecords(content)
      if (payloads.length === 0) {
        throw new RegistryError(
          'corrupt',
          `${path}: the first record is damaged; move the file away to start from the folders`,
        )
      }
      const file = await files.open(path, { truncate: false })
      const bytes = cut === null ? content.length : cut.position
      const journal = new Journal(path, files, file, bytes)
      if (cut !== null) await journal.#cutTail()
      return { journal, payloads, cut }
    } catch (error) {
      throw asRegistryError(path, 'cannot be opened', error)
    }
  }

  /** Makes a journal that holds the given records, in place of any that is there. */
  static async create(
    path: string,
    files: JournalFiles,
    records: Iterable<Buffer>,
  ): Promise<Journal> {
    try {
      const { file, bytes } = await writeBeside(path, files, records)
      const journal = new Journal(path, files, file, bytes)
      await journal.#putInPlace()
      return journal
    } catch (error) {
      throw asRegistryError(path, 'cannot be created', error)
    }
  }

  get bytes(): number {
    return this.#bytes
  }

  /**
   * Appends records and syncs. If it throws (RegistryError, kind `unavailable`) they are cut off
   * again; where even that fails, or a sync has, the next append first writes the file anew from
   * `snapshot`.
   */
  async append(records: Buffer, snapshot: () => Iterable<Buffer>): Promise<void> {
    if (this.#isBroken) await this.rewrite(snapshot())
    try {
      await writeAll(this.#file, records, this.#bytes)
    } catch (error) {
      await this.#cutBack()
      throw asRegistryError(this.path, 'cannot be written', error)
    }
    try {
      await this.#file.sync()
    } catch (error) {
      // What the page cache holds after a failed sync says nothing about the disk.
      this.#isBroken = true
      await this.#cutBack()
      throw asRegistryError(this.path, 'cannot be synced', error)
    }
    this.#bytes += records.length
  }

  /** Replaces the file by one that holds only `records`: compaction, or repair. */
  async rewrite(records: Iterable<Buffer>): Promise<void> {
    const old = this.#file
    try {
      const { file, bytes } = await writeBeside(this.path, this.#files, records)
      this.#file = file
      this.#bytes = bytes
      // Until the new name is durable neither file may be appended to.
      this.#isBroken = true
      await this.#putInPlace()
      this.#isBroken = false
    } catch (error) {
      throw asRegistryError(this.path, 'cannot be written anew', error)
    } finally {
      if (this.#file !== old) await closeQuietly(old)
    }
  }

  async close(): Promise<void> {
    await this.#file.close()
  }

  /** After opening: what follows the last whole record must not meet the next append. */
  async #cutTail(): Promise<void> {
    try {
      await this.#file.truncate(this.#bytes)
      await this.#file.sync()
    } catch (error) {
      await closeQuietly(this.#file)
      throw error
    }
  }

  async #putInPlace(): Promise<void> {
    await this.#files.rename(besidePath(this.path), this.path)
    await this.#files.syncDirectory(dirname(this.path))
  }

  /** Takes back a failed append, so that a crash does not bring it to life. */
  async #cutBack(): Promise<void> {
    try {
      await this.#file.truncate(this.#bytes)
      await this.#file.sync()
    } catch {
      this.#isBroken = true // Repaired by the next append, which writes the file anew.
    }
  }
}

function besidePath(path: string): string {
  return `${path}.tmp`
}

async function writeBeside(
  path: string,
  files: JournalFiles,
  records: Iterable<Buffer>,
): Promise<{ file: JournalFile; bytes: number }> {
  const file = await files.open(besidePath(path), { truncate: true })
  try {
    let bytes = 0
    let chunk: Buffer[] = []
    let chunkBytes = 0
    const flush = async () => {
      await writeAll(file, Buffer.concat(chunk, chunkBytes), bytes)
      bytes += chunkBytes
      chunk = []
      chunkBytes = 0
    }
    for (const record of records) {
      chunk.push(record)
      chunkBytes += record.length
      if (chunkBytes >= REWRITE_CHUNK_BYTES) await flush()
    }
    if (chunkBytes > 0) await flush()
    await file.sync()
    return { file, bytes }
  } catch (error) {
    await closeQuietly(file)
    throw error
  }
}

async function writeAll(file: JournalFile, bytes: Buffer, position: number): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const count = await file.write(bytes.subarray(written), position + written)
    if (count <= 0) throw new Error('a write took no bytes')
    written += count
  }
}

/** For a file whose content does not matter any more: that it cannot be closed changes nothing. */
async function closeQuietly(file: JournalFile): Promise<void> {
  await file.close().catch(() => undefined)
}

function asRegistryError(path: string, what: string, error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  return new RegistryError('unavailable', `${path} ${what}: ${errorCode(error)}`, { cause: error })
}
