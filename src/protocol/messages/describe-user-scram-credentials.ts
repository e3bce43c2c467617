import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const DescribeUserScramCredentials = defineApi({
  key: 50,
  name: 'DescribeUserScramCredentials',
  versions: '0',
  flexible: '0+',
  request: {
    users: {
      versions: '0+',
      type: 'array',
      of: {
        name: { versions: '0+', type: 'string' },
      },
      nullable: '0+',
    },
  },
  response: {
    throttleTimeMs: { versions: '0+', type: 'int32' },
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
    results: {
      versions: '0+',
      type: 'array',
      of: {
        user: { versions: '0+', type: 'string' },
        errorCode: { versions: '0+', type: 'int16' },
        errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
        credentialInfos: {
          versions: '0+',
          type: 'array',
          of: {
            mechanism: { versions: '0+', type: 'int8' },
            iterations: { versions: '0+', type: 'int32' },
          },
        },
      },
    },
  },
})

export type DescribeUserScramCredentialsRequest = RequestOf<typeof DescribeUserScramCredentials>
export type DescribeUserScramCredentialsResponse = ResponseOf<typeof DescribeUserScramCredentials>
export type DescribeUserScramCredentialsRequestInput = RequestInput<
  typeof DescribeUserScramCredentials
>
export type DescribeUserScramCredentialsResponseInput = ResponseInput<
  typeof DescribeUserScramCredentials
>
