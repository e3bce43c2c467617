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

interface Layered {
  readonly name: string
  readonly text: string | null
  readonly source: number
}

function brokerLayers(key: string, broker: BrokerTexts, factor: number): Layered[] {
  const layers: Layered[] = []
  const scale = (text: string): string => (factor === 1 ? text : String(Number(text) * factor))
  const add = (texts: ReadonlyMap<string, string>, source: number): void => {
    const text = texts.get(key)
    if (text !== undefined) layers.push({ name: key, text: scale(text), source })
  }
  add(broker.dynamic, ConfigSource.DYNAMIC_BROKER)
  add(broker.dynamicDefault, ConfigSource.DYNAMIC_DEFAULT_BROKER)
  add(broker.fixed, ConfigSource.STATIC_BROKER)
  return layers
}

/** Every value that a topic key could have, the one in effect first. */
function layersOf(
  row: ConfigKey,
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
): Layered[] {
  const layers: Layered[] = []
  const own = overrides.get(row.key)
  if (own !== undefined) layers.push({ name: row.key, text: own, source: ConfigSource.TOPIC })
  for (const synonym of row.synonyms ?? []) {
    layers.push(...brokerLayers(synonym.key, broker, synonym.factor ?? 1))
  }
  const first = row.synonyms?.find((synonym) => brokerRows.get(synonym.key)?.default !== null)
  layers.push({
    name: first?.key ?? row.key,
    text: formatConfigValue(row.default),
    source: ConfigSource.DEFAULT,
  })
  return layers
}

/** The typed configuration of a topic. */
export function effectiveTopicConfig(
  overrides: ReadonlyMap<string, string>,
  broker: BrokerTexts,
): TopicConfig {
  const values: Record<string, ConfigValue> = {}
  for (const [property, row] of Object.entries(topicConfig)) {
    const text = layersOf(row, overrides, broker)[0]?.text ?? null
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
  readonly synonyms: readonly { name: string; value: string | null; source: number }[]
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
    .map((row) => described(row, layersOf(row, overrides, broker), false))
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
      const layers = brokerLayers(row.key, broker, 1)
      layers.push({
        name: row.key,
        text: formatConfigValue(row.default),
        source: ConfigSource.DEFAULT,
      })
      return described(row, layers, (row.dynamic ?? 'read-only') === 'read-only')
    })
}

function described(row: ConfigKey, layers: Layered[], readOnly: boolean): DescribedConfig {
  const effective = layers[0] as Layered
  const sensitive = row.type === 'password'
  const show = (text: string | null): string | null => (sensitive ? null : text)
  return {
    name: row.key,
    value: show(effective.text),
    readOnly,
    isDefault: effective.source === ConfigSource.DEFAULT,
    configSource: effective.source,
    isSensitive: sensitive,
    synonyms: layers
      .filter((layer) => layer.text !== null)
      .map((layer) => ({ name: layer.name, value: show(layer.text), source: layer.source })),
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
