/**
 * Writes the pages that are made from the source: `npm run docs`. The tidy test compares them.
 *
 * - docs/configuration.md: from the tables of configuration keys.
 * - docs/protocol.md: from the tables of messages, and from what a broker itself says it serves.
 * - docs/tools.md: from the table of tools and their options.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Broker } from '../src/broker.ts'
import type { OptionSpec } from '../src/cli/kit/options.ts'
import type { Tool } from '../src/cli/kit/tool.ts'
import { OWN_COMMANDS } from '../src/cli/shardlog/commands.ts'
import { TOOLS } from '../src/cli/tools.ts'
import { brokerConfig } from '../src/config/broker-config.ts'
import { brokerQuotas } from '../src/config/broker-quotas.ts'
import { type ConfigKey, type ConfigTable, formatConfigValue } from '../src/config/define-config.ts'
import { inertBrokerKeys } from '../src/config/inert-broker-keys.ts'
import { loadBrokerConfig } from '../src/config/load-broker-config.ts'
import { topicConfig } from '../src/config/topic-config.ts'
import { APIS, apiByKey } from '../src/protocol/apis.ts'
import { parseVersions } from '../src/protocol/schema.ts'
import { silentLogger } from '../src/util/logger.ts'

const root = join(import.meta.dirname, '..', '..')
const MADE_BY = '<!-- Made by `npm run docs`. Do not edit. -->'

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}

function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  return [row(heads), row(heads.map(() => '---')), ...rows.map(row)].join('\n')
}

function code(text: string): string {
  return `\`${text}\``
}

function defaultOf({ default: value }: ConfigKey): string {
  const text = formatConfigValue(value)
  if (text === null) return 'none'
  return text === '' ? 'empty' : code(text)
}

function allowedOf(key: ConfigKey): string {
  if (key.check !== undefined) return key.check.allowed
  return key.type === 'boolean' ? 'true, false' : ''
}

function keysOf(keys: ConfigTable, inert: boolean): ConfigKey[] {
  return Object.values(keys)
    .filter((key) => (key.inert ?? false) === inert)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
}

const BROKER_HEADS = ['key', 'type', 'default', 'allowed', 'may change', 'what it does']
const TOPIC_HEADS = ['key', 'type', 'default', 'allowed', "the broker's default", 'what it does']

function brokerRow(key: ConfigKey): string[] {
  const change = key.dynamic ?? 'read-only'
  return [
    ...[code(key.key), key.type, defaultOf(key), allowedOf(key)],
    ...[change === 'read-only' ? 'at start' : change, key.doc],
  ]
}

function topicRow(key: ConfigKey): string[] {
  const synonyms = (key.synonyms ?? []).map((synonym) => code(synonym.key)).join(', ')
  return [code(key.key), key.type, defaultOf(key), allowedOf(key), synonyms, key.doc]
}

function configurationPage(): string {
  const inert = [...inertBrokerKeys].sort().map(code).join(', ')
  return `${MADE_BY}

# Configuration

\`shardlog-server [server.properties] [--override key=value]...\` reads Apache Kafka's properties file
unchanged, as UTF-8. A key of the command line wins over one of the file, that over the default. A
value that is not allowed ends the start with a line that names key, value and what is allowed. Keys
without effect, and keys that nobody knows, are named in one line each.

«May change» says whether a key can be set while the broker runs (\`kafka-configs.sh --alter\`):
\`cluster-wide\` keys for one broker or for all, the others only in the file, at start.

## Where it listens

\`listeners\` wins. Without it, \`host.name\` and \`port\` of Kafka 0.8 are used; without those, 127.0.0.1
and 9092: only this machine can reach the broker, and a line at start says so. An empty host is every
interface.

Clients are told \`advertised.listeners\`; a listener not named there is told with
\`advertised.host.name\` and \`advertised.port\` if they are set, otherwise as it listens, with this
machine's name in place of «every interface». Port 0 takes a free one.

## Keys of the broker

${table(BROKER_HEADS, keysOf(brokerConfig, false).map(brokerRow))}

## Keys of a broker that runs

Set for one broker with \`kafka-configs.sh --alter --entity-type brokers\` (\`kafka-reassign-partitions.sh
--throttle\` does it), and not in the file.

${table(BROKER_HEADS, brokerQuotas.filter((row) => row.inert !== true).map(brokerRow))}

## Keys of a topic

Given with \`kafka-topics.sh --create --config\`, changed with \`kafka-configs.sh\`. What a topic does not
set itself comes from the first of the broker's keys that is set, then from the default.

${table(TOPIC_HEADS, keysOf(topicConfig, false).map(topicRow))}

## Keys without effect, yet described

They are checked, and shown by \`kafka-configs.sh --describe\`; what they are for is not there yet, or
is not needed.

${table(BROKER_HEADS, keysOf(brokerConfig, true).map(brokerRow))}

${table(TOPIC_HEADS, keysOf(topicConfig, true).map(topicRow))}

## Keys without effect

Apache Kafka knows them. They are accepted with any value, as is every \`listener.name.…\` key.

${inert}
`
}

interface ServedApi {
  readonly key: number
  readonly min: number
  readonly max: number
}

/** Asks a broker, over the wire, with ApiVersions 0. */
async function askServedApis(port: number): Promise<ServedApi[]> {
  const socket = connect(port, '127.0.0.1')
  const request = Buffer.alloc(14)
  request.writeInt32BE(10, 0)
  request.writeInt16BE(18, 4)
  request.writeInt16BE(-1, 12)
  socket.write(request)
  let answer: Buffer = Buffer.alloc(0)
  for await (const chunk of socket) {
    answer = Buffer.concat([answer, chunk as Buffer])
    if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) break
  }
  const count = answer.readInt32BE(10)
  return Array.from({ length: count }, (_, i) => ({
    key: answer.readInt16BE(14 + 6 * i),
    min: answer.readInt16BE(16 + 6 * i),
    max: answer.readInt16BE(18 + 6 * i),
  }))
}

