/**
 * What the main thread tells the owner of a log besides appends: it goes through the same queue, and
 * so takes effect between the appends before and those behind it. `false`: the log is gone.
 */
import { addon } from '../native/addon.ts'

/** The numbers are those of `ShardRecord::Kind` in `native/shard.h`. */
const Kind = {
  LEADERSHIP: 1,
  HIGH_WATERMARK: 2,
  FAIL_PARKED: 3,
  FOLLOW: 5,
  EXPIRE_PARKED: 6,
  IN_SYNC: 7,
} as const

/**
 * This broker leads from here on: appends of that epoch are taken. Without followers what is
 * appended is committed at once; with some the high watermark waits for `moveHighWatermark`.
 */
export function lead(
  log: number,
  { leaderEpoch, followers }: { readonly leaderEpoch: number; readonly followers: number },
): boolean {
  return addon.postToLog(log, Kind.LEADERSHIP, followers, leaderEpoch)
}

/**
 * Another broker leads in that epoch: only what it wrote is taken. What waits for replicas fails
 * with NOT_LEADER_OR_FOLLOWER.
 */
export function follow(log: number, leaderEpoch: number): boolean {
  return addon.postToLog(log, Kind.FOLLOW, 0, leaderEpoch)
}

/** Nobody leads that this broker knows of. */
export function stepDown(log: number): boolean {
  return addon.postToLog(log, Kind.LEADERSHIP, 0, -1)
}

/** Of the leader, or what the leader of that epoch says. It never goes back. */
export function moveHighWatermark(log: number, offset: number, leaderEpoch: number): boolean {
  return addon.postToLog(log, Kind.HIGH_WATERMARK, offset, leaderEpoch)
}

/**
 * How many replicas are in sync, the leader with them, and how many acks=-1 asks for (no more than
 * there are). With fewer such an append is refused with NOT_ENOUGH_REPLICAS, or, when it was taken
 * before, answered with NOT_ENOUGH_REPLICAS_AFTER_APPEND. `lead` sets both to 1.
 */
export function setInSync(
  log: number,
  { inSync, required }: { readonly inSync: number; readonly required: number },
): boolean {
  return addon.postToLog(log, Kind.IN_SYNC, inSync, required)
}

/** Answers what waits for replicas with an error. */
export function failParked(log: number, errorCode: number): boolean {
  return addon.postToLog(log, Kind.FAIL_PARKED, errorCode, 0)
}

/** Answers what has waited for replicas for too long with REQUEST_TIMED_OUT. */
export function expireParked(log: number, nowMs: number): boolean {
  return addon.postToLog(log, Kind.EXPIRE_PARKED, nowMs, 0)
}
