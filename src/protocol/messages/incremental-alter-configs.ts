import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const IncrementalAlterConfigs = defineApi({
  key: 44,
  name: 'IncrementalAlterConfigs',
  versions: '0-1',
  flexible: '1+',
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
            configOperation: { versions: '0+', type: 'int8' },
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

export type IncrementalAlterConfigsRequest = RequestOf<typeof IncrementalAlterConfigs>
export type IncrementalAlterConfigsResponse = ResponseOf<typeof IncrementalAlterConfigs>
export type IncrementalAlterConfigsRequestInput = RequestInput<typeof IncrementalAlterConfigs>
export type IncrementalAlterConfigsResponseInput = ResponseInput<typeof IncrementalAlterConfigs>
