/** The records of `__transaction_state`, in the words of Apache's own tool. */
import { decodeMessage } from '../../protocol/codec.ts'
import { defineMessage, type MessageOf } from '../../protocol/schema.ts'
import type { DumpedRecord } from './batches.ts'
import type { DecodedRecord } from './decoders.ts'

const TransactionLogKey = defineMessage({
  name: 'TransactionLogKey',
  versions: '0',
  flexible: 'none',
  fields: { transactionalId: { versions: '0+', type: 'string' } },
})

const TransactionLogValue = defineMessage({
  name: 'TransactionLogValue',
  versions: '0-1',
  flexible: '1+',
  fields: {
    producerId: { versions: '0+', type: 'int64' },
    producerEpoch: { versions: '0+', type: 'int16' },
    transactionTimeoutMs: { versions: '0+', type: 'int32' },
    transactionStatus: { versions: '0+', type: 'int8' },
    transactionPartitions: {
      versions: '0+',
      type: 'array',
      nullable: '0+',
      of: {
        topic: { versions: '0+', type: 'string' },
        partitionIds: { versions: '0+', type: 'array', of: 'int32' },
      },
    },
    transactionLastUpdateTimestampMs: { versions: '0+', type: 'int64' },
    transactionStartTimestampMs: { versions: '0+', type: 'int64' },
  },
})

const STATES = [
  'Empty',
  'Ongoing',
  'PrepareCommit',
  'PrepareAbort',
  'CompleteCommit',
  'CompleteAbort',
  'Dead',
  'PrepareEpochFence',
]

function payloadOf(value: MessageOf<typeof TransactionLogValue>): string {
  const partitions = (value.transactionPartitions ?? []).flatMap(({ topic, partitionIds }) =>
    partitionIds.map((partition) => `${topic}-${partition}`),
  )
  return (
    `producerId:${value.producerId},producerEpoch:${value.producerEpoch},` +
    `state=${STATES[value.transactionStatus] ?? value.transactionStatus},` +
    `partitions=[${partitions.join(',')}],` +
    `txnLastUpdateTimestamp=${value.transactionLastUpdateTimestampMs},` +
    `txnTimeoutMs=${value.transactionTimeoutMs}`
  )
}

/** Decodes a record; one that cannot be read says so instead. */
export function decodeTransactionRecord({ key, value, offset }: DumpedRecord): DecodedRecord {
  try {
    if (key === null) throw new Error('it has no key')
    const keyVersion = key.readInt16BE(0)
    if (keyVersion !== 0) return { key: `unknown::version=${keyVersion}`, payload: null }
    const { transactionalId } = decodeMessage(TransactionLogKey, 0, key.subarray(2))
    const text = `transaction_metadata::transactionalId=${transactionalId}`
    if (value === null) return { key: text, payload: '<DELETE>' }
    const version = value.readInt16BE(0)
    if (version < 0 || version > 1) throw new Error(`its value has the version ${version}`)
    const message = decodeMessage(TransactionLogValue, version, value.subarray(2))
    return { key: text, payload: payloadOf(message) }
  } catch (error) {
    return {
      key: `Error at offset ${offset}, skipping. ${(error as Error).message}`,
      payload: null,
    }
  }
}
