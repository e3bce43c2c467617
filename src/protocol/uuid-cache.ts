// Hot path.
/**
 * UUIDs between 16 bytes and URL-safe base64. Every fetch names topics by them, and mostly the same
 * ones: what was converted lately is remembered, in a fixed number of places.
 */
import { ZERO_UUID } from './schema.ts'

const UUID_BYTES = 16
/** A power of two. */
const SLOTS = 1024
const WORDS = 4

const texts: string[] = new Array<string>(SLOTS).fill(ZERO_UUID)
/** Of the same slots: an empty one holds the zero uuid, rightly. */
const words = new Int32Array(SLOTS * WORDS)
const slots = new Map<string, number>([[ZERO_UUID, 0]])

function slotOf(a: number, b: number, c: number, d: number): number {
  const mixed = Math.imul(a ^ b ^ c ^ d, 0x9e3779b1)
  return (mixed >>> 16) & (SLOTS - 1)
}

/** The uuid in the 16 bytes from `at` on. */
export function readUuid(view: DataView, at: number): string {
  const a = view.getInt32(at)
  const b = view.getInt32(at + 4)
  const c = view.getInt32(at + 8)
  const d = view.getInt32(at + 12)
  const slot = slotOf(a, b, c, d)
  const first = slot * WORDS
  if (
    words[first] === a &&
    words[first + 1] === b &&
    words[first + 2] === c &&
    words[first + 3] === d
  ) {
    return texts[slot] as string
  }
  const bytes = Buffer.from(view.buffer, view.byteOffset + at, UUID_BYTES)
  const text = bytes.toString('base64url')
  remember(slot, text, [a, b, c, d])
  return text
}

/** Writes the uuid into the 16 bytes from `at` on. Throws a RangeError if it is none. */
export function writeUuid(view: DataView, at: number, text: string): void {
  const slot = slots.get(text)
  if (slot === undefined) {
    const bytes = Buffer.from(view.buffer, view.byteOffset + at, UUID_BYTES)
    if (bytes.write(text, 0, UUID_BYTES, 'base64url') !== UUID_BYTES) {
      throw new RangeError(`not a uuid: ${text}`)
    }
    // Reading it back remembers the canonical form of it.
    readUuid(view, at)
    return
  }
  const first = slot * WORDS
  for (let i = 0; i < WORDS; i += 1) view.setInt32(at + i * 4, words[first + i] as number)
}

function remember(slot: number, text: string, value: readonly number[]): void {
  const old = texts[slot] as string
  if (slots.get(old) === slot) slots.delete(old)
  texts[slot] = text
  words.set(value, slot * WORDS)
  slots.set(text, slot)
}
