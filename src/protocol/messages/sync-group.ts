import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const SyncGroup = defineApi({
  key: 14,
  name: 'SyncGroup',
  versions: '0-5',
  flexible: '4+',
  request: {
    groupId: { versions: '0+', type: 'string' },
    generationId: { versions: '0+', type: 'int32' },
    memberId: { versions: '0+', type: 'string' },
    groupInstanceId: { versions: '3+', type: 'string', nullable: '3+', default: null },
    protocolType: {
      versions: '5+',
      type: 'string',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    protocolName: {
      versions: '5+',
      type: 'string',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    assignments: {
      versions: '0+',
      type: 'array',
      of: {
        memberId: { versions: '0+', type: 'string' },
        assignment: { versions: '0+', type: 'bytes' },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
    protocolType: {
      versions: '5+',
      type: 'string',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    protocolName: {
      versions: '5+',
      type: 'string',
      nullable: '5+',
      default: null,
      ignorable: true,
    },
    assignment: { versions: '0+', type: 'bytes' },
  },
})

export type SyncGroupRequest = RequestOf<typeof SyncGroup>
export type SyncGroupResponse = ResponseOf<typeof SyncGroup>
export type SyncGroupRequestInput = RequestInput<typeof SyncGroup>
export type SyncGroupResponseInput = ResponseInput<typeof SyncGroup>
