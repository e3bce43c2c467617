/** IP addresses as bytes, as an Envelope carries them: 4 for IPv4, 16 for IPv6. */
import { isIPv4, isIPv6 } from 'node:net'

const GROUPS = 8

/** The bytes of an address; of 0.0.0.0 for a text that is none, such as the name of a pipe. */
export function addressBytes(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number))
  const plain = text.split('%')[0] as string
  if (!isIPv6(plain)) return Buffer.alloc(4)
  const [head = '', tail] = withoutDots(plain).split('::')
  const left = groupsOf(head)
  const right = groupsOf(tail ?? '')
  const bytes = Buffer.alloc(2 * GROUPS)
  for (const [i, group] of left.entries()) bytes.writeUInt16BE(group, 2 * i)
  for (const [i, group] of right.entries()) {
    bytes.writeUInt16BE(group, 2 * (GROUPS - right.length + i))
  }
  return bytes
}

/** The text of 4 or 16 bytes; of any other length it is empty. */
export function addressText(bytes: Uint8Array): string {
  if (bytes.length === 4) return [...bytes].join('.')
  if (bytes.length !== 2 * GROUPS) return ''
  const groups = Array.from({ length: GROUPS }, (_, i) =>
    (((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number)).toString(16),
  )
  return groups.join(':')
}

/** `::ffff:1.2.3.4` with its last four bytes as two groups. */
function withoutDots(text: string): string {
  const at = text.lastIndexOf(':') + 1
  const last = text.slice(at)
  if (!isIPv4(last)) return text
  const [a, b, c, d] = last.split('.').map(Number) as [number, number, number, number]
  return `${text.slice(0, at)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16))
}
