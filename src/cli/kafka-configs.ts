/** `kafka-configs`: configs of topics and brokers, quotas, SCRAM credentials. */
import {
  type Admin,
  allOrThrow,
  type ConfigEntry,
  type ConfigResource,
  ConfigResourceType,
} from '../client/admin.ts'
import { KafkaError } from '../client/errors.ts'
import { ENTITY_TYPES, type Entity, entitiesOf, parseAddConfig } from './configs/entities.ts'
import {
  BOOTSTRAP_SERVER,
  COMMAND_CONFIG,
  readPropertiesFile,
  ZOOKEEPER,
} from './kit/connection.ts'
import { nearestName } from './kit/nearest-name.ts'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { withAdmin } from './kit/with-admin.ts'

const options = {
  'bootstrap-server': BOOTSTRAP_SERVER,
  'bootstrap-controller': {
    argument: 'host:port,...',
    help: 'Taken as --bootstrap-server: a broker passes on what is for the controller.',
  },
  'command-config': COMMAND_CONFIG,
  zookeeper: ZOOKEEPER,
  'zk-tls-config-file': { argument: 'file', help: 'Goes with --zookeeper.' },
  describe: { help: 'Prints the configs that are set.' },
  all: { help: 'With --describe: also those that are not set.' },
  alter: { help: 'Changes configs.' },
  'entity-type': {
    argument: ENTITY_TYPES.join('|'),
    help: 'What has the configs; users and clients may be given together.',
    repeatable: true,
  },
  'entity-name': { argument: 'name', help: 'Its name.', repeatable: true },
  'entity-default': { help: 'The default of all of that type, instead of a name.' },
  topic: { argument: 'topic', help: 'Short for --entity-type topics --entity-name.' },
  client: { argument: 'client-id', help: 'Short for --entity-type clients --entity-name.' },
  'client-defaults': { help: 'Short for --entity-type clients --entity-default.' },
  user: { argument: 'user', help: 'Short for --entity-type users --entity-name.' },
  'user-defaults': { help: 'Short for --entity-type users --entity-default.' },
  broker: { argument: 'broker-id', help: 'Short for --entity-type brokers --entity-name.' },
  'broker-defaults': { help: 'Short for --entity-type brokers --entity-default.' },
  'broker-logger': {
    argument: 'broker-id',
    help: 'Short for --entity-type broker-loggers --entity-name.',
  },
  ip: { argument: 'ip', help: 'Short for --entity-type ips --entity-name.' },
  'ip-defaults': { help: 'Short for --entity-type ips --entity-default.' },
  'add-config': {
    argument: 'k1=v1,k2=[v1,v2]',
    help: 'Configs to set; brackets hold a value with commas together.',
  },
  'add-config-file': { argument: 'file', help: 'A properties file with configs to set.' },
  'delete-config': {
    argument: 'k1,k2',
    help: 'Configs to set back to their defaults.',
    repeatable: true,
  },
  force: { help: 'Taken; nothing is asked anyway.' },
} as const

type Options = ParsedOptions<keyof typeof options>

const QUOTA_TYPES = ['users', 'clients', 'ips']
const DEFAULT_SOURCE = 'DYNAMIC_DEFAULT_BROKER_CONFIG'

interface Resource extends ConfigResource {
  readonly entity: Entity['type']
}

function resourceOf(entity: Entity['type'], name: string): Resource {
  const types = {
    topics: ConfigResourceType.TOPIC,
    brokers: ConfigResourceType.BROKER,
    'broker-loggers': ConfigResourceType.BROKER_LOGGER,
    'client-metrics': ConfigResourceType.CLIENT_METRICS,
  } as const
  return { type: types[entity as keyof typeof types], name, entity }
}

/** Where the configs that are set on the resource itself come from; null: any. */
function ownSource({ entity, name }: Resource): ConfigEntry['source'] | null {
  if (entity === 'topics') return 'DYNAMIC_TOPIC_CONFIG'
  if (entity === 'client-metrics') return 'DYNAMIC_CLIENT_METRICS_CONFIG'
  if (entity === 'broker-loggers') return null
  return name === '' ? DEFAULT_SOURCE : 'DYNAMIC_BROKER_CONFIG'
}

