/** Entry of a conversion thread: Piscina calls the default task. */
import { CorruptDataError, DecompressionLimitError } from '../compression/errors.ts'
import { convertDown, type DownConversion } from '../log/slow-lane.ts'
import type { ConversionOutcome } from './conversion-pool.ts'

export interface ConversionTask {
  /** Whole batches of format 2; the last one may be cut. */
  readonly bytes: Uint8Array
  readonly options: DownConversion
}

export function convert({ bytes, options }: ConversionTask): ConversionOutcome {
  try {
    const stored = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const converted = convertDown(stored, options)
    return converted === null ? { kind: 'unsupported' } : { kind: 'converted', bytes: converted }
  } catch (error) {
    if (error instanceof CorruptDataError || error instanceof DecompressionLimitError) {
      return { kind: 'corrupt' }
    }
    throw error
  }
}
