/** CreatePartitions. */
import type { CreatePartitions } from '../../protocol/messages/create-partitions.ts'
import type { Handler, Services } from '../services.ts'
import { outcomePerTopic } from './outcome-per-topic.ts'

export function createCreatePartitionsHandler(
  services: Services,
): Handler<typeof CreatePartitions> {
  return async (request) => {
    const { timeoutMs, validateOnly } = request
    const options = { timeoutMs, validateOnly }
    const results = await outcomePerTopic(
      request.topics.map(({ name }) => name),
      () => services.controller.createPartitions(request.topics, options),
      (outcome) => outcome,
    )
    return { throttleTimeMs: 0, results: [...results] }
  }
}
