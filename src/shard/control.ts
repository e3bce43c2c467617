/** What crosses between main and a shard besides the native queue: plain objects. */
import type { LogOpenOptions, LogOpenResult, LogSettings } from '../native/addon.ts'

export interface TimestampLookup {
  readonly errno: number
  readonly found: boolean
  readonly offset: number
  readonly timestamp: number
  readonly leaderEpoch: number
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
