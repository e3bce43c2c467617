import {
  defineApi,
  type RequestInput,
  type RequestOf,
  type ResponseInput,
  type ResponseOf,
} from '../schema.ts'

export const ApiVersions = defineApi({
  key: 18,
  name: 'ApiVersions',
  versions: '0-4',
  flexible: '3+',
  request: {
    clientSoftwareName: { versions: '3+', type: 'string', ignorable: true },
    clientSoftwareVersion: { versions: '3+', type: 'string', ignorable: true },
  },
  response: {
    errorCode: { versions: '0+', type: 'int16' },
    apiKeys: {
      versions: '0+',
      type: 'array',
      of: {
        apiKey: { versions: '0+', type: 'int16' },
        minVersion: { versions: '0+', type: 'int16' },
        maxVersion: { versions: '0+', type: 'int16' },
      },
    },
    throttleTimeMs: { versions: '1+', type: 'int32', ignorable: true },
    supportedFeatures: {
      versions: '3+',
      type: 'array',
      of: {
        name: { versions: '3+', type: 'string' },
        minVersion: { versions: '3+', type: 'int16' },
        maxVersion: { versions: '3+', type: 'int16' },
      },
      tag: 0,
      tagged: '3+',
      ignorable: true,
    },
    finalizedFeaturesEpoch: {
      versions: '3+',
      type: 'int64',
      default: -1,
      tag: 1,
      tagged: '3+',
      ignorable: true,
    },
    finalizedFeatures: {
      versions: '3+',
      type: 'array',
      of: {
        name: { versions: '3+', type: 'string' },
        maxVersionLevel: { versions: '3+', type: 'int16' },
        minVersionLevel: { versions: '3+', type: 'int16' },
      },
      tag: 2,
      tagged: '3+',
      ignorable: true,
    },
    zkMigrationReady: {
      versions: '3+',
      type: 'bool',
      default: false,
      tag: 3,
      tagged: '3+',
      ignorable: true,
    },
  },
})

export type ApiVersionsRequest = RequestOf<typeof ApiVersions>
export type ApiVersionsResponse = ResponseOf<typeof ApiVersions>
export type ApiVersionsRequestInput = RequestInput<typeof ApiVersions>
export type ApiVersionsResponseInput = ResponseInput<typeof ApiVersions>
