/** What goes wrong in decompression. */

/** The bytes are not what the codec makes. */
export class CorruptDataError extends Error {
  override readonly name = 'CorruptDataError'
}

/** The bytes would become more than is allowed. */
export class DecompressionLimitError extends Error {
  override readonly name = 'DecompressionLimitError'
}

/** Throws when `total` bytes are more than `most`. */
export function checkLimit(total: number, most: number): void {
  if (total > most) {
    throw new DecompressionLimitError(`more than ${most} bytes when decompressed`)
  }
}
