/** A topic's effective configuration: its overrides over the broker's values over the defaults. */
import { brokerConfig } from './broker-config.ts'
import { brokerQuotas } from './broker-quotas.ts'
import {
  ConfigError,
  type ConfigKey,
  type ConfigValue,
  configTypeCodes,
  formatConfigValue,
  parseConfigValue,
} from './define-config.ts'
import { type TopicConfig, topicConfig } from './topic-config.ts'

/** Codes of DescribeConfigs. */
export const ConfigSource = {
  TOPIC: 1,
  DYNAMIC_BROKER: 2,
  DYNAMIC_DEFAULT_BROKER: 3,
  STATIC_BROKER: 4,
  DEFAULT: 5,
} as const

const topicRows = new Map<string, ConfigKey>(
  Object.values(topicConfig).map((row) => [row.key, row]),
)
const brokerRows = new Map<string, ConfigKey>(
  [...Object.values(brokerConfig), ...brokerQuotas].map((row) => [row.key, row]),
)

/** The broker's own texts by layer, the strongest first. */
export interface BrokerTexts {
  /** Set while running, for this broker. */
  readonly dynamic: ReadonlyMap<string, string>
  /** Set while running, for all brokers. */
  readonly dynamicDefault: ReadonlyMap<string, string>
  /** From the properties file and the command line. */
  readonly fixed: ReadonlyMap<string, string>
}

/** What is wrong with a topic's overrides, or null. */
export function wrongTopicConfig(overrides: ReadonlyMap<string, string | null>): string | null {
  for (const [key, text] of overrides) {
    const row = topicRows.get(key)
    if (row === undefined) return `Unknown topic config name: ${key}`
    if (text === null) return `Null value not supported for topic configs: ${key}`
    try {
      parseConfigValue(row, text)
    } catch (error) {
      if (error instanceof ConfigError) return error.message
      throw error
    }
  }
  return null
}

interface Synonym {
  readonly name: string
  readonly value: string | null
  readonly source: number
}

interface Described {
  readonly text: string | null
  readonly source: number
  readonly synonyms: readonly Synonym[]
}

/** Broker keys for one thing in several units, the strongest first, by each of them. */
const aliases: ReadonlyMap<string, readonly string[]> = new Map(
  [...topicRows.values()].flatMap(({ synonyms = [] }) => {
    const keys = synonyms.map(({ key }) => key)
    return keys.map((key) => [key, keys])
  }),
)

/** Defaults of broker keys; those that have no effect here have it in the topic's row. */
const brokerDefaults: ReadonlyMap<string, string | null> = new Map([
  ...[...topicRows.values()].flatMap((row): [string, string | null][] =>
    (row.synonyms ?? []).map(({ key }) => [key, formatConfigValue(row.default)]),
  ),
  ...[...brokerRows.values()].map((row): [string, string | null] => [
    row.key,
    formatConfigValue(row.default),
  ]),
])

/**
 * What a broker key has and what would be in its place, layer by layer, as Apache Kafka tells it:
 * with the texts that were set, in their own units, and from the key's own one on. So there is
 * nothing of a key that nobody has set and that has no default, whatever its aliases say.
 */
function brokerSynonyms(key: string, broker: BrokerTexts): Synonym[] {
  const keys = aliases.get(key) ?? [key]
  const found: Synonym[] = []
  const add = (texts: ReadonlyMap<string, string | null>, source: number): void => {
    for (const name of keys) {
      const value = texts.get(name)
      if (value !== undefined && value !== null) found.push({ name, value, source })
    }
  }
  add(broker.dynamic, ConfigSource.DYNAMIC_BROKER)
  add(broker.dynamicDefault, ConfigSource.DYNAMIC_DEFAULT_BROKER)
  add(broker.fixed, ConfigSource.STATIC_BROKER)
  add(brokerDefaults, ConfigSource.DEFAULT)
  const first = found.findIndex(({ name }) => name === key)
  return first < 0 ? [] : found.slice(first)
}

/** What the broker says of a topic's key; null if it says nothing. */
function inheritedText(row: ConfigKey, { dynamic, dynamicDefault, fixed }: BrokerTexts) {
  for (const { key, factor } of row.synonyms ?? []) {
    const text = dynamic.get(key) ?? dynamicDefault.get(key) ?? fixed.get(key)
    if (text === undefined) continue
    if (factor === undefined) return text
    // Kafka takes every negative number of hours for "no limit".
    return String(Number(text) < 0 ? -1 : Number(text) * factor)
  }
  return null
}

/** The text in effect. */
function effectiveText(
  row: ConfigKey,
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
): string | null {
  return overrides.get(row.key) ?? inheritedText(row, broker) ?? formatConfigValue(row.default)
}

function describeTopicKey(
  row: ConfigKey,
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
): Described {
  const first = row.synonyms?.[0]
  const synonyms = first === undefined ? [] : brokerSynonyms(first.key, broker)
  const own = overrides.get(row.key)
  if (own !== undefined) {
    synonyms.unshift({ name: row.key, value: own, source: ConfigSource.TOPIC })
  }
  const source = synonyms[0]?.source ?? ConfigSource.DEFAULT
  return { text: effectiveText(row, overrides, broker), source, synonyms }
}

