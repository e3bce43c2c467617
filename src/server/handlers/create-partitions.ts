/** CreatePartitions. */
import type { CreatePartitions } from '../../protocol/messages/create-partitions.ts'
import type { Handler, Services } from '../services.ts'

export function createCreatePartitionsHandler(
  services: Services,
): Handler<typeof CreatePartitions> {
  return async (request) => {
    const { timeoutMs, validateOnly } = request
    const options = { timeoutMs, validateOnly }
    const results = await services.controller.createPartitions(request.topics, options)
    return { throttleTimeMs: 0, results }
  }
}
