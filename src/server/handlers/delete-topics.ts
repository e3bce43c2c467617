/** DeleteTopics, by name or by topic id. */
import type { TopicImage } from '../../metadata/topic-image.ts'
import { ErrorCode, errorMessage } from '../../protocol/error-codes.ts'
import type { DeleteTopics, DeleteTopicsRequest } from '../../protocol/messages/delete-topics.ts'
import { ZERO_UUID } from '../../protocol/schema.ts'
import type { Handler, Services } from '../services.ts'
import { outcomePerTopic } from './outcome-per-topic.ts'

interface Answer {
  readonly name: string | null
  readonly topicId: string
  readonly errorCode: number
  readonly errorMessage: string | null
}

interface AskedTopic {
  readonly name: string | null
  readonly topicId: string
}

export function createDeleteTopicsHandler(services: Services): Handler<typeof DeleteTopics> {
  return async (request, context) => {
    const asked = askedTopics(request, context.apiVersion)
    if (!services.config.deleteTopicEnable) {
      // Versions before 3 do not know the code that says it.
      const code =
        context.apiVersion < 3 ? ErrorCode.INVALID_REQUEST : ErrorCode.TOPIC_DELETION_DISABLED
      return { responses: asked.map((one) => refuse(one, code, 'Topic deletion is disabled')) }
    }
    const answers: Answer[] = []
    const topics = new Map<string, TopicImage>()
    for (const one of asked) {
      const found = find(services, one, topics)
      if ('errorCode' in found) answers.push(found)
      else topics.set(found.name, found)
    }
    const images = [...topics.values()]
    const names = images.map(({ name }) => name)
    const outcomes = await outcomePerTopic(
      names,
      () => services.controller.deleteTopics(names, request.timeoutMs),
      (outcome) => outcome,
    )
    for (const [i, outcome] of outcomes.entries()) {
      answers.push({ ...outcome, topicId: images[i]?.topicId ?? ZERO_UUID })
    }
    return { responses: answers }
  }
}

function askedTopics(request: DeleteTopicsRequest, version: number): readonly AskedTopic[] {
  if (version >= 6) return request.topics
  return request.topicNames.map((name) => ({ name, topicId: ZERO_UUID }))
}

function refuse(asked: AskedTopic, errorCode: number, message = errorMessage(errorCode)): Answer {
  return { name: asked.name, topicId: asked.topicId, errorCode, errorMessage: message }
}

function find(
  services: Services,
  asked: AskedTopic,
  already: ReadonlyMap<string, TopicImage>,
): TopicImage | Answer {
  const { name, topicId } = asked
  const isById = topicId !== ZERO_UUID
  if (isById && name !== null) {
    return refuse(
      asked,
      ErrorCode.INVALID_REQUEST,
      'A topic id and a name cannot be given together',
    )
  }
  if (!isById && name === null) {
    return refuse(asked, ErrorCode.INVALID_REQUEST, 'Neither a topic id nor a name is given')
  }
  const { metadata } = services
  const topic = isById ? metadata.topicById(topicId) : metadata.topic(name ?? '')
  if (topic === undefined) {
    return isById
      ? refuse(asked, ErrorCode.UNKNOWN_TOPIC_ID, `There is no topic with id ${topicId}`)
      : refuse(asked, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic '${name}' does not exist`)
  }
  if (already.has(topic.name)) {
    return refuse(asked, ErrorCode.INVALID_REQUEST, 'The request names this topic more than once')
  }
  return topic
}
