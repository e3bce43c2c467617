/** DescribeConfigs, of topics and of this broker. */
import { type DescribedConfig, describeTopicConfig } from '../../config/topic-settings.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type {
  DescribeConfigs,
  DescribeConfigsRequest,
  DescribeConfigsResponseInput,
} from '../../protocol/messages/describe-configs.ts'
import type { Handler, Services } from '../services.ts'
import { asKafkaError, findResource } from './config-resource.ts'

type Result = NonNullable<DescribeConfigsResponseInput['results']>[number]
type AskedResource = DescribeConfigsRequest['resources'][number]

export function createDescribeConfigsHandler(services: Services): Handler<typeof DescribeConfigs> {
  return (request) => ({
    throttleTimeMs: 0,
    results: request.resources.map((resource) => describe(services, resource, request)),
  })
}

function describe(
  services: Services,
  resource: AskedResource,
  request: DescribeConfigsRequest,
): Result {
  const { resourceType, resourceName } = resource
  try {
    const configs = describeResource(services, resource)
    return {
      errorCode: ErrorCode.NONE,
      errorMessage: null,
      resourceType,
      resourceName,
      configs: configs.map((config) => ({
        ...config,
        synonyms: request.includeSynonyms ? config.synonyms : [],
        documentation: request.includeDocumentation ? config.documentation : null,
      })),
    }
  } catch (error) {
    const { errorCode, message } = asKafkaError(services, error)
    return { errorCode, errorMessage: message, resourceType, resourceName, configs: [] }
  }
}

/** Throws KafkaError. */
function describeResource(services: Services, asked: AskedResource): DescribedConfig[] {
  const resource = findResource(services, asked.resourceType, asked.resourceName)
  const keys = asked.configurationKeys
  return resource.kind === 'topic'
    ? describeTopicConfig(resource.topic.configs, services.texts, keys)
    : services.brokerConfigs.describe(resource.scope, keys)
}