async function servedApis(): Promise<ServedApi[]> {
  const directory = await mkdtemp(join(tmpdir(), 'shardlog-docs-'))
  const settings = {
    'log.dirs': directory,
    listeners: 'PLAINTEXT://127.0.0.1:0',
    'shardlog.shards': '0',
  }
  const config = loadBrokerConfig(new Map(Object.entries(settings)))
  const broker = await Broker.start({ config, logger: silentLogger })
  try {
    return await askServedApis(broker.listeners[0]?.port ?? 0)
  } finally {
    await broker.stop()
    await rm(directory, { recursive: true })
  }
}

function rangeText(min: number, max: number): string {
  return min === max ? `${min}` : `${min}–${max}`
}

async function protocolPage(): Promise<string> {
  const served = await servedApis()
  const rows = served.map(({ key, min, max }) => {
    const api = apiByKey(key)
    const flexible = parseVersions(api?.flexible ?? 'none')
    const from = Math.max(min, flexible.min)
    const flexibleText = from > max || flexible.max < from ? 'none' : rangeText(from, max)
    return [`${key}`, api?.name ?? '', rangeText(min, max), flexibleText]
  })
  const keys = new Set(served.map(({ key }) => key))
  const rest = APIS.filter((api) => !keys.has(api.key)).map((api) => {
    const { min, max } = parseVersions(api.versions)
    return [`${api.key}`, api.name, rangeText(min, max)]
  })
  return `${MADE_BY}

# Protocol

The Apache Kafka wire protocol. This is what a broker answers to ApiVersions: exactly what it serves.
A request of another API, or in another version, closes its connection, as in Apache Kafka; only
ApiVersions itself is answered in its oldest version then. Every table is held against Kafka's own
definitions by the tests, field by field and byte for byte.

${table(['key', 'API', 'versions', 'of these flexible (KIP-482)'], rows)}

Records are stored in format 2; formats 0 and 1 are converted when they are written, and back for
clients that ask for them. Codecs: gzip, snappy (raw and Java-framed), lz4, zstd.

## Tables that nothing serves yet

${table(['key', 'API', 'versions'], rest)}
`
}

