/** Transports for tests. */
import type { TransportOptions } from '../../src/native/addon.ts'
import { Transport } from '../../src/network/transport.ts'
import { silentLogger } from '../../src/util/logger.ts'

/** That no test comes near unless it sets them. */
export const TRANSPORT_LIMITS: TransportOptions = {
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

export const ANY_ADDRESS = { maxPerIp: 2 ** 31 - 1, maxPerIpOverrides: new Map<string, number>() }

/** One that listens nowhere: for shards, which need one, and for connections to others. */
export function idleTransport(): Transport {
  const transport = new Transport(TRANSPORT_LIMITS, ANY_ADDRESS, silentLogger)
  transport.attachEvents({
    handle: () => undefined,
    result: () => undefined,
    advanced: () => undefined,
    storageError: () => undefined,
  })
  return transport
}
