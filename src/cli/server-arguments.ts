/** Arguments of `shardlog-server [server.properties] [--override key=value]...`. */
import { parseArgs } from 'node:util'

export interface ServerArguments {
  readonly propertiesFile: string | null
  readonly overrides: ReadonlyMap<string, string>
  readonly help: boolean
  readonly version: boolean
}

export const SERVER_USAGE = `Usage: shardlog-server [server.properties] [--override key=value]...

  server.properties      Apache Kafka's properties file, unchanged
  --override key=value   sets a key over the file; may be repeated
  --version              prints the version
  --help                 prints this
`

/** Throws an Error whose message is one line. */
export function parseServerArguments(args: readonly string[]): ServerArguments {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      override: { type: 'string', multiple: true, default: [] },
      help: { type: 'boolean', default: false },
      version: { type: 'boolean', default: false },
    },
  })
  if (positionals.length > 1) {
    throw new Error(`one properties file is expected, not ${positionals.length}`)
  }
  const overrides = new Map<string, string>()
  for (const text of values.override) {
    const at = text.indexOf('=')
    if (at <= 0) throw new Error(`--override wants key=value, not ${JSON.stringify(text)}`)
    overrides.set(text.slice(0, at).trim(), text.slice(at + 1).trim())
  }
  return {
    propertiesFile: positionals[0] ?? null,
    overrides,
    help: values.help,
    version: values.version,
  }
}
