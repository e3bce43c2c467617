import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterClientQuotas = defineApi({
  key: 49,
  name: 'AlterClientQuotas',
  versions: '0-1',
  flexible: '1+',
  request: {
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
        ops: {
          versions: '0+',
          type: 'array',
          of: {
            key: { versions: '0+', type: 'string' },
            value: { versions: '0+', type: 'float64' },
            remove: { versions: '0+', type: 'bool' },
          },
        },
      },
    },
    validateOnly: { versions: '0+', type: 'bool' },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    entries: {
      versions: '0+',
      type: 'array',
      of: {
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
        entity: {
          versions: '0+',
          type: 'array',
          of: {
            entityType: { versions: '0+', type: 'string' },
            entityName: { versions: '0+', type: 'string', nullable: '0+' },
          },
        },
      },
    },
  },
})

export type AlterClientQuotasRequest = RequestOf<typeof AlterClientQuotas>
export type AlterClientQuotasResponse = ResponseOf<typeof AlterClientQuotas>
export type AlterClientQuotasRequestInput = RequestInput<typeof AlterClientQuotas>
export type AlterClientQuotasResponseInput = ResponseInput<typeof AlterClientQuotas>
