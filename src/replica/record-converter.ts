/** Makes records readable for consumers of old formats, away from the main thread. */

export interface ConversionRequest {
  /** The format that the consumer knows. */
  readonly magic: 0 | 1
  /** Records below it are left out. */
  readonly fetchOffset: number
  readonly decompressionMaxBytes: number
}

export type ConversionOutcome =
  | { readonly kind: 'converted'; readonly bytes: Uint8Array }
  /** The first batch has a codec that the old format does not know. */
  | { readonly kind: 'unsupported' }
  | { readonly kind: 'corrupt' }

export interface RecordConverter {
  /** `bytes` are batches of format 2, of which the last may be cut. */
  convert(bytes: Uint8Array, request: ConversionRequest): Promise<ConversionOutcome>
}
