/** CreateTopics. */
import { NOT_CREATED } from '../../controller/topic-change.ts'
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { CreateTopics } from '../../protocol/messages/create-topics.ts'
import type { Handler, Services } from '../services.ts'
import { outcomePerTopic } from './outcome-per-topic.ts'

export function createCreateTopicsHandler(services: Services): Handler<typeof CreateTopics> {
  return async (request) => {
    const { timeoutMs, validateOnly } = request
    const outcomes = await outcomePerTopic(
      request.topics.map(({ name }) => name),
      () => services.controller.createTopics(request.topics, { timeoutMs, validateOnly }),
      (outcome) => ({ ...outcome, ...NOT_CREATED }),
    )
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
