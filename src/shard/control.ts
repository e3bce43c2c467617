/** What crosses between main and a shard besides the native queue: plain objects. */
import type { LogOpenOptions, LogOpenResult, LogSettings } from '../native/addon.ts'

export interface TimestampLookup {
  readonly errno: number
  readonly found: boolean
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
}

/** A segment as the choice of logs to clean sees it. */
export interface SegmentState {
  readonly baseOffset: number
  readonly bytes: number
  /** The newest time in it; -1 unless times were asked for. */
  readonly largestTimestamp: number
  /** Of its first batch; -1 unless times were asked for, or when it has none. */
  readonly firstTimestamp: number
}

export interface CleaningState {
  readonly errno: number
  /** What `replaceSegments` is to be given: how often the log was cut until now. */
  readonly truncations: number
  /** The last one is the active one. */
  readonly segments: readonly SegmentState[]
}

/** Name of a task → [what it is given, what it answers]. */
export interface ControlTasks {
  open: [logs: readonly LogOpenOptions[], LogOpenResult[]]
  /** Answers an errno per log. */
  close: [{ readonly logs: readonly number[]; readonly clean: boolean }, number[]]
  configure: [{ readonly log: number; readonly settings: LogSettings }, boolean]
  /** Retention; answers [errno, segments, bytes] per log. */
  deleteOldSegments: [
    { readonly logs: readonly number[]; readonly nowMs: number },
    [number, number, number][],
  ]
  /** Answers a protocol error code. */
  deleteRecords: [{ readonly log: number; readonly offset: number }, number]
  /** fdatasync; answers an errno per log. */
  flush: [logs: readonly number[], number[]]
  recoveryPoints: [logs: readonly number[], number[]]
  offsetForTimestamp: [
    { readonly log: number; readonly timestamp: number; readonly limitOffset: number },
    TimestampLookup,
  ]
  epochOfOffset: [{ readonly log: number; readonly offset: number }, number]
  epochEndOffset: [{ readonly log: number; readonly epoch: number }, [number, number]]
  /**
   * Cuts a log that does not lead at an offset, or with `fully` empties it to begin there, behind
   * everything that was queued before. 0 or an errno; 1 (EPERM) for a log that leads, 116 (ESTALE)
   * for one that does not follow that leader epoch (-1: any).
   */
  truncate: [
    {
      readonly log: number
      readonly offset: number
      readonly fully: boolean
      readonly leaderEpoch: number
    },
    number,
  ]
  /** null for a log that is gone. */
  cleaningStates: [
    { readonly logs: readonly { readonly log: number; readonly times: boolean }[] },
    (CleaningState | null)[],
  ]
  /** Rows of 3: producer id, offset of its last record (-1: none), epoch. */
  lastBatchesOfProducers: [log: number, Float64Array]
  /**
   * Puts the cleaned segment of the first of `bases` in the place of all of them. 0 or an errno:
   * 116 (ESTALE) when the log has changed.
   */
  replaceSegments: [
    { readonly log: number; readonly bases: readonly number[]; readonly truncations: number },
    number,
  ]
  /** Ends the shard's thread as a fault would; tests only, and only when they ask for it. */
  crash: [null, never]
}

export type ControlName = keyof ControlTasks
export type ControlInput<N extends ControlName> = ControlTasks[N][0]
export type ControlOutput<N extends ControlName> = ControlTasks[N][1]

export interface ControlMessage<N extends ControlName = ControlName> {
  readonly shard: number
  readonly name: N
  readonly input: ControlInput<N>
}

export interface ShardStart {
  readonly shard: number
  readonly decompressionMaxBytes: number
}
