/** The outcome of a request for many topics where the controller did not take it as a whole. */
import type { TopicOutcome } from '../../controller/topic-change.ts'
import { KafkaError } from '../../protocol/error-codes.ts'

/** What `change` answers; where it throws a KafkaError, that error for each of the names. */
export async function outcomePerTopic<O extends TopicOutcome>(
  names: readonly string[],
  change: () => Promise<readonly O[]>,
  failed: (outcome: TopicOutcome) => O,
): Promise<readonly O[]> {
  try {
    return await change()
  } catch (error) {
    if (!(error instanceof KafkaError)) throw error
    const { errorCode, message } = error
    return names.map((name) => failed({ name, errorCode, errorMessage: message }))
  }
}
