/** Records of `__consumer_offsets` as JSON lines, as Apache's formatters print them. */
import type { ConsumerRecord } from '../../client/records.ts'
import { type GroupRecord, readGroupRecord } from '../../group/record-schemas.ts'
import type { Formatter } from './formatters.ts'

function describeValue(record: GroupRecord): unknown {
  if (record.kind === 'unknown' || record.value === null) return null
  if (record.kind === 'offset') {
    const { version, offset, leaderEpoch, metadata, commitTimestamp, expireTimestamp } =
      record.value
    return {
      version,
      data: {
        offset,
        ...(version >= 3 ? { leaderEpoch } : {}),
        metadata,
        commitTimestamp,
        ...(version === 1 ? { expireTimestamp } : {}),
      },
    }
  }
  const { version, members, ...group } = record.value
  return {
    version,
    data: {
      ...group,
      members: members.map(({ subscription, assignment, ...member }) => ({
        ...member,
        subscription: subscription.toString('base64'),
        assignment: assignment.toString('base64'),
      })),
    },
  }
}

/** Prints records of one kind; others, and what cannot be read, are left out. */
export function groupRecordFormatter(kind: 'offset' | 'group'): Formatter {
  return (record: ConsumerRecord) => {
    if (record.key === null) return ''
    let read: GroupRecord
    try {
      read = readGroupRecord(record.key, record.value)
    } catch {
      // The topic may hold records of a later release.
      return ''
    }
    if (read.kind !== kind) return ''
    const data =
      read.kind === 'offset'
        ? { group: read.group, topic: read.topic, partition: read.partition }
        : { group: read.group }
    const key = { version: read.keyVersion, data }
    return `${JSON.stringify({ key, value: describeValue(read) })}\n`
  }
}