/** Not as a tag of HTML, nor as the end of a cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('<', '&lt;')
}

function optionRow(name: string, spec: OptionSpec): string[] {
  const { argument, argumentOptional, help, required, repeatable, era } = spec
  const value = argument === undefined ? '' : argumentOptional ? ` [${argument}]` : ` ${argument}`
  const notes = [
    ...(required ? ['required'] : []),
    ...(repeatable ? ['may be repeated'] : []),
    ...(spec.default === undefined ? [] : [`default ${spec.default}`]),
    ...(era === undefined ? [] : [era]),
  ]
  return [code(`--${name}${value}`.replaceAll('|', '\\|')), cell(help), cell(notes.join('; '))]
}

function toolSection(title: string, tool: Tool): string {
  const rows = Object.entries(tool.options).map(([name, spec]) => optionRow(name, spec))
  const positionals = (tool.positionals ?? []).map((name) => ` ${name}`).join('')
  const parts = [`### ${title}`, tool.summary]
  if (positionals !== '') parts.push(`Usage: ${code(`${tool.name}${positionals}`)}`)
  if (rows.length > 0) parts.push(table(['option', 'what it does', ''], rows))
  if (tool.notes !== undefined && tool.notes.length > 0) {
    parts.push(['```text', ...tool.notes, '```'].join('\n'))
  }
  return parts.join('\n\n')
}

async function toolsPage(): Promise<string> {
  const rows = TOOLS.map(({ name, command, summary }) => [
    code(`shardlog ${command}`),
    code(name),
    cell(summary),
  ])
  const own = OWN_COMMANDS.map(({ command, summary }) => [
    code(`shardlog ${command}`),
    '',
    cell(summary),
  ])
  const sections: string[] = []
  for (const { name, load } of TOOLS) sections.push(toolSection(name, await load()))
  for (const { command, load } of OWN_COMMANDS) {
    sections.push(toolSection(`shardlog ${command}`, await load()))
  }
  return `${MADE_BY}

# Tools

Every tool is a command of ${code('shardlog')}, and has Apache Kafka's name, with and without
${code('.sh')}, in the folder ${code('bin/')} of the package. ${code('shardlog tools link DIR')} puts
those names into a folder of your PATH; nothing else does, so that a Kafka that is there is never
shadowed. Options, output and phrases are Apache's, so that scripts keep working. Different are:

- Errors are one line on standard error, with a hint, and the exit status is then 1.
- ${code('--output json')}, or ${code('--json')}, gives every table as JSON on one line.
- ${code('--help')} prints to standard output and ends with 0.
- Every row ends with a line feed.
- ${code('--command-config')} files are read for bootstrap.servers, client.id, request.timeout.ms,
  socket.connection.setup.timeout.ms, retry.backoff.ms, retry.backoff.max.ms and
  metadata.max.age.ms; a security.protocol other than PLAINTEXT is refused.
- ${code('--zookeeper')} makes the tools that had it in Kafka 0.8 work and print as they did then.

${table(['command', "Apache's name", 'what it does'], [...rows, ...own])}

## Options

Every tool has ${code('--help')} and ${code('--version')}; an option may be abbreviated as long as only
one begins so, and its value may follow a blank or an equals sign.

${sections.join('\n\n')}
`
}

/** The generated pages: path in the repository, and text. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ['docs/configuration.md', configurationPage()],
    ['docs/protocol.md', await protocolPage()],
    ['docs/tools.md', await toolsPage()],
  ])
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [name, text] of await generatedPages()) {
    await writeFile(join(root, name), text)
    process.stdout.write(`${name}\n`)
  }
}
