/** What `kafka-configs` is asked about: types and names of entities, in both ways to write them. */
import { type ParsedOptions, UsageError } from '../kit/options.ts'

export const ENTITY_TYPES = [
  'topics',
  'clients',
  'users',
  'brokers',
  'broker-loggers',
  'ips',
  'client-metrics',
] as const
export type EntityType = (typeof ENTITY_TYPES)[number]

export interface Entity {
  readonly type: EntityType
  /** '' is the default of the type; null: no name is given, all of them. */
  readonly name: string | null
}

const NAMED: Readonly<Record<string, EntityType>> = {
  topic: 'topics',
  client: 'clients',
  user: 'users',
  broker: 'brokers',
  'broker-logger': 'broker-loggers',
  ip: 'ips',
}
const DEFAULTS: Readonly<Record<string, EntityType>> = {
  'client-defaults': 'clients',
  'user-defaults': 'users',
  'broker-defaults': 'brokers',
  'ip-defaults': 'ips',
}

function typeOf(text: string): EntityType {
  const found = ENTITY_TYPES.find((type) => type === text)
  if (found !== undefined) return found
  const list = ENTITY_TYPES.join(', ')
  throw new UsageError(`Invalid entity type ${text}, the entity type must be one of ${list}`)
}

/** The entities, in the order of the command line. Throws UsageError. */
export function entitiesOf(options: ParsedOptions): readonly [Entity, ...Entity[]] {
  const types: EntityType[] = []
  const names: string[] = []
  let isLong = false
  let isShort = false
  for (const { name, value = '' } of options.sequence) {
    const named = NAMED[name]
    const byDefault = DEFAULTS[name]
    if (name === 'entity-type') types.push(typeOf(value))
    else if (name === 'entity-name') names.push(value)
    else if (name === 'entity-default') names.push('')
    else if (named !== undefined) types.push(named)
    else if (byDefault !== undefined) types.push(byDefault)
    else continue
    if (named !== undefined) names.push(value)
    if (byDefault !== undefined) names.push('')
    if (named !== undefined || byDefault !== undefined) isShort = true
    else isLong = true
  }
  if (isLong && isShort) {
    throw new UsageError(
      '--entity-{type,name,default} should not be used in conjunction with specific entity flags',
    )
  }
  const [first, second] = types
  if (first === undefined) throw new UsageError('At least one entity type must be specified')
  if (types.length > 1) {
    const pair = [...types].sort().join()
    if (first === second) throw new UsageError(`Duplicate entity type(s) specified: ${first}`)
    if (pair !== 'clients,users') {
      throw new UsageError("Only 'users' and 'clients' entity types may be specified together")
    }
  }
  if (names.length > types.length) {
    throw new UsageError('More entity names specified than entity types')
  }
  const entities = types.map((type, at) => ({ type, name: names[at] ?? null }))
  for (const entity of entities) checkName(entity)
  return entities as unknown as readonly [Entity, ...Entity[]]
}

function checkName({ type, name }: Entity): void {
  if (type !== 'brokers' && type !== 'broker-loggers') return
  if (name === null || name === '' || /^\d{1,10}$/.test(name)) return
  throw new UsageError(
    `The entity name for ${type} must be a valid integer broker id, but it is: ${name}`,
  )
}

/** `k1=v1,k2=[v1,v2],k3=` as pairs; brackets hold commas together. Throws UsageError. */
export function parseAddConfig(text: string): Map<string, string> {
  const configs = new Map<string, string>()
  for (const part of text.split(/,(?=[^\]]*(?:\[|$))/)) {
    const at = part.indexOf('=')
    const key = part.slice(0, at).trim()
    if (at <= 0 || key === '') {
      throw new UsageError(
        'Invalid entity config: all configs to be added must be in the format "key=val"',
      )
    }
    if (!/^[a-zA-Z0-9._-]+$/.test(key)) {
      throw new UsageError(`Invalid character found for config key: ${key}`)
    }
    configs.set(
      key,
      part
        .slice(at + 1)
        .replaceAll(/[[\]]/g, '')
        .trim(),
    )
  }
  return configs
}
