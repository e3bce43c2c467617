import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DeleteGroups = defineApi({
  key: 42,
  name: 'DeleteGroups',
  versions: '0-2',
  flexible: '2+',
  request: {
    groupsNames: { versions: '0+', type: 'array', of: 'string' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        groupId: { versions: '0+', type: 'string' },
        errorCode: { versions: '0+', type: 'int16' },
      },
    },
  },
})

export type DeleteGroupsRequest = RequestOf<typeof DeleteGroups>
export type DeleteGroupsResponse = ResponseOf<typeof DeleteGroups>
export type DeleteGroupsRequestInput = RequestInput<typeof DeleteGroups>
export type DeleteGroupsResponseInput = ResponseInput<typeof DeleteGroups>
