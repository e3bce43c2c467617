/** The broker as a process: arguments, configuration, the ready line, signals. */
import { readFileSync } from 'node:fs'
import { Broker } from './broker.ts'
import { parseServerArguments, SERVER_USAGE } from './cli/server-arguments.ts'
import { loadBrokerConfig, readProperties } from './config/load-broker-config.ts'
import { createLogger, type Logger, loadLogWriter, silentLogger } from './util/logger.ts'

/** The first clients come before that. */
const LOG_WRITER_DELAY_MS = 1000

function fail(message: string, hint: string): never {
  process.stderr.write(`shardlog-server: ${message.replaceAll('\n', ' ')}${hint}\n`)
  process.exit(1)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function prepareLog(): void {
  try {
    loadLogWriter()
  } catch (error) {
    // The first line will try again.
    process.stderr.write(`shardlog-server: no log can be written now: ${messageOf(error)}\n`)
  }
}

export async function main(args: readonly string[]): Promise<void> {
  const parsed = (() => {
    try {
      return parseServerArguments(args)
    } catch (error) {
      return fail(messageOf(error), ' (see --help)')
    }
  })()
  if (parsed.help) {
    process.stdout.write(SERVER_USAGE)
    return
  }
  if (parsed.version) {
    const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8')
    process.stdout.write(`${(JSON.parse(text) as { version: string }).version}\n`)
    return
  }
  const loaded = (() => {
    try {
      const properties =
        parsed.propertiesFile === null
          ? new Map<string, string>()
          : readProperties(parsed.propertiesFile)
      for (const [key, value] of parsed.overrides) properties.set(key, value)
      return loadBrokerConfig(properties)
    } catch (error) {
      return fail(messageOf(error), '')
    }
  })()
  const level = loaded.config.logLevel
  const logger: Logger = level === 'silent' ? silentLogger : createLogger(level)
  if (loaded.inertKeys.length > 0) {
    process.stderr.write(`no effect here: ${loaded.inertKeys.join(', ')}\n`)
  }
  if (loaded.unknownKeys.length > 0) {
    process.stderr.write(`unknown keys, ignored: ${loaded.unknownKeys.join(', ')}\n`)
  }
  if (loaded.listensLocallyByDefault) {
    process.stderr.write(
      'neither listeners nor host.name is set: only this machine can reach the broker (127.0.0.1)\n',
    )
  }
  const broker = await Broker.start({ config: loaded, logger }).catch((error: unknown) =>
    fail(messageOf(error), ''),
  )
  let stopping = false
  const stop = (): void => {
    if (stopping) return
    stopping = true
    broker.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ error: messageOf(error) }, 'the broker did not stop in order')
        process.exit(1)
      },
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  const addresses = broker.listeners.map(({ host, port }) => `${host === '' ? '*' : host}:${port}`)
  const ms = Math.round(performance.now())
  process.stdout.write(
    `shardlog ready on ${addresses.join(', ')}, data in ${broker.dataDirectory}, ` +
      `${broker.recoveredPartitions} partitions recovered, ${ms} ms since process start\n`,
  )
  if (level !== 'silent') setTimeout(prepareLog, LOG_WRITER_DELAY_MS).unref()
}
