/** The records of `__consumer_offsets`, as Apache's own tool prints them: JSON. */
import { type GroupRecordMember, readGroupRecord } from '../../group/record-schemas.ts'
import { decodeMessage } from '../../protocol/codec.ts'
import {
  CONSUMER_PROTOCOL_TYPE,
  CONSUMER_PROTOCOL_VERSION_MAX,
  ConsumerProtocolAssignment,
  ConsumerProtocolSubscription,
} from '../../protocol/consumer-protocol.ts'
import type { MessageSchema } from '../../protocol/schema.ts'
import { type Json, messageJson } from '../kit/message-json.ts'
import type { DumpedRecord } from './batches.ts'
import type { DecodedRecord } from './decoders.ts'

/** Bytes of the consumer protocol as JSON; those that are not of it as base64. */
function embedded(schema: MessageSchema, bytes: Buffer, isConsumer: boolean): Json {
  if (isConsumer && bytes.length >= 2) {
    const version = Math.min(bytes.readInt16BE(0), CONSUMER_PROTOCOL_VERSION_MAX)
    try {
      return messageJson(schema, decodeMessage(schema, version, bytes.subarray(2), true), version)
    } catch {
      // An assignor may write what it likes.
      return bytes.toString('base64')
    }
  }
  return bytes.toString('base64')
}

function memberJson(member: GroupRecordMember, version: number, isConsumer: boolean): Json {
  const { memberId, groupInstanceId, clientId, clientHost, subscription, assignment } = member
  return {
    memberId,
    ...(version >= 3 ? { groupInstanceId } : {}),
    clientId,
    clientHost,
    ...(version >= 1 ? { rebalanceTimeout: member.rebalanceTimeout } : {}),
    sessionTimeout: member.sessionTimeout,
    subscription: embedded(ConsumerProtocolSubscription, subscription, isConsumer),
    assignment: embedded(ConsumerProtocolAssignment, assignment, isConsumer),
  }
}

function texts(keyVersion: number, key: Json, value: Json | null): DecodedRecord {
  return {
    key: JSON.stringify({ type: String(keyVersion), data: key }),
    payload: value === null ? '<DELETE>' : JSON.stringify(value),
  }
}

/** Decodes a record; one that cannot be read says so instead. */
export function decodeOffsetsRecord({ key, value, offset }: DumpedRecord): DecodedRecord {
  try {
    if (key === null) throw new Error('it has no key')
    const record = readGroupRecord(key, value)
    if (record.kind === 'unknown') {
      const text = `Unknown record type ${record.keyVersion} at offset ${offset}, skipping.`
      return { key: text, payload: null }
    }
    const { keyVersion, group } = record
    if (record.kind === 'offset') {
      const { topic, partition, value: committed } = record
      const name = { group, topic, partition }
      if (committed === null) return texts(keyVersion, name, null)
      const { version, metadata, commitTimestamp } = committed
      return texts(keyVersion, name, {
        version: String(version),
        data: {
          offset: committed.offset,
          ...(version >= 3 ? { leaderEpoch: committed.leaderEpoch } : {}),
          metadata,
          commitTimestamp,
          ...(version === 1 ? { expireTimestamp: committed.expireTimestamp } : {}),
        },
      })
    }
    if (record.value === null) return texts(keyVersion, { group }, null)
    const { version, protocolType, generation, protocol, leader, members } = record.value
    const isConsumer = protocolType === CONSUMER_PROTOCOL_TYPE
    const { currentStateTimestamp } = record.value
    return texts(
      keyVersion,
      { group },
      {
        version: String(version),
        data: {
          ...{ protocolType, generation, protocol, leader },
          ...(version >= 2 ? { currentStateTimestamp } : {}),
          members: members.map((member) => memberJson(member, version, isConsumer)),
        },
      },
    )
  } catch (error) {
    return {
      key: `Error at offset ${offset}, skipping. ${(error as Error).message}`,
      payload: null,
    }
  }
}
