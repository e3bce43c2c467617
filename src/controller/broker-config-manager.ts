/**
 * The part of the broker's configuration that changes while it runs: kept in the registry, laid
 * over the file's values, handed to the topics that inherit it.
 *
 * Main thread only.
 */
import {
  ConfigSource,
  type DescribedConfig,
  describeBrokerConfig,
  wrongBrokerConfig,
} from '../config/topic-settings.ts'
import { ErrorCode, KafkaError } from '../protocol/error-codes.ts'
import { ANY_VERSION, type ClusterRegistry } from '../registry/cluster-registry.ts'
import type { Logger } from '../util/logger.ts'
import type { LiveBrokerTexts } from './broker-texts.ts'
import { Serial } from './serial.ts'

const EMPTY: ReadonlyMap<string, string> = new Map()

export class BrokerConfigManager {
  readonly brokerId: number
  readonly #registry: ClusterRegistry
  readonly #texts: LiveBrokerTexts
  readonly #logger: Logger
  readonly #serial = new Serial()
  readonly #listeners = new Set<() => Promise<void> | void>()

  constructor(options: {
    readonly brokerId: number
    readonly registry: ClusterRegistry
    readonly texts: LiveBrokerTexts
    readonly logger: Logger
  }) {
    this.brokerId = options.brokerId
    this.#registry = options.registry
    this.#texts = options.texts
    this.#logger = options.logger
  }

  /** Reads what was set before; call it before the topics are loaded. Throws RegistryError. */
  async load(): Promise<void> {
    this.#texts.dynamicDefault = await this.#read(null)
    this.#texts.dynamic = await this.#read(String(this.brokerId))
  }

  /** Reads anew what somebody has announced to be changed, and tells the listeners. */
  reload(): Promise<void> {
    return this.#serial.run(async () => {
      try {
        await this.load()
      } catch (error) {
        this.#logger.error({ err: error }, 'the changed configs of brokers cannot be read')
        return
      }
      for (const listener of this.#listeners) await listener()
    })
  }

  /** Calls `listener` after each change and waits for it before the change is answered. */
  onChange(listener: () => Promise<void> | void): void {
    this.#listeners.add(listener)
  }

  /** What is set for this broker, or for all of them. */
  current(scope: 'broker' | 'cluster'): ReadonlyMap<string, string> {
    return scope === 'broker' ? this.#texts.dynamic : this.#texts.dynamicDefault
  }

  /** The text in effect for a key that nothing was set for in this scope, or null. */
  inherited(key: string): string | null {
    const below = { dynamic: EMPTY, dynamicDefault: EMPTY, fixed: this.#texts.fixed }
    return describeBrokerConfig(below, [key])[0]?.value ?? null
  }

  describe(scope: 'broker' | 'cluster', keys: readonly string[] | null): DescribedConfig[] {
    if (scope === 'broker') return describeBrokerConfig(this.#texts, keys)
    const layers = { dynamic: EMPTY, dynamicDefault: this.#texts.dynamicDefault, fixed: EMPTY }
    const described = describeBrokerConfig(layers, keys)
    return described
      .filter((config) => layers.dynamicDefault.has(config.name))
      .map((config) => ({
        ...config,
        synonyms: config.synonyms.filter(
          ({ source }) => source === ConfigSource.DYNAMIC_DEFAULT_BROKER,
        ),
      }))
  }

  /** Replaces what is set by what `change` makes of it. Throws KafkaError. */
  alter(
    scope: 'broker' | 'cluster',
    change: (current: ReadonlyMap<string, string>) => ReadonlyMap<string, string>,
    validateOnly: boolean,
  ): Promise<void> {
    return this.#serial.run(async () => {
      const before = this.current(scope)
      const after = change(before)
      for (const [key, text] of after) {
        if (before.get(key) === text) continue
        const wrong = wrongBrokerConfig(key, text, scope === 'broker')
        if (wrong !== null) throw new KafkaError(ErrorCode.INVALID_CONFIG, wrong)
      }
      if (validateOnly) return
      await this.#write(scope, after)
      for (const listener of this.#listeners) await listener()
    })
  }

  async #write(scope: 'broker' | 'cluster', values: ReadonlyMap<string, string>): Promise<void> {
    const name = scope === 'broker' ? String(this.brokerId) : null
    try {
      const entity = { type: 'brokers', name } as const
      await this.#registry.writeConfig(entity, values, ANY_VERSION)
      await this.#registry.announceConfigChange(entity)
    } catch (error) {
      this.#logger.error({ err: error }, 'a broker config could not be stored')
      const what = error instanceof Error ? error.message : String(error)
      throw new KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, what)
    }
    if (scope === 'broker') this.#texts.dynamic = values
    else this.#texts.dynamicDefault = values
  }

  async #read(name: string | null): Promise<ReadonlyMap<string, string>> {
    return (await this.#registry.config({ type: 'brokers', name }))?.value ?? EMPTY
  }
}
