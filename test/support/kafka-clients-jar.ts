/**
 * Apache Kafka's `kafka-clients` jars, which the protocol tests hold our tables against: where they
 * are, and what is in them.
 */
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { inflateRawSync } from 'node:zlib'
import { type PeerName, requirePeer } from './peers.ts'

/** The older one still has versions that the newer one has dropped. */
export const KAFKA_CLIENTS_VERSIONS = ['3.9.1', '4.1.1'] as const
export type KafkaClientsVersion = (typeof KAFKA_CLIENTS_VERSIONS)[number]

const PEERS = {
  '3.9.1': 'kafka-clients-3.9',
  '4.1.1': 'kafka-clients-4.1',
} as const satisfies { readonly [V in KafkaClientsVersion]: PeerName }

/** Path of a jar among the installed peers, or null where it is not. */
export function kafkaClientsJar(version: KafkaClientsVersion): string | null {
  const folder = requirePeer(PEERS[version])
  const jar = folder === null ? null : join(folder, `kafka-clients-${version}.jar`)
  return jar !== null && existsSync(jar) ? jar : null
}

/** A class path: the jar, and what it needs beside it. */
export function kafkaClientsClassPath(jar: string): string {
  return [jar, join(dirname(jar), '*')].join(':')
}

const CENTRAL_ENTRY = 0x02014b50
const CENTRAL_END = 0x06054b50
const STORED = 0

/** Visits the entries of a zip file, in the order of its directory. Throws on another file. */
function* zipEntries(zip: Buffer): Generator<{ name: string; read: () => Buffer }> {
  let end = zip.length - 22
  while (end >= 0 && zip.readUInt32LE(end) !== CENTRAL_END) end -= 1
  if (end < 0) throw new Error('not a zip file')
  let at = zip.readUInt32LE(end + 16)
  for (let left = zip.readUInt16LE(end + 10); left > 0; left -= 1) {
    if (zip.readUInt32LE(at) !== CENTRAL_ENTRY) throw new Error(`no zip entry at ${at}`)
    const method = zip.readUInt16LE(at + 10)
    const bytes = zip.readUInt32LE(at + 20)
    const nameBytes = zip.readUInt16LE(at + 28)
    const local = zip.readUInt32LE(at + 42)
    const name = zip.toString('utf8', at + 46, at + 46 + nameBytes)
    const read = (): Buffer => {
      const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28)
      const content = zip.subarray(start, start + bytes)
      return method === STORED ? content : inflateRawSync(content)
    }
    yield { name, read }
    at += 46 + nameBytes + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32)
  }
}

/** A field as Kafka's own definitions declare it. */
export interface FieldDefinition {
  readonly name: string
  readonly type: string
  readonly versions: string
  readonly nullableVersions?: string
  readonly taggedVersions?: string
  readonly tag?: number
  readonly default?: string | number | boolean
  readonly ignorable?: boolean
  readonly fields?: readonly FieldDefinition[]
}

/** A message as Kafka's own definitions declare it. */
export interface MessageDefinition {
  readonly apiKey?: number
  readonly type: string
  readonly name: string
  readonly validVersions: string
  readonly flexibleVersions: string
  readonly fields: readonly FieldDefinition[]
  readonly commonStructs?: readonly {
    readonly name: string
    readonly fields: readonly FieldDefinition[]
  }[]
}

/** The message definitions inside a jar, by name (`FetchRequest`). */
export function messageDefinitions(jar: string): ReadonlyMap<string, MessageDefinition> {
  const definitions = new Map<string, MessageDefinition>()
  for (const { name, read } of zipEntries(readFileSync(jar))) {
    if (!/^common\/message\/\w+\.json$/.test(name)) continue
    // Kafka's JSON has comment lines.
    const text = read()
      .toString('utf8')
      .replaceAll(/^\s*\/\/.*$/gm, '')
    const definition = JSON.parse(text) as MessageDefinition
    definitions.set(definition.name, definition)
  }
  return definitions
}
