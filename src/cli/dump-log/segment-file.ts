/** The batches and messages of a segment file, as they lie there, sound or not. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { basename } from 'node:path'
import { ToolError } from '../kit/tool.ts'

/** Offset, size, and what lies up to the magic byte. */
const HEAD_BYTES = 17
const OVERHEAD_BYTES = 12
/** The size field of a message of format 0 without key and value. */
const SIZE_MIN = 14

export interface RawBatch {
  readonly position: number
  /** Of the whole batch. */
  readonly size: number
  readonly magic: number
}

/** A file that is read by position. */
export class FileReader {
  readonly path: string
  readonly size: number
  readonly #fd: number

  /** Throws ToolError. */
  constructor(path: string) {
    this.path = path
    try {
      this.#fd = openSync(path, 'r')
    } catch (error) {
      throw new ToolError(`cannot read ${path}: ${(error as Error).message}`)
    }
    const status = fstatSync(this.#fd)
    if (!status.isFile()) {
      closeSync(this.#fd)
      throw new ToolError(`${path} is not a file`)
    }
    this.size = status.size
  }

  /** Bytes from `position` on: `count`, or fewer at the end of the file. */
  read(position: number, count: number): Buffer {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(count, this.size - position)))
    let at = 0
    while (at < bytes.length) {
      const got = readSync(this.#fd, bytes, at, bytes.length - at, position + at)
      if (got === 0) break
      at += got
    }
    return bytes.subarray(0, at)
  }

  close(): void {
    closeSync(this.#fd)
  }
}

/** Batches from `position` up to `end`; one that is cut off or has no size ends them. */
export function* batchesOf(
  file: FileReader,
  position = 0,
  end = file.size,
): Generator<RawBatch, void, undefined> {
  let at = position
  while (end - at >= HEAD_BYTES) {
    const head = file.read(at, HEAD_BYTES)
    if (head.length < HEAD_BYTES) return
    const size = head.readInt32BE(8)
    if (size < SIZE_MIN || at + OVERHEAD_BYTES + size > end) return
    yield { position: at, size: OVERHEAD_BYTES + size, magic: head.readInt8(16) }
    at += OVERHEAD_BYTES + size
  }
}

/** The base offset that a segment's file name tells. Throws ToolError. */
export function baseOffsetOf(path: string): number {
  const name = basename(path).split('.')[0] as string
  if (!/^\d{1,20}$/.test(name)) throw new ToolError(`${path} is not named after an offset`)
  return Number(name)
}
