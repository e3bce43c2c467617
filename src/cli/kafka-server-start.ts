/** `kafka-server-start`: a broker here, or with `-daemon` in the background. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { type ParsedOptions, UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'

const OUTPUT = 'kafkaServer.out'
const POLL_MS = 50
const READY = /^shardlog ready on .*$/m

const options = {
  daemon: { help: 'Starts it in the background and returns when it is ready.' },
  override: {
    argument: 'key=value',
    help: 'Sets a key over the file.',
    repeatable: true,
  },
  // Options of Apache's script for Java.
  name: { argument: 'name', help: 'Taken.', era: 'Apache: the name of the process.' },
  loggc: { help: 'Taken.', era: 'Apache: logs of the garbage collector.' },
} as const

type Options = ParsedOptions<keyof typeof options>

/** The words that `bin/shardlog-server` gets. */
export function serverWords(given: Options): string[] {
  const file = given.positionals[0]
  const overrides = given.values('override').flatMap((text) => ['--override', text])
  return [...(file === undefined ? [] : [file]), ...overrides]
}

function program(): string {
  return join(import.meta.dirname, '..', '..', '..', 'bin', 'shardlog-server')
}

/** The first data directory, where the output of a background broker goes. Throws ConfigError. */
async function dataDirectoryOf(given: Options): Promise<string> {
  const { loadBrokerConfig, readProperties } = await import('../config/load-broker-config.ts')
  const file = given.positionals[0]
  const properties = file === undefined ? new Map<string, string>() : readProperties(file)
  for (const text of given.values('override')) {
    const at = text.indexOf('=')
    if (at <= 0) throw new UsageError(`--override wants key=value, not ${JSON.stringify(text)}`)
    properties.set(text.slice(0, at).trim(), text.slice(at + 1).trim())
  }
  return loadBrokerConfig(properties).logDirs[0] as string
}

async function startInBackground(given: Options, io: ToolIo): Promise<void> {
  const directory = await dataDirectoryOf(given)
  await mkdir(directory, { recursive: true })
  const path = join(directory, OUTPUT)
  const output = openSync(path, 'a')
  const from = statSync(path).size
  const child = spawn(process.execPath, [program(), ...serverWords(given)], {
    detached: true,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  let ended = false
  child.once('exit', () => {
    ended = true
  })
  await once(child, 'spawn')
  for (;;) {
    const said = readFileSync(path).subarray(from).toString('utf8')
    const ready = READY.exec(said)
    if (ready !== null) {
      child.unref()
      io.print(`${ready[0]}, process ${child.pid}, output in ${path}`)
      return
    }
    if (ended) {
      const last = said.trimEnd().split('\n').at(-1) ?? ''
      throw new ToolError(`the broker did not start: ${last || `see ${path}`}`)
    }
    await wait(POLL_MS)
  }
}

async function startHere(given: Options, io: ToolIo): Promise<number> {
  const child = spawn(process.execPath, [program(), ...serverWords(given)], { stdio: 'inherit' })
  io.signal.addEventListener('abort', () => child.kill('SIGTERM'))
  const [code] = (await once(child, 'close')) as [number | null]
  return code ?? 1
}

export const kafkaServerStart = defineTool({
  name: 'kafka-server-start',
  summary: 'Starts a broker, in the background with -daemon.',
  options,
  positionals: ['[server.properties]'],
  notes: [
    'Without a file the broker listens on 127.0.0.1:9092.',
    `With -daemon its output goes to ${OUTPUT} in its data directory; kafka-server-stop ends it.`,
  ],
  async run(given, io) {
    if (!given.has('daemon')) return await startHere(given, io)
    await startInBackground(given, io)
    return 0
  },
})

/**
 * The words for the server if the broker is to run in this very process; null when the tool has
 * something else to do (help, `-daemon`, an error).
 */
export async function wordsToStartHere(words: readonly string[]): Promise<string[] | null> {
  const { parseOptions } = await import('./kit/options.ts')
  const { optionsOf } = await import('./kit/run-tool.ts')
  const positionals = kafkaServerStart.positionals ?? []
  try {
    const given = parseOptions(optionsOf(kafkaServerStart), words, { positionals })
    if (given.has('daemon') || given.has('help') || given.has('version')) return null
    return serverWords(given)
  } catch (error) {
    if (error instanceof UsageError) return null
    throw error
  }
}
