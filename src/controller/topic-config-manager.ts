/**
 * The configurations that topics have of their own, as far as this broker wants to know them. Any
 * broker changes them: it writes them to the registry and announces the change, and all read anew.
 *
 * Main thread only.
 */
import type { TopicConfig } from '../config/topic-config.ts'
import { effectiveTopicConfig, wrongTopicConfig } from '../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import { ANY_VERSION, type ClusterRegistry } from '../registry/cluster-registry.ts'
import type { Logger } from '../util/logger.ts'
import type { LiveBrokerTexts } from './broker-texts.ts'
import { Serial } from './serial.ts'

type Configs = ReadonlyMap<string, string>

const NONE: Configs = new Map()
/** Somebody else may change the same topic at the same time. */
const ATTEMPTS_MAX = 20

export class TopicConfigManager {
  readonly #registry: ClusterRegistry
  readonly #texts: LiveBrokerTexts
  readonly #logger: Logger
  readonly #serial = new Serial()
  readonly #configs = new Map<string, Configs>()
  readonly #listeners = new Set<(topic: string) => void>()

  constructor(options: {
    readonly registry: ClusterRegistry
    readonly texts: LiveBrokerTexts
    readonly logger: Logger
  }) {
    this.#registry = options.registry
    this.#texts = options.texts
    this.#logger = options.logger
  }

  /** Calls `listener` with the topic after each change of what is known. */
  onChange(listener: (topic: string) => void): void {
    this.#listeners.add(listener)
  }

  /** What a topic has of its own; empty for one that was not loaded. */
  configsOf(topic: string): Configs {
    return this.#configs.get(topic) ?? NONE
  }

  /** What the topic's logs work with. */
  effective(topic: string): TopicConfig {
    return effectiveTopicConfig(this.configsOf(topic), this.#texts)
  }

  /** Reads those that are not known yet. Throws RegistryError. */
  async load(topics: Iterable<string>): Promise<void> {
    const asked = new Set(topics)
    if (this.#missing(asked).length === 0) return
    // What is announced meanwhile is read after it.
    await this.#serial.run(async () => {
      const missing = this.#missing(asked)
      const found = await Promise.all(missing.map((topic) => this.#read(topic)))
      for (const [i, topic] of missing.entries()) this.#configs.set(topic, found[i] as Configs)
    })
  }

  #missing(topics: ReadonlySet<string>): string[] {
    return [...topics].filter((topic) => !this.#configs.has(topic))
  }

  /** Reads a topic anew after somebody has announced a change of it. */
  reload(topic: string): Promise<void> {
    return this.#serial.run(async () => {
      if (!this.#configs.has(topic)) return
      try {
        this.#put(topic, await this.#read(topic))
      } catch (error) {
        this.#logger.error({ err: error, topic }, 'the changed configs of a topic cannot be read')
      }
    })
  }

  /** The topic is gone. */
  forget(topic: string): void {
    this.#configs.delete(topic)
  }

  /** Replaces what a topic has of its own by what `change` makes of it. Throws KafkaError. */
  alter(
    topic: string,
    change: (current: Configs) => Configs,
    validateOnly: boolean,
  ): Promise<void> {
    return this.#serial.run(async () => {
      for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        const stored = await this.#asStorage(() =>
          this.#registry.config({ type: 'topics', name: topic }),
        )
        const configs = change(stored?.value ?? NONE)
        const wrong = wrongTopicConfig(configs)
        if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_CONFIG, wrong)
        if (validateOnly) return
        if (await this.#write(topic, configs, stored?.version ?? ANY_VERSION)) return
      }
      throw new KafkaError(
        ErrorCode.KAFKA_STORAGE_ERROR,
        `The configs of topic '${topic}' are being changed by somebody else`,
      )
    })
  }

  async #write(topic: string, configs: Configs, expectedVersion: number): Promise<boolean> {
    const entity = { type: 'topics', name: topic } as const
    return this.#asStorage(async () => {
      const written = await this.#registry.writeConfig(entity, configs, expectedVersion)
      if (!written.ok) return false
      this.#put(topic, configs)
      await this.#registry.announceConfigChange(entity)
      return true
    })
  }

  #put(topic: string, configs: Configs): void {
    this.#configs.set(topic, configs)
    for (const listener of this.#listeners) listener(topic)
  }

  async #read(topic: string): Promise<Configs> {
    return (await this.#registry.config({ type: 'topics', name: topic }))?.value ?? NONE
  }

  /** A registry that fails is the fault of no request: the client is told, we log. */
  async #asStorage<T>(task: () => Promise<T>): Promise<T> {
    try {
      return await task()
    } catch (error) {
      if (error instanceof KafkaError) throw error
      this.#logger.error({ err: error }, 'the configs of a topic could not be changed')
      const what = error instanceof Error ? error.message : String(error)
      throw new KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, what)
    }
  }
}
