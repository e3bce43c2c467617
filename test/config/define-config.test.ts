/** Every type and check of a configuration value, and the texts of what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { brokerConfig } from '../../src/config/broker-config.ts'
import {
  atLeast,
  between,
  ConfigError,
  type ConfigKey,
  type ConfigType,
  type ConfigValue,
  configTypeCodes,
  either,
  formatConfigValue,
  oneOf,
  parseConfigValue,
} from '../../src/config/define-config.ts'
import { topicConfig } from '../../src/config/topic-config.ts'

function rowOf(type: ConfigType, check?: ConfigKey['check']): ConfigKey {
  const row = { key: 'a.key', type, default: null, doc: '' }
  return check === undefined ? row : { ...row, check }
}

function refused(row: ConfigKey, text: string, why: string): void {
  assert.throws(() => parseConfigValue(row, text), {
    name: 'ConfigError',
    message: `Invalid value ${text} for configuration a.key: ${why}`,
  })
}

test('each type parses what Kafka parses', () => {
  const parsed: readonly [ConfigType, string, ConfigValue][] = [
    ['boolean', 'true', true],
    ['boolean', ' FALSE ', false],
    ['int', '2147483647', 2147483647],
    ['int', '-2147483648', -2147483648],
    ['int', '+7', 7],
    ['short', '-32768', -32768],
    ['long', '1099511627776', 1099511627776],
    ['long', '9223372036854775807', Number.MAX_SAFE_INTEGER],
    ['long', '-9223372036854775808', -Number.MAX_SAFE_INTEGER],
    ['double', '0.5', 0.5],
    ['double', '-1.5e-3', -0.0015],
    ['double', '.5', 0.5],
    ['list', 'a, b ,c', ['a', 'b', 'c']],
    ['list', '', []],
    ['string', ' text ', 'text'],
    ['password', 'secret', 'secret'],
    ['class', 'org.example.Class', 'org.example.Class'],
  ]
  for (const [type, text, value] of parsed) {
    assert.deepEqual(parseConfigValue(rowOf(type), text), value, `${type} ${text}`)
  }
})

test('each type refuses the rest, naming key, value and what is allowed', () => {
  for (const text of ['yes', '1', '']) {
    refused(rowOf('boolean'), text, 'Expected value to be either true or false')
  }
  for (const text of ['', '1.0', '1e3', '0x10', '1_000', '2147483648', '-2147483649', 'ten']) {
    refused(rowOf('int'), text, 'Not a number of type INT')
  }
  for (const text of ['32768', '-32769'])
    refused(rowOf('short'), text, 'Not a number of type SHORT')
  for (const text of ['9223372036854775808', '-9223372036854775809', '1.5', 'NaN']) {
    refused(rowOf('long'), text, 'Not a number of type LONG')
  }
  for (const text of ['', 'half', '0x1', '1,5', '.']) {
    refused(rowOf('double'), text, 'Not a number of type DOUBLE')
  }
})

test('checks say what is allowed', () => {
  refused(rowOf('int', atLeast(1)), '0', 'Value must be at least 1')
  refused(rowOf('int', between(1, 17)), '18', 'Value must be between 1 and 17')
  const level = either(-1, between(1, 9))
  assert.equal(parseConfigValue(rowOf('int', level), '-1'), -1)
  assert.equal(parseConfigValue(rowOf('int', level), '9'), 9)
  refused(rowOf('int', level), '0', 'Value must be between 1 and 9, or -1')
  assert.equal(level.allowed, '-1, or 1 to 9')
  const word = oneOf('delete', 'compact')
  refused(rowOf('string', word), 'keep', 'String must be one of: delete, compact')
  refused(rowOf('list', word), 'delete,keep', 'String must be one of: delete, compact')
  assert.deepEqual(parseConfigValue(rowOf('list', word), 'compact, delete'), ['compact', 'delete'])
})

test('every default is allowed, and reads as it is written', () => {
  const rows: readonly ConfigKey[] = [...Object.values(brokerConfig), ...Object.values(topicConfig)]
  for (const row of rows) {
    const text = formatConfigValue(row.default)
    if (text !== null) assert.deepEqual(parseConfigValue(row, text), row.default, row.key)
  }
})

test('every key is declared once, with a text that ends in a full stop', () => {
  for (const table of [brokerConfig, topicConfig]) {
    const rows: readonly ConfigKey[] = Object.values(table)
    assert.equal(new Set(rows.map((row) => row.key)).size, rows.length)
    for (const row of rows) assert.match(row.doc, /^[A-Z].*\.$/, row.key)
  }
})

test('any number that fits its type survives being shown and read', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      assert.equal(parseConfigValue(rowOf('long'), formatConfigValue(value) as string), value)
    }),
  )
})

test('any text is a value or a ConfigError', () => {
  const types = fc.constantFrom(...(Object.keys(configTypeCodes) as ConfigType[]))
  fc.assert(
    fc.property(types, fc.string({ unit: 'binary' }), (type, text) => {
      try {
        parseConfigValue(rowOf(type), text)
      } catch (error) {
        assert.ok(error instanceof ConfigError)
      }
    }),
  )
})
