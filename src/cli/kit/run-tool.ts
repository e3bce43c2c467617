/** Runs a tool: reads its command line, tells failures in one line, knows the exit status. */
import { checkRequired, type OptionTable, parseOptions, UsageError } from './options.ts'
import type { Tool, ToolIo } from './tool.ts'

const COMMON: OptionTable = {
  help: { help: 'Prints this.', letter: 'h' },
  version: { help: 'Prints the version.' },
}
const TABLE: OptionTable = {
  output: { argument: 'text|json', help: 'Form of the result.', default: 'text', own: true },
  json: { help: 'The same as --output json.', own: true },
}

/** The options of a tool with those that every tool has. */
export function optionsOf(tool: Tool): OptionTable {
  return { ...tool.options, ...(tool.table ? TABLE : {}), ...COMMON }
}

/** Where a tool reads and writes; the rest of ToolIo comes from the command line. */
export type Streams = Pick<ToolIo, 'stdin' | 'stdout' | 'stderr' | 'isTerminal' | 'signal'>

/** The signal stays behind its getter: whoever asks for it takes over SIGINT and SIGTERM. */
function toolIo(streams: Streams, rest: Pick<ToolIo, 'print' | 'warn' | 'json'>): ToolIo {
  const { stdin, stdout, stderr, isTerminal } = streams
  return {
    ...{ stdin, stdout, stderr, isTerminal },
    ...rest,
    get signal() {
      return streams.signal
    },
  }
}

function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message || error.name : String(error)
  return message.replace(/\s*\n\s*/g, ' ').trim()
}

function wantsJson(output: string | undefined, json: boolean): boolean {
  if (output !== undefined && output !== 'text' && output !== 'json') {
    throw new UsageError(`--output is text or json, not ${JSON.stringify(output)}`)
  }
  return json || output === 'json'
}

/**
 * Runs a tool with the words of a command line and returns the exit status: 0 for success, 1 for
 * anything else, which has then been told on standard error in one line.
 */
export async function runTool(
  tool: Tool,
  words: readonly string[],
  streams: Streams,
): Promise<number> {
  const table = optionsOf(tool)
  const print = (line: string): void => void streams.stdout.write(`${line}\n`)
  const warn = (line: string): void => void streams.stderr.write(`${line}\n`)
  try {
    if (words.length === 0 && tool.wantsArguments) {
      const { helpOf } = await import('./help.ts')
      streams.stderr.write(helpOf(tool, table))
      return 1
    }
    if (tool.runWords !== undefined) {
      return (await tool.runWords(words, toolIo(streams, { print, warn, json: false }))) ?? 0
    }
    const options = parseOptions(table, words, {
      ...(tool.positionals === undefined ? {} : { positionals: tool.positionals }),
    })
    if (options.has('help')) {
      const { helpOf } = await import('./help.ts')
      streams.stdout.write(helpOf(tool, table))
      return 0
    }
    if (options.has('version')) {
      const { packageVersion } = await import('./help.ts')
      print(packageVersion())
      return 0
    }
    checkRequired(table, options)
    const json = tool.table === true && wantsJson(options.value('output'), options.has('json'))
    return (await tool.run(options, toolIo(streams, { print, warn, json }))) ?? 0
  } catch (error) {
    const usage = error instanceof UsageError ? ' (see --help)' : ''
    const line = oneLine(error)
    warn(`${tool.name}: ${line}${line.includes('--help') ? '' : usage}`)
    return 1
  }
}
