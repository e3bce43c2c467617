/**
 * A broker hands a client's request to the controller (KIP-590). `requestData` and `responseData`
 * hold header and body, without a size; `clientHostAddress` is 4 or 16 bytes.
 */
import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const Envelope = defineApi({
  key: 58,
  name: 'Envelope',
  versions: '0',
  flexible: '0+',
  request: {
    requestData: { versions: '0+', type: 'bytes' },
    requestPrincipal: { versions: '0+', type: 'bytes', nullable: '0+' },
    clientHostAddress: { versions: '0+', type: 'bytes' },
  },
  response: {
    responseData: { versions: '0+', type: 'bytes', nullable: '0+', default: null },
    errorCode: { versions: '0+', type: 'int16' },
  },
})

export type EnvelopeRequest = RequestOf<typeof Envelope>
export type EnvelopeResponse = ResponseOf<typeof Envelope>
export type EnvelopeRequestInput = RequestInput<typeof Envelope>
export type EnvelopeResponseInput = ResponseInput<typeof Envelope>
