/**
 * What members of a group with the protocol type `consumer` tell each other through the
 * coordinator, which carries it as plain bytes: the subscription that a member joins with and the
 * assignment that the leader gives it. Each begins with its version as int16; a later version than
 * ours only adds fields at the end, so that it is read as ours.
 */
import { decodeMessage, encodeMessage } from './codec.ts'
import { MalformedMessageError } from './message-reader.ts'
import { MessageWriter } from './message-writer.ts'
import { defineMessage, type MessageSchema } from './schema.ts'

/** The protocol type of groups whose members share the partitions of topics. */
export const CONSUMER_PROTOCOL_TYPE = 'consumer'

/** The highest version of subscription and assignment. */
export const CONSUMER_PROTOCOL_VERSION_MAX = 3

/** Generation of a member that has none. */
export const NO_GENERATION = -1

export const ConsumerProtocolSubscription = defineMessage({
  name: 'ConsumerProtocolSubscription',
  versions: '0-3',
  flexible: 'none',
  fields: {
    topics: { versions: '0+', type: 'array', of: 'string' },
    userData: { versions: '0+', type: 'bytes', nullable: '0+', default: null },
    ownedPartitions: {
      versions: '1+',
      type: 'array',
      of: {
        topic: { versions: '1+', type: 'string' },
        partitions: { versions: '1+', type: 'array', of: 'int32' },
      },
      ignorable: true,
    },
    generationId: { versions: '2+', type: 'int32', default: NO_GENERATION, ignorable: true },
    rackId: {
      versions: '3+',
      type: 'string',
      nullable: '3+',
      default: null,
      ignorable: true,
    },
  },
})

export const ConsumerProtocolAssignment = defineMessage({
  name: 'ConsumerProtocolAssignment',
  versions: '0-3',
  flexible: 'none',
  fields: {
    assignedPartitions: {
      versions: '0+',
      type: 'array',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitions: { versions: '0+', type: 'array', of: 'int32' },
      },
    },
    userData: { versions: '0+', type: 'bytes', nullable: '0+', default: null },
  },
})

/** Partitions of one topic. */
export interface TopicPartitions {
  readonly topic: string
  readonly partitions: readonly number[]
}

/** What a member joins with. */
export interface ConsumerSubscription {
  readonly topics: readonly string[]
  /** Bytes of the assignor's own. */
  readonly userData: Buffer | null
  /** What the member owns while it joins (KIP-429); none below version 1. */
  readonly ownedPartitions: readonly TopicPartitions[]
  /** The generation in which it came to own them (KIP-792); -1: none, or below version 2. */
  readonly generationId: number
  /** KIP-881. */
  readonly rackId: string | null
}

/** What the leader gives a member. */
export interface ConsumerAssignment {
  readonly assignedPartitions: readonly TopicPartitions[]
  readonly userData: Buffer | null
}

const VERSION_BYTES = 2

/** Version of a subscription or assignment. Throws MalformedMessageError. */
function versionOf(bytes: Buffer): number {
  if (bytes.length < VERSION_BYTES) {
    throw new MalformedMessageError(`${bytes.length} bytes where a version must be`)
  }
  const version = bytes.readInt16BE(0)
  if (version < 0) throw new MalformedMessageError(`version ${version} of the consumer protocol`)
  return Math.min(version, CONSUMER_PROTOCOL_VERSION_MAX)
}

function writerOf(message: MessageSchema, version: number): MessageWriter {
  if (version < 0 || version > CONSUMER_PROTOCOL_VERSION_MAX) {
    throw new RangeError(`there is no version ${version} of ${message.name}`)
  }
  const writer = new MessageWriter(256)
  writer.int16(version)
  return writer
}

/** Encodes a subscription. Fields that the version lacks are left out. */
export function encodeConsumerSubscription(
  subscription: ConsumerSubscription,
  version: number = CONSUMER_PROTOCOL_VERSION_MAX,
): Buffer {
  const writer = writerOf(ConsumerProtocolSubscription, version)
  encodeMessage(ConsumerProtocolSubscription, version, writer, subscription)
  return writer.written
}

/** Decodes a subscription of any version. Throws MalformedMessageError. */
export function decodeConsumerSubscription(bytes: Buffer): ConsumerSubscription {
  const version = versionOf(bytes)
  return decodeMessage(ConsumerProtocolSubscription, version, bytes.subarray(VERSION_BYTES), true)
}

/** Encodes an assignment. */
export function encodeConsumerAssignment(
  assignment: ConsumerAssignment,
  version: number = CONSUMER_PROTOCOL_VERSION_MAX,
): Buffer {
  const writer = writerOf(ConsumerProtocolAssignment, version)
  encodeMessage(ConsumerProtocolAssignment, version, writer, assignment)
  return writer.written
}

/**
 * Decodes an assignment of any version; no bytes at all are an assignment of nothing, as the
 * coordinator sends them to a member that the leader left out. Throws MalformedMessageError.
 */
export function decodeConsumerAssignment(bytes: Buffer): ConsumerAssignment {
  if (bytes.length === 0) return { assignedPartitions: [], userData: null }
  const version = versionOf(bytes)
  return decodeMessage(ConsumerProtocolAssignment, version, bytes.subarray(VERSION_BYTES), true)
}
