import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterConfigs = defineApi({
  key: 33,
  name: 'AlterConfigs',
  versions: '0-2',
  flexible: '2+',
  request: {
    resources: {
      versions: '0+',
      type: 'array',
      of: {
        resourceType: { versions: '0+', type: 'int8' },
        resourceName: { versions: '0+', type: 'string' },
        configs: {
          versions: '0+',
          type: 'array',
          of: {
            name: { versions: '0+', type: 'string' },
            value: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
    validateOnly: { versions: '0+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    responses: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
        resourceType: { versions: '0+', type: 'int8' },
        resourceName: { versions: '0+', type: 'string' },
      },
    },
  },
})

export type AlterConfigsRequest = RequestOf<typeof AlterConfigs>
export type AlterConfigsResponse = ResponseOf<typeof AlterConfigs>
export type AlterConfigsRequestInput = RequestInput<typeof AlterConfigs>
export type AlterConfigsResponseInput = ResponseInput<typeof AlterConfigs>
