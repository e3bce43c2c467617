/** A broker asks the controller for a block of producer ids. */
import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AllocateProducerIds = defineApi({
  key: 67,
  name: 'AllocateProducerIds',
  versions: '0',
  flexible: '0+',
  request: {
    brokerId: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '0+', type: 'int64', default: -1 },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    producerIdStart: { versions: '0+', type: 'int64' },
    producerIdLen: { versions: '0+', type: 'int32' },
  },
})

export type AllocateProducerIdsRequest = RequestOf<typeof AllocateProducerIds>
export type AllocateProducerIdsResponse = ResponseOf<typeof AllocateProducerIds>
export type AllocateProducerIdsRequestInput = RequestInput<typeof AllocateProducerIds>
export type AllocateProducerIdsResponseInput = ResponseInput<typeof AllocateProducerIds>
