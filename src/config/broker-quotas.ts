/**
 * Keys that a broker takes while it runs and from nowhere else (KIP-73, KIP-113): they are in no
 * properties file, and nobody is told of them before they are set.
 */
import { atLeast, type ConfigKey, parseConfigValue } from './define-config.ts'

const UNLIMITED = Number.MAX_SAFE_INTEGER

const rate = {
  type: 'long',
  default: UNLIMITED,
  check: atLeast(0),
  importance: 'medium',
  dynamic: 'per-broker',
} as const

const leaderRate: ConfigKey = {
  key: 'leader.replication.throttled.rate',
  ...rate,
  doc: 'Bytes per second that throttled replicas may fetch of this broker.',
}

const followerRate: ConfigKey = {
  key: 'follower.replication.throttled.rate',
  ...rate,
  doc: 'Bytes per second that throttled replicas of this broker may fetch.',
}

const logDirRate: ConfigKey = {
  key: 'replica.alter.log.dirs.io.max.bytes.per.second',
  ...rate,
  doc: 'Bytes per second that replicas may be moved with between log directories.',
  inert: true,
}

export const brokerQuotas: readonly ConfigKey[] = [leaderRate, followerRate, logDirRate]

/** Bytes per second of replicas that catch up, at both of their ends. */
export interface ReplicationRates {
  readonly leader: number
  readonly follower: number
}

/** What was set for this broker. */
export function replicationRates(dynamic: ReadonlyMap<string, string>): ReplicationRates {
  const read = (row: ConfigKey): number => {
    const text = dynamic.get(row.key)
    return text === undefined ? UNLIMITED : (parseConfigValue(row, text) as number)
  }
  return { leader: read(leaderRate), follower: read(followerRate) }
}
