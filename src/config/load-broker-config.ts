/** From a properties file and overrides to a broker's configuration. */
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { getProperties } from 'properties-file'
import { type BrokerConfig, brokerConfig } from './broker-config.ts'
import { ConfigError, type ConfigKey, type ConfigValue, parseConfigValue } from './define-config.ts'
import { isInertBrokerKey } from './inert-broker-keys.ts'

export interface Endpoint {
  readonly name: string
  readonly host: string
  readonly port: number
}

export interface LoadedConfig {
  readonly config: BrokerConfig
  /** The texts that were set, by key. */
  readonly explicit: ReadonlyMap<string, string>
  readonly inertKeys: readonly string[]
  readonly unknownKeys: readonly string[]
  readonly listeners: readonly Endpoint[]
  /** In the order of `listeners`; port 0 stands for the port that was bound. */
  readonly advertised: readonly Endpoint[]
  /** Nothing said where to listen, so only this machine can reach the broker. */
  readonly listensLocallyByDefault: boolean
  readonly logDirs: readonly string[]
}

const rows = new Map<string, [string, ConfigKey]>(
  Object.entries(brokerConfig).map(([property, row]) => [row.key, [property, row]]),
)

/** Reads a `.properties` file. Throws ConfigError. */
export function readProperties(path: string): Map<string, string> {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new ConfigError(`cannot read ${path}: ${(error as Error).message}`)
  }
  try {
    return new Map(Object.entries(getProperties(text)))
  } catch (error) {
    throw new ConfigError(`${path} is not a properties file: ${(error as Error).message}`)
  }
}

/** Typed values from texts; later ones must have been merged already. Throws ConfigError. */
export function loadBrokerConfig(properties: ReadonlyMap<string, string>): LoadedConfig {
  const values: Record<string, ConfigValue> = {}
  for (const [property, row] of Object.entries(brokerConfig)) values[property] = row.default
  const inertKeys: string[] = []
  const unknownKeys: string[] = []
  for (const [key, text] of properties) {
    const found = rows.get(key)
    if (found === undefined) {
      if (isInertBrokerKey(key)) inertKeys.push(key)
      else unknownKeys.push(key)
      continue
    }
    values[found[0]] = parseConfigValue(found[1], text)
    if (found[1].inert) inertKeys.push(key)
  }
  const config = values as unknown as BrokerConfig
  if (config.brokerId >= 0 && config.nodeId >= 0 && config.brokerId !== config.nodeId) {
    throw new ConfigError(
      `Invalid value ${config.nodeId} for configuration node.id: it must equal broker.id (${config.brokerId})`,
    )
  }
  const logDirs = (config.logDirs ?? config.logDir).split(',').map((directory) => directory.trim())
  if (logDirs.length === 0 || logDirs.some((directory) => directory === '')) {
    throw new ConfigError('Invalid value for configuration log.dirs: a directory must be named')
  }
  if (logDirs.length > 1) {
    throw new ConfigError(
      `Invalid value ${logDirs.join(',')} for configuration log.dirs: one directory is supported`,
    )
  }
  return {
    config,
    explicit: properties,
    inertKeys,
    unknownKeys,
    ...listenersOf(config),
    logDirs,
  }
}

function listenersOf(
  config: BrokerConfig,
): Pick<LoadedConfig, 'listeners' | 'advertised' | 'listensLocallyByDefault'> {
  const protocols = protocolMap(config.listenerSecurityProtocolMap)
  let listeners: Endpoint[]
  const locally = config.listeners === null && config.hostName === null
  if (config.listeners !== null) {
    listeners = parseListeners('listeners', config.listeners)
  } else {
    listeners = [{ name: 'PLAINTEXT', host: config.hostName ?? '127.0.0.1', port: config.port }]
  }
  const names = new Set<string>()
  const ports = new Set<number>()
  for (const listener of listeners) {
    const protocol = protocols.get(listener.name)
    if (protocol === undefined) {
      throw new ConfigError(
        `Invalid value ${listener.name} for configuration listeners: listener.security.protocol.map names no security protocol for it`,
      )
    }
    if (protocol !== 'PLAINTEXT') {
      throw new ConfigError(
        `Invalid value ${listener.name} for configuration listeners: security protocol ${protocol} is not supported; only PLAINTEXT is`,
      )
    }
    if (names.has(listener.name)) {
      throw new ConfigError(
        `Invalid value ${config.listeners} for configuration listeners: each listener must have its own name`,
      )
    }
    if (listener.port !== 0 && ports.has(listener.port)) {
      throw new ConfigError(
        `Invalid value ${config.listeners} for configuration listeners: each listener must have its own port`,
      )
    }
    names.add(listener.name)
    ports.add(listener.port)
  }
  const given =
    config.advertisedListeners === null
      ? new Map<string, Endpoint>()
      : new Map(
          parseListeners('advertised.listeners', config.advertisedListeners).map((one) => [
            one.name,
            one,
          ]),
        )
  for (const name of given.keys()) {
    if (!names.has(name)) {
      throw new ConfigError(
        `Invalid value ${config.advertisedListeners} for configuration advertised.listeners: there is no listener ${name}`,
      )
    }
  }
  const advertised = listeners.map((listener) => {
    const one = given.get(listener.name)
    if (one !== undefined) {
      if (one.host === '0.0.0.0' || one.host === '::') {
        throw new ConfigError(
          `Invalid value ${config.advertisedListeners} for configuration advertised.listeners: ${one.host} is no address that a client can connect to`,
        )
      }
      return { ...one, host: one.host === '' ? hostname() : one.host }
    }
    const everywhere = listener.host === '' || listener.host === '0.0.0.0' || listener.host === '::'
    return {
      name: listener.name,
      host: config.advertisedHostName ?? (everywhere ? hostname() : listener.host),
      port: config.advertisedPort ?? listener.port,
    }
  })
  return { listeners, advertised, listensLocallyByDefault: locally }
}

function protocolMap(text: string): Map<string, string> {
  const map = new Map<string, string>()
  for (const pair of text.split(',')) {
    const [name, protocol, ...rest] = pair.trim().split(':')
    if (!name || !protocol || rest.length > 0) {
      throw new ConfigError(
        `Invalid value ${text} for configuration listener.security.protocol.map: expected NAME:PROTOCOL,...`,
      )
    }
    map.set(name.toUpperCase(), protocol.toUpperCase())
  }
  return map
}

function parseListeners(key: string, text: string): Endpoint[] {
  const listeners = text
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .map((one) => {
      const match = /^([A-Za-z0-9_-]+):\/\/(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(
        one,
      )
      const port = Number(match?.[4])
      if (!match || port > 65535) {
        throw new ConfigError(
          `Invalid value ${one} for configuration ${key}: expected NAME://host:port`,
        )
      }
      return { name: (match[1] as string).toUpperCase(), host: match[2] ?? match[3] ?? '', port }
    })
  if (listeners.length === 0) {
    throw new ConfigError(`Invalid value for configuration ${key}: at least one is needed`)
  }
  return listeners
}
