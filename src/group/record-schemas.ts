/**
 * Records of the topic `__consumer_offsets`, as Apache Kafka writes them: keys and values that
 * begin with their version as int16. Read in every version; written as 3.9 does, so that its
 * brokers and tools read them.
 */
import { decodeMessage, encodeMessage } from '../protocol/codec.ts'
import { MalformedMessageError } from '../protocol/message-reader.ts'
import { MessageWriter } from '../protocol/message-writer.ts'
import {
  defineMessage,
  inVersions,
  type MessageInput,
  type MessageSchema,
} from '../protocol/schema.ts'

export const OFFSETS_TOPIC = '__consumer_offsets'

const OffsetCommitKey = defineMessage({
  name: 'OffsetCommitKey',
  versions: '0-1',
  flexible: 'none',
  fields: {
    group: { versions: '0+', type: 'string' },
    topic: { versions: '0+', type: 'string' },
    partition: { versions: '0+', type: 'int32' },
  },
})

const OffsetCommitValue = defineMessage({
  name: 'OffsetCommitValue',
  versions: '0-4',
  flexible: '4+',
  fields: {
    offset: { versions: '0+', type: 'int64' },
    leaderEpoch: { versions: '3+', type: 'int32', default: -1, ignorable: true },
    metadata: { versions: '0+', type: 'string' },
    commitTimestamp: { versions: '0+', type: 'int64' },
    expireTimestamp: { versions: '1', type: 'int64', default: -1, ignorable: true },
  },
})

const GroupMetadataKey = defineMessage({
  name: 'GroupMetadataKey',
  versions: '2',
  flexible: 'none',
  fields: { group: { versions: '2', type: 'string' } },
})

const GroupMetadataValue = defineMessage({
  name: 'GroupMetadataValue',
  versions: '0-4',
  flexible: '4+',
  fields: {
    protocolType: { versions: '0+', type: 'string' },
    generation: { versions: '0+', type: 'int32' },
    protocol: { versions: '0+', type: 'string', nullable: '0+' },
    leader: { versions: '0+', type: 'string', nullable: '0+' },
    currentStateTimestamp: { versions: '2+', type: 'int64', default: -1, ignorable: true },
    members: {
      versions: '0+',
      type: 'array',
      of: {
        memberId: { versions: '0+', type: 'string' },
        groupInstanceId: {
          versions: '3+',
          type: 'string',
          nullable: '3+',
          default: null,
          ignorable: true,
        },
        clientId: { versions: '0+', type: 'string' },
        clientHost: { versions: '0+', type: 'string' },
        rebalanceTimeout: { versions: '1+', type: 'int32', ignorable: true },
        sessionTimeout: { versions: '0+', type: 'int32' },
        subscription: { versions: '0+', type: 'bytes' },
        assignment: { versions: '0+', type: 'bytes' },
      },
    },
  },
})

const OFFSET_KEY_VERSION = 1
const GROUP_KEY_VERSION = 2
const OFFSET_VALUE_VERSION = 3
/** The last one that can say when an offset expires. */
const EXPIRING_OFFSET_VALUE_VERSION = 1
const GROUP_VALUE_VERSION = 3

export interface OffsetRecordValue {
  /** Version of the value on disk. */
  readonly version: number
  readonly offset: number
  /** -1 unknown. */
  readonly leaderEpoch: number
  readonly metadata: string
  /** ms since 1970. */
  readonly commitTimestamp: number
  /** -1: by the broker's retention. */
  readonly expireTimestamp: number
}

export interface GroupRecordMember {
  readonly memberId: string
  readonly groupInstanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly rebalanceTimeout: number
  readonly sessionTimeout: number
  readonly subscription: Buffer
  readonly assignment: Buffer
}

export interface GroupRecordValue {
  readonly version: number
  readonly protocolType: string
  readonly generation: number
  readonly protocol: string | null
  readonly leader: string | null
  readonly currentStateTimestamp: number
  readonly members: readonly GroupRecordMember[]
}

/** A record as it is understood; a value of null is a tombstone. */
export type GroupRecord =
  | {
      readonly kind: 'offset'
      readonly keyVersion: number
      readonly group: string
      readonly topic: string
      readonly partition: number
      readonly value: OffsetRecordValue | null
    }
  | {
      readonly kind: 'group'
      readonly keyVersion: number
      readonly group: string
      readonly value: GroupRecordValue | null
    }
  /** Of a later release, for groups of other kinds. */
  | { readonly kind: 'unknown'; readonly keyVersion: number }

function read<M extends MessageSchema>(schema: M, version: number, bytes: Buffer) {
  if (!inVersions(version, schema.versions)) {
    throw new MalformedMessageError(`version ${version} of ${schema.name} is not known`)
  }
  return decodeMessage(schema, version, bytes.subarray(2))
}

function versionOf(bytes: Buffer, what: string): number {
  if (bytes.length < 2) throw new MalformedMessageError(`${what} of ${bytes.length} bytes`)
  return bytes.readInt16BE(0)
}

/** Reads a record. Throws MalformedMessageError for what no broker has written. */
export function readGroupRecord(key: Buffer, value: Buffer | null): GroupRecord {
  const keyVersion = versionOf(key, 'a key')
  if (keyVersion === 0 || keyVersion === OFFSET_KEY_VERSION) {
    const { group, topic, partition } = read(OffsetCommitKey, keyVersion, key)
    if (value === null) return { kind: 'offset', keyVersion, group, topic, partition, value: null }
    const version = versionOf(value, 'an offset')
    const decoded = read(OffsetCommitValue, version, value)
    return {
      kind: 'offset',
      keyVersion,
      group,
      topic,
      partition,
      value: { version, ...decoded },
    }
  }
  if (keyVersion === GROUP_KEY_VERSION) {
    const { group } = read(GroupMetadataKey, keyVersion, key)
    if (value === null) return { kind: 'group', keyVersion, group, value: null }
    const version = versionOf(value, 'a group')
    const decoded = read(GroupMetadataValue, version, value)
    return { kind: 'group', keyVersion, group, value: { version, ...decoded } }
  }
  return { kind: 'unknown', keyVersion }
}

function written<M extends MessageSchema>(
  schema: M,
  version: number,
  value: MessageInput<M>,
): Buffer {
  const writer = new MessageWriter(256)
  writer.int16(version)
  encodeMessage(schema, version, writer, value)
  return Buffer.from(writer.written)
}

export function offsetKey(group: string, topic: string, partition: number): Buffer {
  return written(OffsetCommitKey, OFFSET_KEY_VERSION, { group, topic, partition })
}

export function groupKey(group: string): Buffer {
  return written(GroupMetadataKey, GROUP_KEY_VERSION, { group })
}

export function offsetValue(value: Omit<OffsetRecordValue, 'version'>): Buffer {
  const version = value.expireTimestamp < 0 ? OFFSET_VALUE_VERSION : EXPIRING_OFFSET_VALUE_VERSION
  return written(OffsetCommitValue, version, value)
}

export function groupValue(value: Omit<GroupRecordValue, 'version'>): Buffer {
  return written(GroupMetadataValue, GROUP_VALUE_VERSION, value)
}
