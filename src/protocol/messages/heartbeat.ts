import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const Heartbeat = defineApi({
  key: 12,
  name: 'Heartbeat',
  versions: '0-4',
  flexible: '4+',
  request: {
    groupId: { versions: '0+', type: 'string' },
    generationId: { versions: '0+', type: 'int32' },
    memberId: { versions: '0+', type: 'string' },
    groupInstanceId: { versions: '3+', type: 'string', nullable: '3+', default: null },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
  },
})

export type HeartbeatRequest = RequestOf<typeof Heartbeat>
export type HeartbeatResponse = ResponseOf<typeof Heartbeat>
export type HeartbeatRequestInput = RequestInput<typeof Heartbeat>
export type HeartbeatResponseInput = ResponseInput<typeof Heartbeat>
