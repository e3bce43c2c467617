/** AlterConfigs: replaces all configs that a resource has of its own. */
import { ErrorCode, KafkaError } from '../../protocol/error-codes.ts'
import type { AlterConfigs } from '../../protocol/messages/alter-configs.ts'
import type { Handler, Services } from '../services.ts'
import { alterResource, findResource, forEachResource } from './config-resource.ts'

export function createAlterConfigsHandler(services: Services): Handler<typeof AlterConfigs> {
  return async (request) => {
    const responses = await forEachResource(services, request.resources, async (asked) => {
      const resource = findResource(services, asked.resourceType, asked.resourceName)
      const configs = new Map<string, string>()
      for (const { name, value } of asked.configs) {
        if (value === null) {
          throw new KafkaError(ErrorCode.INVALID_REQUEST, `Config ${name} cannot be null`)
        }
        if (configs.has(name)) {
          throw new KafkaError(ErrorCode.INVALID_REQUEST, `Config ${name} is given twice`)
        }
        configs.set(name, value)
      }
      await alterResource(services, resource, () => configs, request.validateOnly)
    })
    return { throttleTimeMs: 0, responses }
  }
}
