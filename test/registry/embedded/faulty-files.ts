/**
 * JournalFiles in memory, with a disk that can be inspected and told to fail: the nth operation
 * throws, or writes only a part first.
 */
import type { JournalFile, JournalFiles } from '../../../src/registry/embedded/journal-files.ts'

export interface Fault {
  /** Counted over all operations that change something, from 1. */
  readonly operation: number
  readonly code: string
  /** Of a write: how many bytes reach the file before the error. */
  readonly bytesFirst: number
  /** All operations after it fail as well. */
  readonly isLasting: boolean
}

export class MemoryFiles implements JournalFiles {
  readonly contents = new Map<string, Buffer>()
  readonly operations: string[] = []
  fault: Fault | null = null

  async read(path: string): Promise<Buffer | null> {
    const content = this.contents.get(path)
    return content ? Buffer.from(content) : null
  }

  async open(path: string, options: { truncate: boolean }): Promise<JournalFile> {
    this.#step('open')
    // A descriptor stays with its file when the name moves on.
    const file = { content: options.truncate ? Buffer.alloc(0) : this.#content(path), path }
    this.#open.add(file)
    this.contents.set(path, file.content)
    const store = (content: Buffer): void => {
      file.content = content
      if (this.#open.has(file)) this.contents.set(file.path, content)
    }
    return {
      write: async (bytes, position) => {
        const fault = this.#next('write')
        const count = fault
          ? Math.min(fault.bytesFirst, bytes.length)
          : Math.min(bytes.length, 4096)
        const size = Math.max(file.content.length, position + count)
        const content = Buffer.alloc(size)
        file.content.copy(content)
        content.set(bytes.subarray(0, count), position)
        store(content)
        if (fault) throw failure(fault)
        return count
      },
      sync: async () => this.#step('sync'),
      truncate: async (size) => {
        this.#step('truncate')
        store(Buffer.from(file.content.subarray(0, size)))
      },
      close: async () => {
        this.#open.delete(file)
      },
    }
  }

  async rename(from: string, to: string): Promise<void> {
    this.#step('rename')
    this.contents.set(to, this.#content(from))
    this.contents.delete(from)
    for (const file of this.#open) {
      if (file.path === to) this.#open.delete(file)
      else if (file.path === from) file.path = to
    }
  }

  async syncDirectory(): Promise<void> {
    this.#step('syncDirectory')
  }

  readonly #open = new Set<{ content: Buffer; path: string }>()

  #content(path: string): Buffer {
    const content = this.contents.get(path)
    if (!content) throw failure({ operation: 0, code: 'ENOENT', bytesFirst: 0, isLasting: false })
    return content
  }

  #next(name: string): Fault | null {
    this.operations.push(name)
    const fault = this.fault
    const count = this.operations.length
    if (!fault || count < fault.operation) return null
    return count === fault.operation || fault.isLasting ? fault : null
  }

  #step(name: string): void {
    const fault = this.#next(name)
    if (fault) throw failure(fault)
  }
}

function failure(fault: Fault): Error {
  return Object.assign(new Error(`${fault.code}: injected`), { code: fault.code })
}
