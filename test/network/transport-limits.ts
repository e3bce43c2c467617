/** Limits of a transport that no test comes near unless it sets them. */
import type { TransportOptions } from '../../src/native/addon.ts'

export const limits: TransportOptions = {
  frameBytesMax: 104_857_600,
  inflightMax: 32,
  inflightBytesMax: 8 << 20,
  outputBytesMax: 1 << 20,
  receivedBytesMax: 128 << 20,
  connectionsMax: 2 ** 31 - 1,
  idleMs: 600_000,
  frameStallMs: 30_000,
  sendBufferBytes: -1,
  receiveBufferBytes: -1,
}
