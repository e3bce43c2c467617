/**
 * Declares configuration keys: one row per key, from which come the typed property, parsing,
 * validation, DescribeConfigs and the documentation. Types and texts follow Kafka's ConfigDef.
 */

export type ConfigType =
  | 'boolean'
  | 'string'
  | 'int'
  | 'short'
  | 'long'
  | 'double'
  | 'list'
  | 'password'
  | 'class'

/** Codes of DescribeConfigs. */
export const configTypeCodes: Readonly<Record<ConfigType, number>> = {
  boolean: 1,
  string: 2,
  int: 3,
  short: 4,
  long: 5,
  double: 6,
  list: 7,
  class: 8,
  password: 9,
}

export type ConfigValue = boolean | number | string | readonly string[] | null

/** Tells what is wrong with a value, and null when nothing is. */
export interface ConfigCheck {
  (value: ConfigValue): string | null
  /** What is allowed, for the documentation. */
  readonly allowed: string
}

export interface ConfigKey {
  readonly key: string
  readonly type: ConfigType
  readonly default: ConfigValue
  readonly check?: ConfigCheck
  readonly importance?: 'high' | 'medium' | 'low'
  readonly doc: string
  /** Broker keys that may change while the broker runs. */
  readonly dynamic?: 'read-only' | 'per-broker' | 'cluster-wide'
  /** Topic keys: the broker keys that give the default, the strongest first. */
  readonly synonyms?: readonly { readonly key: string; readonly factor?: number }[]
  /** Known to Kafka, without effect here. */
  readonly inert?: true
}

export type ConfigTable = Readonly<Record<string, ConfigKey>>

interface ValueTypes {
  boolean: boolean
  string: string
  int: number
  short: number
  long: number
  double: number
  list: readonly string[]
  password: string
  class: string
}

/** The typed values of a table. */
export type ConfigOf<T extends ConfigTable> = {
  readonly [K in keyof T]: ValueTypes[T[K]['type']] | (T[K]['default'] extends null ? null : never)
}

export function defineConfig<const T extends ConfigTable>(table: T): T {
  return table
}

export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const bounds = {
  short: [-32768, 32767],
  int: [-2147483648, 2147483647],
} as const

/**
 * Parses the text of a value. A long beyond 2^53 - 1 becomes 2^53 - 1, which every reader takes
 * for "no limit". Throws ConfigError that names key, value and what is allowed.
 */
export function parseConfigValue(row: ConfigKey, text: string): ConfigValue {
  const value = parseText(row, text.trim())
  const wrong = row.check?.(value)
  if (wrong) throw new ConfigError(`Invalid value ${text} for configuration ${row.key}: ${wrong}`)
  return value
}

function parseText(row: ConfigKey, text: string): ConfigValue {
  const fail = (what: string): never => {
    throw new ConfigError(`Invalid value ${text} for configuration ${row.key}: ${what}`)
  }
  switch (row.type) {
    case 'boolean': {
      const lower = text.toLowerCase()
      if (lower === 'true') return true
      if (lower === 'false') return false
      return fail('Expected value to be either true or false')
    }
    case 'int':
    case 'short': {
      const value = Number(text)
      const [least, most] = bounds[row.type]
      if (!/^[+-]?\d+$/.test(text) || value < least || value > most) {
        return fail(`Not a number of type ${row.type.toUpperCase()}`)
      }
      return value
    }
    case 'long': {
      if (!/^[+-]?\d+$/.test(text)) return fail('Not a number of type LONG')
      const exact = BigInt(text)
      if (exact > 9223372036854775807n || exact < -9223372036854775808n) {
        return fail('Not a number of type LONG')
      }
      const most = Number.MAX_SAFE_INTEGER
      return Math.max(-most, Math.min(most, Number(exact)))
    }
    case 'double': {
      const value = Number(text)
      if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) {
        return fail('Not a number of type DOUBLE')
      }
      return value
    }
    case 'list':
      return text === '' ? [] : text.split(',').map((item) => item.trim())
    default:
      return text
  }
}

/** The text that tools and DescribeConfigs show for a value. */
export function formatConfigValue(value: ConfigValue): string | null {
  if (value === null) return null
  if (Array.isArray(value)) return value.join(',')
  if (value === Number.MAX_SAFE_INTEGER) return '9223372036854775807'
  if (value === Number.MAX_VALUE) return '1.7976931348623157E308'
  return String(value)
}

function check(allowed: string, wrong: (value: ConfigValue) => string | null): ConfigCheck {
  return Object.assign((value: ConfigValue) => wrong(value), { allowed })
}

/** A number of `least` or more. */
export function atLeast(least: number): ConfigCheck {
  return check(`at least ${least}`, (value) =>
    typeof value === 'number' && value < least ? `Value must be at least ${least}` : null,
  )
}

/** A number from `least` to `most`. */
export function between(least: number, most: number): ConfigCheck {
  return check(`${least} to ${most}`, (value) =>
    typeof value === 'number' && (value < least || value > most)
      ? `Value must be between ${least} and ${most}`
      : null,
  )
}

/** One number more than another check allows. */
export function either(alone: number, otherwise: ConfigCheck): ConfigCheck {
  return check(`${alone}, or ${otherwise.allowed}`, (value) => {
    if (value === alone) return null
    const wrong = otherwise(value)
    return wrong === null ? null : `${wrong}, or ${alone}`
  })
}

/** One value alone: what the others would turn on is not there. */
export function only(allowed: boolean): ConfigCheck {
  return check(`only ${allowed}`, (value) =>
    value === allowed ? null : `Only ${allowed} is supported`,
  )
}

/** `*`, or a list of replicas. */
export const throttledReplicas: ConfigCheck = check('* or partition:broker,…', (value) => {
  const items = Array.isArray(value) ? value : [value]
  const isEveryone = items.length === 1 && items[0] === '*'
  if (isEveryone || items.every((item) => /^(\d+:\d+)?$/.test(String(item)))) return null
  return 'it must be * or a list of replicas in the format partition:broker,partition:broker,…'
})

/** One of some words; of a list, every item. */
export function oneOf(...allowed: readonly string[]): ConfigCheck {
  return check(allowed.join(', '), (value) => {
    const items = Array.isArray(value) ? value : [value]
    const wrong = items.some((item) => typeof item !== 'string' || !allowed.includes(item))
    return wrong ? `String must be one of: ${allowed.join(', ')}` : null
  })
}
