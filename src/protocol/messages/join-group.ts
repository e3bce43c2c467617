import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const JoinGroup = defineApi({
  key: 11,
  name: 'JoinGroup',
  versions: '0-9',
  flexible: '6+',
  request: {
    groupId: { versions: '0+', type: 'string' },
    sessionTimeoutMs: { versions: '0+', type: 'int32' },
    rebalanceTimeoutMs: { versions: '1+', type: 'int32', default: -1, ignorable: true },
    memberId: { versions: '0+', type: 'string' },
    groupInstanceId: { versions: '5+', type: 'string', nullable: '5+', default: null },
    protocolType: { versions: '0+', type: 'string' },
    protocols: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        metadata: { versions: '0+', type: 'bytes' },
      },
    },
    reason: { versions: '8+', type: 'string', nullable: '8+', default: null, ignorable: true },
  },
  response: {
    throttleTimeMs: { versions: '2+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
    generationId: { versions: '0+', type: 'int32', default: -1 },
    protocolType: {
      versions: '7+',
      type: 'string',
      nullable: '7+',
      default: null,
      ignorable: true,
    },
    protocolName: { versions: '0+', type: 'string', nullable: '7+' },
    leader: { versions: '0+', type: 'string' },
    skipAssignment: { versions: '9+', type: 'bool', default: false },
    memberId: { versions: '0+', type: 'string' },
    members: {
      versions: '0+',
      type: 'array',
      of: {
        memberId: { versions: '0+', type: 'string' },
        groupInstanceId: {
          versions: '5+',
          type: 'string',
          nullable: '5+',
          default: null,
          ignorable: true,
        },
        metadata: { versions: '0+', type: 'bytes' },
      },
    },
  },
})

export type JoinGroupRequest = RequestOf<typeof JoinGroup>
export type JoinGroupResponse = ResponseOf<typeof JoinGroup>
export type JoinGroupRequestInput = RequestInput<typeof JoinGroup>
export type JoinGroupResponseInput = ResponseInput<typeof JoinGroup>
