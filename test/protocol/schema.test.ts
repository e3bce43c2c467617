/**
 * Our tables against the definitions inside Apache Kafka's `kafka-clients` jars: every field of
 * every version that we serve, by its place, name, type, nullability, default and tag. A newer jar
 * drops old versions, so an older one stands beside it; together they must cover all of ours.
 * Whether a field may be dropped silently is compared with the oldest jar that has the version: it
 * changes as later versions lose the field.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { APIS, apiByKey } from '../../src/protocol/apis.ts'
import {
  type ApiSchema,
  type Field,
  type Fields,
  inVersions,
  parseVersions,
} from '../../src/protocol/schema.ts'
import { skipOrFail } from '../support/java-program.ts'
import {
  type FieldDefinition,
  KAFKA_CLIENTS_VERSIONS,
  kafkaClientsJar,
  type MessageDefinition,
  messageDefinitions,
} from '../support/kafka-clients-jar.ts'
import { DIRECTIONS, type Direction, defaultOf, versionsOf } from './arbitrary-message.ts'

/** One field in one version, in words that can be compared. */
interface Line {
  readonly path: string
  readonly type: string
  readonly nullable: boolean
  readonly tag: number | null
  readonly default: unknown
  readonly ignorable: boolean
}

function typeName(field: Field): string {
  if (field.type === 'array') return typeof field.of === 'string' ? `[]${field.of}` : '[]struct'
  // How we hold it in memory is our own affair.
  return field.type === 'int64exact' ? 'int64' : field.type
}

function ourLines(fields: Fields, version: number, prefix = ''): Line[] {
  const lines: Line[] = []
  for (const [name, field] of Object.entries(fields)) {
    if (!inVersions(version, field.versions)) continue
    const path = prefix + name
    const isTagged = inVersions(version, field.tagged)
    lines.push({
      path,
      type: typeName(field),
      nullable: inVersions(version, field.nullable),
      tag: isTagged ? (field.tag as number) : null,
      default: field.type === 'struct' ? field.default : defaultOf(field),
      ignorable: field.ignorable ?? false,
    })
    const inner = typeof field.of === 'object' ? field.of : field.fields
    if (inner !== undefined) lines.push(...ourLines(inner, version, `${path}.`))
  }
  return lines
}

function plainDefault(definition: FieldDefinition, type: string): unknown {
  const value = definition.default
  if (value === 'null') return null
  if (type === 'struct') return undefined
  if (value === undefined) return defaultOf({ versions: '0+', type: kindOf(type) })
  if (type === 'bool') return value === 'true' || value === true
  if (type === 'string') return value
  return Number(value)
}

function kindOf(type: string): Field['type'] {
  return (type.startsWith('[]') ? 'array' : type) as Field['type']
}

function kafkaLines(
  message: MessageDefinition,
  fields: readonly FieldDefinition[],
  version: number,
  prefix = '',
): Line[] {
  const lines: Line[] = []
  for (const field of fields) {
    if (!inVersions(version, field.versions)) continue
    const path = prefix + (field.name[0] as string).toLowerCase() + field.name.slice(1)
    const element = field.type.replace('[]', '')
    const isStruct = /^[A-Z]/.test(element)
    const type = isStruct ? field.type.replace(element, 'struct') : field.type
    lines.push({
      path,
      type,
      nullable: inVersions(version, field.nullableVersions ?? 'none'),
      tag: inVersions(version, field.taggedVersions ?? 'none') ? (field.tag as number) : null,
      default: plainDefault(field, type),
      ignorable: field.ignorable ?? false,
    })
    if (!isStruct) continue
    const common = message.commonStructs?.find(({ name }) => name === element)
    lines.push(...kafkaLines(message, field.fields ?? common?.fields ?? [], version, `${path}.`))
  }
  return lines
}

function withoutIgnorable(line: Line): Omit<Line, 'ignorable'> {
  const { ignorable: _, ...rest } = line
  return rest
}

/** Compares the versions that both have, and returns which these are. */
function compare(
  api: ApiSchema,
  direction: Direction,
  message: MessageDefinition,
  seen: ReadonlySet<number>,
): number[] {
  const { min, max } = parseVersions(message.validVersions)
  const shared = versionsOf(api).filter((version) => version >= min && version <= max)
  for (const version of shared) {
    const where = `${message.name} version ${version}`
    assert.equal(message.apiKey, api.key, where)
    assert.equal(
      inVersions(version, api.flexible),
      inVersions(version, message.flexibleVersions),
      `${where}: flexible`,
    )
    const ours = ourLines(api[direction], version)
    const theirs = kafkaLines(message, message.fields, version)
    if (seen.has(version)) {
      assert.deepEqual(ours.map(withoutIgnorable), theirs.map(withoutIgnorable), where)
    } else {
      assert.deepEqual(ours, theirs, where)
    }
  }
  return shared
}

test('every field of every version is as Kafka defines it', (t) => {
  const jars = KAFKA_CLIENTS_VERSIONS.map((version) => kafkaClientsJar(version))
  if (jars.includes(null)) {
    return skipOrFail(t, `kafka-clients ${KAFKA_CLIENTS_VERSIONS.join(' and ')} are not both here`)
  }
  const all = jars.map((jar) => messageDefinitions(jar as string))
  for (const api of APIS) {
    for (const direction of DIRECTIONS) {
      const name = `${api.name}${direction === 'request' ? 'Request' : 'Response'}`
      const covered = new Set<number>()
      for (const definitions of all) {
        const message = definitions.get(name)
        if (message === undefined) continue
        for (const version of compare(api, direction, message, covered)) covered.add(version)
      }
      assert.deepEqual(
        [...covered].sort((a, b) => a - b),
        versionsOf(api),
        name,
      )
    }
  }
})

/** Walks all fields of a table, whatever version they are in. */
function visitFields(fields: Fields, visit: (field: Field, name: string) => void): void {
  for (const [name, field] of Object.entries(fields)) {
    visit(field, name)
    const inner = typeof field.of === 'object' ? field.of : field.fields
    if (inner !== undefined) visitFields(inner, visit)
  }
}

test('every table is well formed', () => {
  for (const api of APIS) {
    for (const direction of DIRECTIONS) {
      visitFields(api[direction], (field, name) => {
        const where = `${api.name} ${direction} ${name}`
        assert.match(name, /^[a-z][A-Za-z0-9]*$/, where)
        parseVersions(field.versions)
        assert.equal(field.type === 'array', field.of !== undefined, where)
        assert.equal(field.type === 'struct', field.fields !== undefined, where)
        assert.equal(field.tag === undefined, field.tagged === undefined, where)
        if (field.default === null) assert.notEqual(field.nullable, undefined, where)
        if (field.hole) assert.match(field.type, /^int(16|32|64)$/, where)
      })
    }
  }
})

test('every API is found by its key', () => {
  for (const api of APIS) assert.equal(apiByKey(api.key), api)
  assert.equal(new Set(APIS.map(({ key }) => key)).size, APIS.length)
  assert.equal(apiByKey(-1), undefined)
  assert.equal(apiByKey(500), undefined)
})

test('version ranges', () => {
  assert.deepEqual(parseVersions('3'), { min: 3, max: 3 })
  assert.deepEqual(parseVersions('3-5'), { min: 3, max: 5 })
  assert.equal(inVersions(2, '3+'), false)
  assert.equal(inVersions(3, '3+'), true)
  assert.equal(inVersions(0, 'none'), false)
  assert.equal(inVersions(0, undefined), false)
  assert.throws(() => parseVersions('three'), /three/)
})
