import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const LeaveGroup = defineApi({
  key: 13,
  name: 'LeaveGroup',
  versions: '0-5',
  flexible: '4+',
  request: {
    groupId: { versions: '0+', type: 'string' },
    memberId: { versions: '0-2', type: 'string' },
    members: {
      versions: '3+',
      type: 'array',
      of: {
        memberId: { versions: '3+', type: 'string' },
        groupInstanceId: { versions: '3+', type: 'string', nullable: '3+', default: null },
        reason: { versions: '5+', type: 'string', nullable: '5+', default: null, ignorable: true },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
    members: {
      versions: '3+',
      type: 'array',
      of: {
        memberId: { versions: '3+', type: 'string' },
        groupInstanceId: { versions: '3+', type: 'string', nullable: '3+' },
        errorCode: { versions: '3+', type: 'int16' },
      },
    },
  },
})

export type LeaveGroupRequest = RequestOf<typeof LeaveGroup>
export type LeaveGroupResponse = ResponseOf<typeof LeaveGroup>
export type LeaveGroupRequestInput = RequestInput<typeof LeaveGroup>
export type LeaveGroupResponseInput = ResponseInput<typeof LeaveGroup>
