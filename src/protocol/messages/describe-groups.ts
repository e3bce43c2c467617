import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeGroups = defineApi({
  key: 15,
  name: 'DescribeGroups',
  versions: '0-5',
  flexible: '5+',
  request: {
    groups: { versions: '0+', type: 'array', of: 'string' },
    includeAuthorizedOperations: { versions: '3+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    groups: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        groupId: { versions: '0+', type: 'string' },
        groupState: { versions: '0+', type: 'string' },
        protocolType: { versions: '0+', type: 'string' },
        protocolData: { versions: '0+', type: 'string' },
        members: {
          versions: '0+',
          type: 'array',
          of: {
            memberId: { versions: '0+', type: 'string' },
            groupInstanceId: {
              versions: '4+',
              type: 'string',
              nullable: '4+',
              default: null,
              ignorable: true,
            },
            clientId: { versions: '0+', type: 'string' },
            clientHost: { versions: '0+', type: 'string' },
            memberMetadata: { versions: '0+', type: 'bytes' },
            memberAssignment: { versions: '0+', type: 'bytes' },
          },
        },
        authorizedOperations: { versions: '3+', type: 'int32', default: -2147483648 },
      },
    },
  },
})

export type DescribeGroupsRequest = RequestOf<typeof DescribeGroups>
export type DescribeGroupsResponse = ResponseOf<typeof DescribeGroups>
export type DescribeGroupsRequestInput = RequestInput<typeof DescribeGroups>
export type DescribeGroupsResponseInput = ResponseInput<typeof DescribeGroups>
