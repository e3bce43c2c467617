/** Topics that this broker itself wants: made by the controller, here or elsewhere. */
import type { Controller } from '../controller/controller.ts'
import type { ChangeOptions, NewTopic, TopicOutcome } from '../controller/topic-change.ts'
import { ErrorCode, errorMessage } from '../protocol/error-codes.ts'
import { CreateTopics } from '../protocol/messages/create-topics.ts'
import type { ControllerForwarding } from './controller-forwarding.ts'

/** What brokers of 3.x serve. */
const VERSION = 7

export class TopicCreator {
  readonly #controller: Controller
  readonly #forwarding: ControllerForwarding

  constructor(options: {
    readonly controller: Controller
    readonly forwarding: ControllerForwarding
  }) {
    this.#controller = options.controller
    this.#forwarding = options.forwarding
  }

  /** One outcome per topic, in their order; NOT_CONTROLLER where no controller could be asked. */
  async createTopics(
    topics: readonly NewTopic[],
    options: ChangeOptions,
  ): Promise<readonly TopicOutcome[]> {
    if (this.#controller.isActive) return this.#controller.createTopics(topics, options)
    const { timeoutMs, validateOnly } = options
    const response = await this.#forwarding.ask(
      CreateTopics,
      VERSION,
      { topics, timeoutMs, validateOnly },
      timeoutMs,
    )
    const found = new Map(response?.topics.map((topic) => [topic.name, topic]) ?? [])
    return topics.map(({ name }) => {
      const topic = found.get(name)
      const errorCode = topic?.errorCode ?? ErrorCode.NOT_CONTROLLER
      return { name, errorCode, errorMessage: topic?.errorMessage ?? errorMessage(errorCode) }
    })
  }
}
