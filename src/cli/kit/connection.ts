/** Where the cluster is: `--bootstrap-server` and `--command-config`, as most tools have them. */
import type { ClientOptions } from '../../client/client-options.ts'
import type { OptionSpec } from './options.ts'
import { UsageError } from './options.ts'
import { ToolError } from './tool.ts'

export const BOOTSTRAP_SERVER = {
  argument: 'host:port,...',
  help: 'Brokers to begin with. Required.',
} as const satisfies OptionSpec

export const COMMAND_CONFIG = {
  argument: 'file',
  help: "Properties of the client, such as request.timeout.ms, in Apache Kafka's names.",
} as const satisfies OptionSpec

/** The 0.8 era's way to find the cluster. */
export const ZOOKEEPER = {
  argument: 'host:port/path',
  help: 'The ZooKeeper ensemble of the cluster.',
  era: 'Use --bootstrap-server.',
} as const satisfies OptionSpec

type Writable<T> = { -readonly [K in keyof T]: T[K] }
type Key = Exclude<keyof ClientOptions, 'clock' | 'random' | 'connect' | 'legacyBrokers'>

/** Client properties with an effect here, and the option each one sets. */
const PROPERTIES: Readonly<Record<string, Key>> = {
  'bootstrap.servers': 'bootstrapServers',
  'client.id': 'clientId',
  'request.timeout.ms': 'requestTimeoutMs',
  'socket.connection.setup.timeout.ms': 'connectTimeoutMs',
  'retry.backoff.ms': 'retryBackoffMs',
  'retry.backoff.max.ms': 'retryBackoffMaxMs',
  'metadata.max.age.ms': 'metadataMaxAgeMs',
}

/** Reads a properties file. Throws ToolError. */
export async function readPropertiesFile(path: string): Promise<Map<string, string>> {
  const { readProperties } = await import('../../config/load-broker-config.ts')
  try {
    return readProperties(path)
  } catch (error) {
    throw new ToolError(error instanceof Error ? error.message : String(error))
  }
}

/** `key=value` texts as a map. Throws UsageError, which names the option. */
export function keyValues(texts: readonly string[], option: string): Map<string, string> {
  const pairs = new Map<string, string>()
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at <= 0) throw new UsageError(`--${option} wants key=value, not ${JSON.stringify(text)}`)
    pairs.set(text.slice(0, at).trim(), text.slice(at + 1).trim())
  }
  return pairs
}

/**
 * Options of a client from properties in Apache Kafka's names; properties that are none of the
 * connection's are left to the caller. Throws ToolError.
 */
export function clientOptionsOf(
  properties: ReadonlyMap<string, string>,
  bootstrapServers?: string,
): ClientOptions {
  const options: Partial<Writable<ClientOptions>> = {}
  for (const [key, name] of Object.entries(PROPERTIES)) {
    const text = properties.get(key)
    if (text === undefined) continue
    if (name === 'bootstrapServers' || name === 'clientId') {
      options[name] = text
      continue
    }
    const value = Number(text)
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value)) {
      throw new ToolError(`${key} wants a whole number, not ${JSON.stringify(text)}`)
    }
    options[name] = value
  }
  const protocol = properties.get('security.protocol') ?? 'PLAINTEXT'
  if (protocol !== 'PLAINTEXT') {
    throw new ToolError(`security.protocol=${protocol} is not supported`, 'only PLAINTEXT is')
  }
  if (bootstrapServers !== undefined) options.bootstrapServers = bootstrapServers
  const { bootstrapServers: servers } = options
  if (servers === undefined) throw new UsageError('--bootstrap-server is required')
  return { clientId: 'shardlog-tools', ...options, bootstrapServers: servers }
}

/** Options of a client from `--bootstrap-server` and `--command-config`. */
export async function connectionOf(
  bootstrapServers: string | undefined,
  configFile: string | undefined,
): Promise<ClientOptions> {
  const properties =
    configFile === undefined ? new Map<string, string>() : await readPropertiesFile(configFile)
  return clientOptionsOf(properties, bootstrapServers)
}
