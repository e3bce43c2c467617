import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const FindCoordinator = defineApi({
  key: 10,
  name: 'FindCoordinator',
  versions: '0-5',
  flexible: '3+',
  request: {
    key: { versions: '0-3', type: 'string' },
    keyType: { versions: '1+', type: 'int8', default: 0 },
    coordinatorKeys: { versions: '4+', type: 'array', of: 'string' },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '0-3', type: 'int16' },
    errorMessage: { versions: '1-3', type: 'string', nullable: '1-3', ignorable: true },
    nodeId: { versions: '0-3', type: 'int32' },
    host: { versions: '0-3', type: 'string' },
    port: { versions: '0-3', type: 'int32' },
    coordinators: {
      versions: '4+',
      type: 'array',
      of: {
        key: { versions: '4+', type: 'string' },
        nodeId: { versions: '4+', type: 'int32' },
        host: { versions: '4+', type: 'string' },
        port: { versions: '4+', type: 'int32' },
        errorCode: { versions: '4+', type: 'int16' },
        errorMessage: { versions: '4+', type: 'string', nullable: '4+', ignorable: true },
      },
    },
  },
})

export type FindCoordinatorRequest = RequestOf<typeof FindCoordinator>
export type FindCoordinatorResponse = ResponseOf<typeof FindCoordinator>
export type FindCoordinatorRequestInput = RequestInput<typeof FindCoordinator>
export type FindCoordinatorResponseInput = ResponseInput<typeof FindCoordinator>
