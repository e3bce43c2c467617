/** What every client is given, and what it is taken to mean. */
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../util/clock.ts'
import { type Random, systemRandom } from '../util/random.ts'
import { InvalidArgumentError } from './errors.ts'

export interface ClientOptions {
  /** `host:port` of some brokers, as a list or joined by commas; the others are found from them. */
  readonly bootstrapServers: string | readonly string[]
  /** `shardlog` if it is not given. */
  readonly clientId?: string
  /** How long an answer may take; 30000 ms. */
  readonly requestTimeoutMs?: number
  /** How long connecting may take, and then agreeing on versions; 10000 ms. */
  readonly connectTimeoutMs?: number
  /** Wait before the first repetition; 100 ms, doubling up to `retryBackoffMaxMs`, 1000 ms. */
  readonly retryBackoffMs?: number
  readonly retryBackoffMaxMs?: number
  /** Age at which metadata is asked for anew; 300000 ms. */
  readonly metadataMaxAgeMs?: number
  readonly clock?: Clock
  readonly random?: Random
  /** Opens a stream to a broker in place of a TCP socket. */
  readonly connect?: (host: string, port: number) => Duplex
  /**
   * Brokers before 0.10 close the connection when they are asked for their versions: take those that
   * do so for 0.9 ones; false.
   */
  readonly legacyBrokers?: boolean
}

export interface HostAndPort {
  readonly host: string
  readonly port: number
}

export interface ResolvedClientOptions {
  readonly bootstrap: readonly HostAndPort[]
  readonly clientId: string
  readonly requestTimeoutMs: number
  readonly connectTimeoutMs: number
  readonly retryBackoffMs: number
  readonly retryBackoffMaxMs: number
  readonly metadataMaxAgeMs: number
  readonly clock: Clock
  readonly random: Random
  readonly connect: ((host: string, port: number) => Duplex) | undefined
  readonly legacyBrokers: boolean
}

/** `host:port`, `[v6]:port` or `PROTOCOL://host:port`. Throws InvalidArgumentError. */
export function parseHostAndPort(text: string): HostAndPort {
  const match = /^(?:[A-Za-z0-9_]+:\/\/)?(?:\[([^\]]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text.trim())
  const port = Number(match?.[3])
  if (match === null || port < 1 || port > 65535) {
    throw new InvalidArgumentError(`${JSON.stringify(text)} is not host:port`)
  }
  return { host: (match[1] ?? match[2]) as string, port }
}

export function resolveClientOptions(options: ClientOptions): ResolvedClientOptions {
  const servers = options.bootstrapServers
  const texts = (typeof servers === 'string' ? servers.split(',') : [...servers])
    .map((text) => text.trim())
    .filter((text) => text !== '')
  if (texts.length === 0) throw new InvalidArgumentError('bootstrapServers names no broker')
  return {
    bootstrap: texts.map(parseHostAndPort),
    clientId: options.clientId ?? 'shardlog',
    requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    retryBackoffMs: options.retryBackoffMs ?? 100,
    retryBackoffMaxMs: options.retryBackoffMaxMs ?? 1000,
    metadataMaxAgeMs: options.metadataMaxAgeMs ?? 300_000,
    clock: options.clock ?? systemClock,
    random: options.random ?? systemRandom,
    connect: options.connect,
    legacyBrokers: options.legacyBrokers ?? false,
  }
}
