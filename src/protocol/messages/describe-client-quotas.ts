import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeClientQuotas = defineApi({
  key: 48,
  name: 'DescribeClientQuotas',
  versions: '0-1',
  flexible: '1+',
  request: {
    components: {
      versions: '0+',
      type: 'array',
      of: {
        entityType: { versions: '0+', type: 'string' },
        matchType: { versions: '0+', type: 'int8' },
        match: { versions: '0+', type: 'string', nullable: '0+' },
      },
    },
    strict: { versions: '0+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
    entries: {
      versions: '0+',
      type: 'array',
      of: {
        entity: {
          versions: '0+',
          type: 'array',
          of: {
            entityType: { versions: '0+', type: 'string' },
            entityName: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
        values: {
          versions: '0+',
          type: 'array',
          of: {
            key: { versions: '0+', type: 'string' },
            value: { versions: '0+', type: 'float64' },
          },
        },
      },
      nullable: '0+',
    },
  },
})

export type DescribeClientQuotasRequest = RequestOf<typeof DescribeClientQuotas>
export type DescribeClientQuotasResponse = ResponseOf<typeof DescribeClientQuotas>
export type DescribeClientQuotasRequestInput = RequestInput<typeof DescribeClientQuotas>
export type DescribeClientQuotasResponseInput = ResponseInput<typeof DescribeClientQuotas>
