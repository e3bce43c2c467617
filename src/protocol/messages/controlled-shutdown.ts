/** A broker asks the controller to move its leaderships away; the answer has what it still leads. */
import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ControlledShutdown = defineApi({
  key: 7,
  name: 'ControlledShutdown',
  // 0: the one request whose header has no client id. 2: broker epoch. 3: flexible.
  versions: '0-3',
  flexible: '3+',
  request: {
    brokerId: { versions: '0+', type: 'int32' },
    brokerEpoch: { versions: '2+', type: 'int64', default: -1, ignorable: true },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    remainingPartitions: {
      versions: '0+',
      type: 'array',
      of: {
        topicName: { versions: '0+', type: 'string' },
        partitionIndex: { versions: '0+', type: 'int32' },
      },
    },
  },
})

export type ControlledShutdownRequest = RequestOf<typeof ControlledShutdown>
export type ControlledShutdownResponse = ResponseOf<typeof ControlledShutdown>
export type ControlledShutdownRequestInput = RequestInput<typeof ControlledShutdown>
export type ControlledShutdownResponseInput = ResponseInput<typeof ControlledShutdown>