function wordOf(entity: Entity['type']): string {
  return entity.slice(0, -1)
}

async function entriesOf(admin: Admin, resource: Resource, all: boolean): Promise<ConfigEntry[]> {
  const { type, name } = resource
  const [found] = allOrThrow(await admin.describeConfigs([{ type, name }], { synonyms: true }))
  const source = all ? null : ownSource(resource)
  return (found?.entries ?? [])
    .filter((entry) => source === null || entry.source === source)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function namesOf(admin: Admin, { type, name }: Entity): Promise<string[]> {
  if (name !== null) return [name]
  if (type === 'topics') {
    return (await admin.listTopics({ internal: true })).map((topic) => topic.name)
  }
  if (type === 'brokers') {
    const { brokers } = await admin.describeCluster()
    return [...brokers.map(({ brokerId }) => String(brokerId)), '']
  }
  throw new UsageError(`an entity name must be specified with --describe of ${type}`)
}

async function describeResources(
  admin: Admin,
  entity: Entity,
  given: Options,
  io: ToolIo,
): Promise<unknown> {
  const all = given.has('all')
  const json: unknown[] = []
  for (const name of await namesOf(admin, entity)) {
    // First ask, then print: a topic that is not there has no heading.
    const entries = await entriesOf(admin, resourceOf(entity.type, name), all)
    json.push({ type: entity.type, name, configs: entries })
    if (io.json) continue
    const which = all ? 'All' : 'Dynamic'
    io.print(
      name === ''
        ? `Default configs for ${entity.type} in the cluster are:`
        : `${which} configs for ${wordOf(entity.type)} ${name} are:`,
    )
    for (const { name: key, value, isSensitive, synonyms } of entries) {
      const list = synonyms.map((one) => `${one.source}:${one.name}=${one.value}`).join(', ')
      io.print(`  ${key}=${value} sensitive=${isSensitive} synonyms={${list}}`)
    }
  }
  return json
}

async function additionsOf(given: Options): Promise<Map<string, string>> {
  given.atMostOne('add-config', 'add-config-file')
  const file = given.value('add-config-file')
  if (file !== undefined) return await readPropertiesFile(file)
  const text = given.value('add-config')
  return text === undefined ? new Map() : parseAddConfig(text)
}

function removalsOf(given: Options): string[] {
  return given
    .values('delete-config')
    .flatMap((text) => text.split(','))
    .map((name) => name.trim())
    .filter((name) => name !== '')
}

/** The error with the nearest name of a config, if it is about one that is not known. */
async function withHint(error: unknown, entity: Entity['type'], names: readonly string[]) {
  if (!(error instanceof KafkaError) || error.name !== 'InvalidConfigError') return error
  const table =
    entity === 'topics'
      ? (await import('../config/topic-config.ts')).topicConfig
      : (await import('../config/broker-config.ts')).brokerConfig
  const known = Object.values(table).map(({ key }) => key as string)
  const wrong = names.find((name) => !known.includes(name) && error.message.includes(name))
  const nearest = wrong === undefined ? null : nearestName(wrong, known)
  if (wrong === undefined || nearest === null) return error
  return new ToolError(`unknown ${wordOf(entity)} config ${wrong}, did you mean ${nearest}?`)
}

async function alterResource(
  admin: Admin,
  entity: Entity,
  add: ReadonlyMap<string, string>,
  remove: readonly string[],
): Promise<void> {
  const resource = resourceOf(entity.type, entity.name ?? '')
  if (remove.length > 0) {
    const now = (await entriesOf(admin, resource, false)).map(({ name }) => name)
    const missing = remove.filter((name) => !now.includes(name))
    if (missing.length > 0) {
      const nearest = nearestName(missing[0] as string, now)
      const hint = nearest === null ? 'it is not set' : `did you mean ${nearest}?`
      throw new ToolError(`Invalid config(s): ${missing.join(',')}`, hint)
    }
  }
  const { type, name } = resource
  const changes = [
    ...[...add].map(([key, value]) => ({ name: key, operation: 'set' as const, value })),
    ...remove.map((key) => ({ name: key, operation: 'delete' as const, value: null })),
  ]
  try {
    allOrThrow(
      await admin.incrementalAlterConfigs([{ resource: { type, name }, changes }], {
        timeoutMs: 30_000,
      }),
    )
  } catch (error) {
    throw await withHint(error, entity.type, [...add.keys()])
  }
}

export const kafkaConfigs = defineTool({
  name: 'kafka-configs',
  summary: 'Describes and changes configs of topics and brokers, quotas and SCRAM credentials.',
  options,
  table: true,
  wantsArguments: true,
  notes: [
    'Exactly one of --describe, --alter. The configs there are: docs/configuration.md.',
    'Examples:',
    '  kafka-configs --bootstrap-server h:9092 --describe --topic foo --all',
    '  kafka-configs --bootstrap-server h:9092 --alter --topic foo --add-config retention.ms=60000',
  ],
  async run(given, io) {
    const action = given.exactlyOne('describe', 'alter')
    if (given.has('zk-tls-config-file')) {
      throw new UsageError('--zk-tls-config-file is not taken: ZooKeeper is reached without TLS')
    }
    if (action === 'describe') {
      given.excludes('describe', 'add-config', 'add-config-file', 'delete-config')
    } else given.excludes('alter', 'all')
    const entities = entitiesOf(given)
    const [entity] = entities
    const where = given.atMostOne('bootstrap-server', 'bootstrap-controller', 'zookeeper')
    if (where === undefined) throw new UsageError('--bootstrap-server is required')
    const add = await additionsOf(given)
    const remove = removalsOf(given)
    if (action === 'alter') {
      if (entities.some(({ name }) => name === null)) {
        throw new UsageError(`an entity name must be specified with --alter of ${entity.type}`)
      }
      if (add.size + remove.length === 0) {
        throw new UsageError('--alter wants --add-config, --add-config-file or --delete-config')
      }
    }
    if (where === 'zookeeper') {
      if (entities.length > 1 || entity.type !== 'topics') {
        throw new UsageError('--zookeeper is for configs of topics only; use --bootstrap-server')
      }
      const { withRegistry } = await import('./kit/with-registry.ts')
      const command = await import('./zookeeper/config-command.ts')
      return await withRegistry({ connect: given.required(where) }, io, async (registry) => {
        const { name } = entity
        if (action === 'describe') await command.describeConfigs(registry, name, io)
        else {
          const changes = { added: add, deleted: remove }
          await command.alterConfigs(registry, name ?? '', changes, io)
        }
        return 0
      })
    }
    const isQuota = QUOTA_TYPES.includes(entity.type)
    const contact = {
      bootstrapServers: given.required(where),
      configFile: given.value('command-config'),
    }
    return await withAdmin(contact, io, async (admin) => {
      const quotas = async () => await import('./configs/quotas.ts')
      if (action === 'alter') {
        if (isQuota) await (await quotas()).alterQuotas(admin, entities, add, remove)
        else await alterResource(admin, entity, add, remove)
        if (io.json) io.print(JSON.stringify({ updated: entities }))
        else if (entity.name === '') {
          io.print(`Completed updating default config for ${entity.type} in the cluster.`)
        } else io.print(`Completed updating config for ${wordOf(entity.type)} ${entity.name}.`)
        return 0
      }
      if (isQuota) {
        const { json, failed } = await (await quotas()).describeQuotas(admin, entities, io)
        if (io.json) io.print(JSON.stringify(json))
        return failed ? 1 : 0
      }
      const json = await describeResources(admin, entity, given, io)
      if (io.json) io.print(JSON.stringify(json))
      return 0
    })
  },
})
