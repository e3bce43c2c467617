/** Records that the append path does not take as they are: compressed ones and old formats. */

export interface SlowLaneRules {
  readonly apiVersion: number
  readonly compression: number
  readonly logAppendTime: boolean
  readonly nowMs: number
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  readonly compacted: boolean
  readonly decompressionMaxBytes: number
}

export type SlowLaneOutcome =
  | { readonly kind: 'accept' }
  | { readonly kind: 'replace'; readonly bytes: Buffer }
  | { readonly kind: 'reject'; readonly errorCode: number; readonly recordIndex: number }

export function validateAndConvert(_bytes: Buffer, _rules: SlowLaneRules): SlowLaneOutcome {
  return { kind: 'reject', errorCode: 76, recordIndex: -1 }
}

export function findOffsetByTimestamp(
  _batch: Buffer,
  _timestamp: number,
  _decompressionMaxBytes: number,
): { offset: number; timestamp: number } | null {
  return null
}

export function convertDown(
  _batches: Buffer,
  _rules: { magic: 0 | 1; fetchOffset: number; decompressionMaxBytes: number },
): Buffer | null {
  return null
}
