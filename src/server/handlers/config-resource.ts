/** What the three config APIs have in common: which resource is meant, and how it is changed. */
import { ConfigError } from '../../config/define-config.ts'
import { wrongTopicName } from '../../controller/topic-name.ts'
import type { TopicImage } from '../../metadata/topic-image.ts'
import { ErrorCode, errorMessage, KafkaError } from '../../protocol/error-codes.ts'
import type { Services } from '../services.ts'

export const ResourceType = { TOPIC: 2, BROKER: 4, BROKER_LOGGER: 8 } as const

export type ConfigResource =
  | { readonly kind: 'topic'; readonly topic: TopicImage }
  | { readonly kind: 'broker'; readonly scope: 'broker' | 'cluster' }

/** Throws KafkaError if there is no such resource, or none that has configs. */
export function findResource(services: Services, type: number, name: string): ConfigResource {
  if (type === ResourceType.TOPIC) {
    const topic = services.metadata.topic(name)
    if (topic !== undefined) return { kind: 'topic', topic }
    const wrong = wrongTopicName(name)
    if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, wrong)
    throw new KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic '${name}' does not exist`)
  }
  if (type === ResourceType.BROKER) {
    if (name === '') return { kind: 'broker', scope: 'cluster' }
    checkBrokerId(services, name)
    return { kind: 'broker', scope: 'broker' }
  }
  if (type === ResourceType.BROKER_LOGGER) {
    throw new KafkaError(ErrorCode.INVALID_REQUEST, 'Loggers cannot be configured on this broker')
  }
  throw new KafkaError(ErrorCode.INVALID_REQUEST, `Resources of type ${type} have no configs here`)
}

function checkBrokerId(services: Services, name: string): void {
  if (!/^-?\d{1,10}$/.test(name)) {
    throw new KafkaError(ErrorCode.INVALID_REQUEST, `A broker id must be an integer, not '${name}'`)
  }
  if (Number(name) !== services.brokerId) {
    throw new KafkaError(
      ErrorCode.INVALID_REQUEST,
      `This is broker ${services.brokerId}, asked for was broker ${name}`,
    )
  }
}

/** Changes the configs of a resource. Throws KafkaError. */
export async function alterResource(
  services: Services,
  resource: ConfigResource,
  change: (current: ReadonlyMap<string, string>) => ReadonlyMap<string, string>,
  validateOnly: boolean,
): Promise<void> {
  if (resource.kind === 'topic') {
    await services.topicConfigs.alter(resource.topic.name, change, validateOnly)
  } else {
    await services.brokerConfigs.alter(resource.scope, change, validateOnly)
  }
}

export interface ResourceOutcome {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly resourceType: number
  readonly resourceName: string
}

/**
 * Runs a task for each resource of a request, one after another, and answers with how each went.
 * A resource that is named twice is refused at every place.
 */
export async function forEachResource<
  R extends { readonly resourceType: number; readonly resourceName: string },
>(
  services: Services,
  resources: readonly R[],
  task: (resource: R) => Promise<void>,
): Promise<ResourceOutcome[]> {
  const counts = new Map<string, number>()
  const keyOf = (resource: R): string => `${resource.resourceType} ${resource.resourceName}`
  for (const resource of resources) {
    counts.set(keyOf(resource), (counts.get(keyOf(resource)) ?? 0) + 1)
  }
  const outcomes: ResourceOutcome[] = []
  for (const resource of resources) {
    const { resourceType, resourceName } = resource
    let failure: KafkaError | null = null
    try {
      if ((counts.get(keyOf(resource)) ?? 0) > 1) {
        throw new KafkaError(ErrorCode.INVALID_REQUEST, 'The request names this resource twice')
      }
      await task(resource)
    } catch (error) {
      failure = asKafkaError(services, error)
    }
    outcomes.push({
      errorCode: failure?.errorCode ?? ErrorCode.NONE,
      errorMessage: failure?.message ?? null,
      resourceType,
      resourceName,
    })
  }
  return outcomes
}

export function asKafkaError(services: Services, error: unknown): KafkaError {
  if (error instanceof KafkaError) return error
  if (error instanceof ConfigError) return new KafkaError(ErrorCode.INVALID_CONFIG, error.message)
  services.logger.error({ err: error }, 'unexpected failure of a config request')
  const code = ErrorCode.UNKNOWN_SERVER_ERROR
  return new KafkaError(code, errorMessage(code))
}
