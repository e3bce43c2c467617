import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const InitProducerId = defineApi({
  key: 22,
  name: 'InitProducerId',
  versions: '0-5',
  flexible: '2+',
  request: {
    transactionalId: { versions: '0+', type: 'string', nullable: '0+' },
    transactionTimeoutMs: { versions: '0+', type: 'int32' },
    producerId: { versions: '3+', type: 'int64', default: -1 },
    producerEpoch: { versions: '3+', type: 'int16', default: -1 },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
    producerId: { versions: '0+', type: 'int64', default: -1 },
    producerEpoch: { versions: '0+', type: 'int16' },
  },
})

export type InitProducerIdRequest = RequestOf<typeof InitProducerId>
export type InitProducerIdResponse = ResponseOf<typeof InitProducerId>
export type InitProducerIdRequestInput = RequestInput<typeof InitProducerId>
export type InitProducerIdResponseInput = ResponseInput<typeof InitProducerId>
