/** IncrementalAlterConfigs: sets, deletes and edits single configs (KIP-339). */
import {
  AlterOperation,
  applyConfigChanges,
  describeTopicConfig,
} from '../../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../../protocol/error-codes.ts'
import type {
  IncrementalAlterConfigs,
  IncrementalAlterConfigsRequest,
} from '../../protocol/messages/incremental-alter-configs.ts'
import type { Handler, Services } from '../services.ts'
import { alterResource, findResource, forEachResource } from './config-resource.ts'

type ConfigEntry = IncrementalAlterConfigsRequest['resources'][number]['configs'][number]

const NO_CONFIGS: ReadonlyMap<string, string> = new Map()

export function createIncrementalAlterConfigsHandler(
  services: Services,
): Handler<typeof IncrementalAlterConfigs> {
  return async (request) => {
    const responses = await forEachResource(services, request.resources, async (asked) => {
      const resource = findResource(services, asked.resourceType, asked.resourceName)
      checkEntries(asked.configs)
      const changes = asked.configs.map(({ name, configOperation, value }) => ({
        name,
        operation: configOperation,
        value,
      }))
      const isTopic = resource.kind === 'topic'
      const inherited = (key: string): string | null =>
        isTopic
          ? (describeTopicConfig(NO_CONFIGS, services.texts, [key])[0]?.value ?? null)
          : services.brokerConfigs.inherited(key)
      const scope = isTopic ? 'topic' : 'broker'
      await alterResource(
        services,
        resource,
        (current) => applyConfigChanges(current, changes, scope, inherited),
        request.validateOnly,
      )
    })
    return { throttleTimeMs: 0, responses }
  }
}

/** What is wrong with the request itself, whatever the resource. Throws KafkaError. */
function checkEntries(entries: readonly ConfigEntry[]): void {
  const fail = (what: string): never => {
    throw new KafkaError(ErrorCode.INVALID_REQUEST, what)
  }
  const names = new Set<string>()
  for (const { name, configOperation, value } of entries) {
    if (names.has(name)) fail(`Config ${name} is given twice`)
    names.add(name)
    const isKnown = Object.values<number>(AlterOperation).includes(configOperation)
    if (!isKnown) fail(`Operation ${configOperation} on config ${name} is not known`)
    if (value === null && configOperation !== AlterOperation.DELETE) {
      fail(`Config ${name} cannot be null`)
    }
  }
}
