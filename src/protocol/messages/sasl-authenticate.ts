import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const SaslAuthenticate = defineApi({
  key: 36,
  name: 'SaslAuthenticate',
  versions: '0-2',
  flexible: '2+',
  request: {
    authBytes: { versions: '0+', type: 'bytes' },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    errorMessage: { versions: '0+', type: 'string', nullable: '0+' },
    authBytes: { versions: '0+', type: 'bytes' },
    sessionLifetimeMs: { versions: '1+', type: 'int64', default: 0, ignorable: true },
  },
})

export type SaslAuthenticateRequest = RequestOf<typeof SaslAuthenticate>
export type SaslAuthenticateResponse = ResponseOf<typeof SaslAuthenticate>
export type SaslAuthenticateRequestInput = RequestInput<typeof SaslAuthenticate>
export type SaslAuthenticateResponseInput = ResponseInput<typeof SaslAuthenticate>
