/** Entry of a cleaner thread: Piscina calls the task by name. */
import { randomBytes } from 'node:crypto'
import { CorruptDataError, DecompressionLimitError } from '../compression/errors.ts'
import { CleaningAbortedError, type CleaningPlan, SegmentCleaner } from '../log/segment-cleaner.ts'
import { addon, type OffsetMap } from '../native/addon.ts'
import type { CleanerOutcome, CleanerThreadOptions } from './cleaner-thread.ts'

const SECRET_BYTES = 16
const IO_BUFFER_BYTES_MIN = 4096

export type CleanerTask =
  | {
      readonly kind: 'index'
      readonly plan: CleaningPlan
      /** Not zero: stop. */
      readonly abort: Int32Array
      readonly options: CleanerThreadOptions
    }
  | { readonly kind: 'clean'; readonly group: readonly number[] }
  | { readonly kind: 'discard'; readonly group: readonly number[] }
  | { readonly kind: 'end' }

interface Current {
  readonly cleaner: SegmentCleaner
  readonly map: OffsetMap
}

let current: Current | null = null

export function cleaner(task: CleanerTask): CleanerOutcome<unknown> {
  try {
    switch (task.kind) {
      case 'index':
        end()
        current = begin(task.plan, task.options, throttle(task.options.bytesPerSecond, task.abort))
        return { kind: 'done', result: current.cleaner.index() }
      case 'clean':
        if (current === null) return { kind: 'aborted', reason: 'the thread is another one' }
        return { kind: 'done', result: current.cleaner.clean(task.group) }
      case 'discard':
        current?.cleaner.discard(task.group)
        return { kind: 'done', result: null }
      case 'end':
        end()
        return { kind: 'done', result: null }
    }
  } catch (error) {
    return outcomeOf(error)
  }
}

function begin(
  plan: CleaningPlan,
  options: CleanerThreadOptions,
  charge: (bytes: number) => void,
): Current {
  const map = addon.createOffsetMap(
    options.mapBytes,
    options.mapLoadFactor,
    randomBytes(SECRET_BYTES),
  )
  const half = Math.max(IO_BUFFER_BYTES_MIN, Math.floor(options.ioBufferBytes / 2))
  const resources = {
    map,
    readBuffer: { bytes: Buffer.allocUnsafeSlow(half) },
    writeBuffer: Buffer.allocUnsafeSlow(half),
    charge,
  }
  return { map, cleaner: new SegmentCleaner(plan, resources) }
}

function end(): void {
  if (current !== null) addon.clearOffsetMap(current.map)
  current = null
}

/** Keeps to so many bytes a second by waiting after the bytes; notices an abort meanwhile. */
function throttle(bytesPerSecond: number, abort: Int32Array): (bytes: number) => void {
  const startedMs = performance.now()
  let total = 0
  return (bytes) => {
    total += bytes
    for (;;) {
      if (Atomics.load(abort, 0) !== 0) throw new CleaningAbortedError('it was stopped')
      const waitMs = (total / bytesPerSecond) * 1000 - (performance.now() - startedMs)
      if (waitMs < 1) return
      Atomics.wait(abort, 0, 0, waitMs)
    }
  }
}

function outcomeOf(error: unknown): CleanerOutcome<never> {
  if (error instanceof CleaningAbortedError) return { kind: 'aborted', reason: error.message }
  if (error instanceof CorruptDataError || error instanceof DecompressionLimitError) {
    return { kind: 'corrupt', reason: error.message }
  }
  const { code, message } = error as NodeJS.ErrnoException
  if (code !== undefined) return { kind: 'failed', reason: message }
  throw error
}
