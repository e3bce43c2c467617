/** CreateTopics. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { CreateTopics } from '../../protocol/messages/create-topics.ts'
import type { Handler, Services } from '../services.ts'

export function createCreateTopicsHandler(services: Services): Handler<typeof CreateTopics> {
  return async (request) => {
    const { timeoutMs, validateOnly } = request
    const outcomes = await services.controller.createTopics(request.topics, {
      timeoutMs,
      validateOnly,
    })
    return {
      topics: outcomes.map((outcome) => ({
        name: outcome.name,
        topicId: outcome.topicId,
        errorCode: outcome.errorCode,
        errorMessage: outcome.errorMessage,
        topicConfigErrorCode: ErrorCode.NONE,
        numPartitions: outcome.numPartitions,
        replicationFactor: outcome.replicationFactor,
        configs: outcome.configs.map(({ name, value, readOnly, configSource, isSensitive }) => ({
          name,
          value,
          readOnly,
          configSource,
          isSensitive,
        })),
      })),
    }
  }
}
