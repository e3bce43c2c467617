/**
 * The file operations of the journal, as an interface so that tests can make any of them fail.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { errorCode } from './error-code.ts'

export interface JournalFile {
  /** Writes at a position; how many bytes it took, which may be fewer than given. */
  write(bytes: Uint8Array, position: number): Promise<number>
  sync(): Promise<void>
  truncate(size: number): Promise<void>
  close(): Promise<void>
}

export interface JournalFiles {
  /** The whole file, or null if there is none. */
  read(path: string): Promise<Buffer | null>
  /** Opens for writing; with `truncate` as an empty file that is created if need be. */
  open(path: string, options: { truncate: boolean }): Promise<JournalFile>
  rename(from: string, to: string): Promise<void>
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>
}

export const nodeJournalFiles: JournalFiles = {
  async read(path) {
    try {
      return await readFile(path)
    } catch (error) {
      if (errorCode(error) === 'ENOENT') return null
      throw error
    }
  },

  async open(path, options) {
    const handle = await open(path, options.truncate ? 'w' : 'r+')
    return {
      write: async (bytes, position) =>
        (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
      sync: () => handle.datasync(),
      truncate: (size) => handle.truncate(size),
      close: () => handle.close(),
    }
  },

  rename,

  async syncDirectory(path) {
    const handle = await open(path, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}
