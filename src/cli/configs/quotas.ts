/** Quotas of users, clients and addresses, and SCRAM credentials of users. */
import {
  type Admin,
  allOrThrow,
  type ClientQuota,
  type QuotaEntityPart,
  type ScramChange,
  ScramMechanism,
  type ScramMechanismName,
} from '../../client/admin.ts'
import { UsageError } from '../kit/options.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import type { Entity } from './entities.ts'

const TYPES = { users: 'user', clients: 'client-id', ips: 'ip' } as const
const TITLES = { user: 'user-principal', 'client-id': 'client-id', ip: 'ip' } as const
const QUOTAS = [
  'producer_byte_rate',
  'consumer_byte_rate',
  'request_percentage',
  'controller_mutation_rate',
]
const IP_QUOTAS = ['connection_creation_rate']
const ITERATIONS = 4096

function typeOf({ type }: Entity): QuotaEntityPart['type'] {
  return TYPES[type as keyof typeof TYPES]
}

async function quotasOf(admin: Admin, entities: readonly Entity[]): Promise<ClientQuota[]> {
  const filter = entities.map((entity) => {
    const type = typeOf(entity)
    if (entity.name === null) return { type, match: 'any' as const }
    if (entity.name === '') return { type, match: 'default' as const }
    return { type, match: 'exact' as const, name: entity.name }
  })
  return await admin.describeClientQuotas(filter, { strict: true })
}

/** Apache's tool prints numbers as Java prints a double. */
function javaDouble(value: number): string {
  const size = Math.abs(value)
  if (size !== 0 && (size >= 1e7 || size < 1e-3)) {
    const [digits = '', exponent = ''] = value.toExponential().split('e')
    return `${digits.includes('.') ? digits : `${digits}.0`}E${Number(exponent)}`
  }
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

function titleOf(parts: readonly QuotaEntityPart[]): string {
  const order = ['user', 'client-id', 'ip'] as const
  return order
    .flatMap((type) => parts.filter((part) => part.type === type))
    .map(({ type, name }) =>
      name === null ? `the default ${TITLES[type]}` : `${TITLES[type]} '${name}'`,
    )
    .join(', ')
}

/** Prints, or with `io.json` returns, the quotas and credentials of the entities. */
export async function describeQuotas(
  admin: Admin,
  entities: readonly Entity[],
  io: ToolIo,
): Promise<{ readonly json: unknown; readonly failed: boolean }> {
  const quotas = await quotasOf(admin, entities)
  for (const { entity, values } of io.json ? [] : quotas) {
    const list = Object.entries(values).map(([key, value]) => `${key}=${javaDouble(value)}`)
    io.print(`Quota configs for ${titleOf(entity)} are ${list.join(', ')}`)
  }
  const [only] = entities
  const hasScram = entities.length === 1 && only?.type === 'users' && only.name !== ''
  if (!hasScram) return { json: { quotas }, failed: false }
  const users = only.name === null ? null : [only.name]
  const credentials = await admin.describeUserScramCredentials(users)
  let failed = false
  for (const { user, mechanisms, error } of credentials) {
    // A user that is asked for by name need not have one.
    if (error?.name === 'ResourceNotFoundError') continue
    if (error !== null) {
      failed = true
      io.warn(
        `Error retrieving SCRAM credential configs for user-principal '${user}': ${error.message}`,
      )
    } else if (!io.json) {
      const list = mechanisms.map(
        ({ mechanism, iterations }) => `${mechanism}=iterations=${iterations}`,
      )
      io.print(`SCRAM credential configs for user-principal '${user}' are ${list.join(', ')}`)
    }
  }
  const scram = credentials.map(({ error, ...one }) => ({ ...one, error: error?.message ?? null }))
  return { json: { quotas, scram }, failed }
}

function isScram(name: string): name is ScramMechanismName {
  return Object.hasOwn(ScramMechanism, name)
}

function scramCredential(name: string, text: string): ScramChange['credential'] {
  const match = /^(?:iterations=(-?\d*),)?password=(.*)$/.exec(text)
  if (match === null) throw new UsageError(`Invalid credential property ${name}=${text}`)
  const iterations = match[1] === undefined || match[1] === '-1' ? ITERATIONS : Number(match[1])
  if (iterations < ITERATIONS) {
    throw new UsageError(
      `Iterations ${iterations} is less than the minimum ${ITERATIONS} required for ${name}`,
    )
  }
  return { iterations, password: match[2] as string }
}

/** Changes quotas or SCRAM credentials. Throws UsageError, ToolError or KafkaError. */
export async function alterQuotas(
  admin: Admin,
  entities: readonly Entity[],
  add: ReadonlyMap<string, string>,
  remove: readonly string[],
): Promise<void> {
  const [first] = entities
  const names = [...add.keys(), ...remove]
  const scram = names.filter(isScram)
  const known = first?.type === 'ips' ? IP_QUOTAS : QUOTAS
  const unknown = names.filter((name) => !isScram(name) && !known.includes(name))
  const isUser = entities.length === 1 && first?.type === 'users'
  if (unknown.length > 0 || (scram.length > 0 && !isUser)) {
    const wrong = [...unknown, ...(isUser ? [] : scram)].join(', ')
    throw new UsageError(
      `${first?.type} do not have the config ${wrong}`,
      `there are ${[...known, ...(isUser ? Object.keys(ScramMechanism) : [])].join(', ')}`,
    )
  }
  if (scram.length > 0) {
    if (scram.length !== names.length) {
      throw new UsageError('quotas and SCRAM credentials cannot be changed at the same time')
    }
    const user = first?.name ?? ''
    if (user === '') throw new UsageError('the default user has no SCRAM credentials')
    const changes = scram.map((mechanism) => {
      const text = add.get(mechanism)
      const credential = text === undefined ? null : scramCredential(mechanism, text)
      return { user, mechanism, credential }
    })
    allOrThrow(await admin.alterUserScramCredentials(changes))
    return
  }
  const [now] = await quotasOf(admin, entities)
  const missing = remove.filter((name) => now?.values[name] === undefined)
  if (missing.length > 0) throw new ToolError(`Invalid config(s): ${missing.join(',')}`)
  const values: Record<string, number | null> = {}
  for (const [name, text] of add) {
    const value = Number(text)
    if (text === '' || !Number.isFinite(value)) {
      throw new UsageError(`Cannot parse quota configuration value for ${name}: ${text}`)
    }
    values[name] = value
  }
  for (const name of remove) values[name] = null
  const entity = entities.map((one) => ({ type: typeOf(one), name: one.name || null }))
  allOrThrow(await admin.alterClientQuotas([{ entity, values }]))
}
