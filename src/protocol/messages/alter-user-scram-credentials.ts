import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const AlterUserScramCredentials = defineApi({
  key: 51,
  name: 'AlterUserScramCredentials',
  versions: '0',
  flexible: '0+',
  request: {
    deletions: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        mechanism: { versions: '0+', type: 'int8' },
      },
    },
    upsertions: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
        mechanism: { versions: '0+', type: 'int8' },
        iterations: { versions: '0+', type: 'int32' },
        salt: { versions: '0+', type: 'bytes' },
        saltedPassword: { versions: '0+', type: 'bytes' },
      },
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        user: { versions: '0+', type: 'string' },
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
      },
    },
  },
})

export type AlterUserScramCredentialsRequest = RequestOf<typeof AlterUserScramCredentials>
export type AlterUserScramCredentialsResponse = ResponseOf<typeof AlterUserScramCredentials>
export type AlterUserScramCredentialsRequestInput = RequestInput<typeof AlterUserScramCredentials>
export type AlterUserScramCredentialsResponseInput = ResponseInput<typeof AlterUserScramCredentials>