/** The typed configuration of a topic. */
export function effectiveTopicConfig(
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
): TopicConfig {
  const values: Record<string, ConfigValue> = {}
  for (const [property, row] of Object.entries(topicConfig)) {
    const text = effectiveText(row, overrides, broker)
    values[property] = text === null ? row.default : parseConfigValue(row, text)
  }
  return values as unknown as TopicConfig
}

export interface DescribedConfig {
  readonly name: string
  readonly value: string | null
  readonly readOnly: boolean
  readonly isDefault: boolean
  readonly configSource: number
  readonly isSensitive: boolean
  readonly synonyms: readonly Synonym[]
  readonly configType: number
  readonly documentation: string
}

/** What DescribeConfigs tells of a topic; `keys` null asks for all. */
export function describeTopicConfig(
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
  keys: readonly string[] | null,
): DescribedConfig[] {
  return Object.values(topicConfig as Readonly<Record<string, ConfigKey>>)
    .filter((row) => keys === null || keys.length === 0 || keys.includes(row.key))
    .map((row) => described(row, describeTopicKey(row, overrides, broker), false))
}

/** What DescribeConfigs tells of a broker. */
export function describeBrokerConfig(
  broker: BrokerTexts,
  keys: readonly string[] | null,
): DescribedConfig[] {
  const set = brokerQuotas.filter((row) => broker.dynamic.has(row.key))
  return [...Object.values(brokerConfig as Readonly<Record<string, ConfigKey>>), ...set]
    .filter((row) => keys === null || keys.length === 0 || keys.includes(row.key))
    .map((row) => {
      const synonyms = brokerSynonyms(row.key, broker)
      const { value: text, source } = synonyms[0] ?? { value: null, source: ConfigSource.DEFAULT }
      const isReadOnly = (row.dynamic ?? 'read-only') === 'read-only'
      return described(row, { text, source, synonyms }, isReadOnly)
    })
}

function described(row: ConfigKey, found: Described, readOnly: boolean): DescribedConfig {
  const { text, source, synonyms } = found
  const isSensitive = row.type === 'password'
  return {
    name: row.key,
    value: isSensitive ? null : text,
    readOnly,
    isDefault: source === ConfigSource.DEFAULT,
    configSource: source,
    isSensitive,
    synonyms: isSensitive ? synonyms.map((one) => ({ ...one, value: null })) : synonyms,
    configType: configTypeCodes[row.type],
    documentation: row.doc,
  }
}

/** What is wrong with a change of a broker's configuration, or null. */
export function wrongBrokerConfig(key: string, text: string, perBroker: boolean): string | null {
  const row = brokerRows.get(key)
  if (row === undefined) return `Unknown broker config name: ${key}`
  const mode = row.dynamic ?? 'read-only'
  if (mode === 'read-only') return `Cannot update these configs dynamically: ${key}`
  if (mode === 'per-broker' && !perBroker) {
    return `Cannot update these configs at default cluster level, broker id must be specified: ${key}`
  }
  try {
    parseConfigValue(row, text)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return null
}

export const AlterOperation = { SET: 0, DELETE: 1, APPEND: 2, SUBTRACT: 3 } as const

export interface ConfigChange {
  readonly name: string
  readonly operation: number
  readonly value: string | null
}

/** Applies IncrementalAlterConfigs operations. Throws ConfigError. */
export function applyConfigChanges(
  current: ReadonlyMap<string, string>,
  changes: readonly ConfigChange[],
  scope: 'topic' | 'broker',
  inherited: (key: string) => string | null,
): Map<string, string> {
  const result = new Map(current)
  const seen = new Set<string>()
  const table = scope === 'topic' ? topicRows : brokerRows
  for (const { name, operation, value } of changes) {
    if (seen.has(name)) throw new ConfigError(`Error due to duplicate config keys: ${name}`)
    seen.add(name)
    if (operation === AlterOperation.DELETE) {
      result.delete(name)
      continue
    }
    if (value === null) throw new ConfigError(`Null value not supported for : ${name}`)
    if (operation === AlterOperation.SET) {
      result.set(name, value)
      continue
    }
    if (operation !== AlterOperation.APPEND && operation !== AlterOperation.SUBTRACT) {
      throw new ConfigError(`Unknown operation ${operation} for config ${name}`)
    }
    if (table.get(name)?.type !== 'list') {
      throw new ConfigError(`Config value append/subtract is not allowed for config key: ${name}`)
    }
    const items = (result.get(name) ?? inherited(name) ?? '')
      .split(',')
      .filter((item) => item !== '')
    const given = value.split(',').map((item) => item.trim())
    const next =
      operation === AlterOperation.APPEND
        ? [...items, ...given.filter((item) => !items.includes(item))]
        : items.filter((item) => !given.includes(item))
    result.set(name, next.join(','))
  }
  return result
}
