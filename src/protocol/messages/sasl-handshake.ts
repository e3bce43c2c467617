import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const SaslHandshake = defineApi({
  key: 17,
  name: 'SaslHandshake',
  versions: '0-1',
  flexible: 'none',
  request: {
    mechanism: { versions: '0+', type: 'string' },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    mechanisms: { versions: '0+', type: 'array', of: 'string' },
  },
})

export type SaslHandshakeRequest = RequestOf<typeof SaslHandshake>
export type SaslHandshakeResponse = ResponseOf<typeof SaslHandshake>
export type SaslHandshakeRequestInput = RequestInput<typeof SaslHandshake>
export type SaslHandshakeResponseInput = ResponseInput<typeof SaslHandshake>
