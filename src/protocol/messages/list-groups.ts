import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ListGroups = defineApi({
  key: 16,
  name: 'ListGroups',
  versions: '0-5',
  flexible: '3+',
  request: {
    statesFilter: { versions: '4+', type: 'array', of: 'string' },
    typesFilter: { versions: '5+', type: 'array', of: 'string' },
  },
  response: {
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    errorCode: { versions: '0+', type: 'int16' },
    groups: {
      versions: '0+',
      type: 'array',
      of: {
        groupId: { versions: '0+', type: 'string' },
        protocolType: { versions: '0+', type: 'string' },
        groupState: { versions: '4+', type: 'string', ignorable: true },
        groupType: { versions: '5+', type: 'string', ignorable: true },
      },
    },
  },
})

export type ListGroupsRequest = RequestOf<typeof ListGroups>
export type ListGroupsResponse = ResponseOf<typeof ListGroups>
export type ListGroupsRequestInput = RequestInput<typeof ListGroups>
export type ListGroupsResponseInput = ResponseInput<typeof ListGroups>
