import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeConfigs = defineApi({
  key: 32,
  name: 'DescribeConfigs',
  versions: '0-4',
  flexible: '4+',
  request: {
    resources: {
      versions: '0+',
      type: 'array',
      of: {
        resourceType: { versions: '0+', type: 'int8' },
        resourceName: { versions: '0+', type: 'string' },
        configurationKeys: { versions: '0+', type: 'array', of: 'string', nullable: '0+' },
      },
    },
    includeSynonyms: { versions: '1+', type: 'bool', default: false },
    includeDocumentation: { versions: '3+', type: 'bool', default: false },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
        resourceType: { versions: '0+', type: 'int8' },
        resourceName: { versions: '0+', type: 'string' },
        configs: {
          versions: '0+',
          type: 'array',
          of: {
            name: { versions: '0+', type: 'string' },
            value: { versions: '0+', type: 'string', nullable: '0+' },
            readOnly: { versions: '0+', type: 'bool' },
            isDefault: { versions: '0', type: 'bool' },
            configSource: { versions: '1+', type: 'int8', default: -1, ignorable: true },
            isSensitive: { versions: '0+', type: 'bool' },
            synonyms: {
              versions: '1+',
              type: 'array',
              of: {
                name: { versions: '1+', type: 'string' },
                value: { versions: '1+', type: 'string', nullable: '0+' },
                source: { versions: '1+', type: 'int8' },
              },
              ignorable: true,
            },
            configType: { versions: '3+', type: 'int8', default: 0, ignorable: true },
            documentation: { versions: '3+', type: 'string', nullable: '0+', ignorable: true },
          },
        },
      },
    },
  },
})

export type DescribeConfigsRequest = RequestOf<typeof DescribeConfigs>
export type DescribeConfigsResponse = ResponseOf<typeof DescribeConfigs>
export type DescribeConfigsRequestInput = RequestInput<typeof DescribeConfigs>
export type DescribeConfigsResponseInput = ResponseInput<typeof DescribeConfigs>
