/** What a command-line tool is, and what it gets to work with. */
import type { Readable, Writable } from 'node:stream'
import type { OptionTable, ParsedOptions } from './options.ts'

/** A failure that is told in one line; the exit status is 1. */
export class ToolError extends Error {
  override readonly name = 'ToolError'

  constructor(message: string, hint?: string) {
    super(hint === undefined ? message : `${message}; ${hint}`)
  }
}

export interface ToolIo {
  readonly stdin: Readable
  readonly stdout: Writable
  readonly stderr: Writable
  /** Whether a person watches standard error, where progress is shown. */
  readonly isTerminal: boolean
  /** Aborted by SIGINT and SIGTERM: long work ends in order. */
  readonly signal: AbortSignal
  /** Writes a line to standard output. */
  print(line: string): void
  /** Writes a line to standard error. */
  warn(line: string): void
  /** True with `--output json` or `--json`. */
  readonly json: boolean
}

export interface Tool<T extends OptionTable = OptionTable> {
  /** Apache's name without `.sh`. */
  readonly name: string
  /** One sentence: what it is for. */
  readonly summary: string
  readonly options: T
  /** Names of positional arguments; a last one ending in `...` takes the rest. */
  readonly positionals?: readonly string[]
  /** Takes `--output json`. */
  readonly table?: true
  /** Apache's tool prints its help and fails without arguments; so do we. */
  readonly wantsArguments?: true
  /** Lines for the end of `--help`: examples, and where we differ from Apache. */
  readonly notes?: readonly string[]
  /** Takes the words of the command line as they are, instead of `run`. */
  runWords?(words: readonly string[], io: ToolIo): Promise<number | undefined>
  /** Returns the exit status; nothing is 0. A throw is told in one line and is 1. */
  run(options: ParsedOptions<keyof T & string>, io: ToolIo): Promise<number | undefined>
}

/** Declares a tool; the names of its options become a type. */
export function defineTool<const T extends OptionTable>(tool: Tool<T>): Tool {
  // A tool is only ever run with the options that its own table has parsed.
  return tool as unknown as Tool
}
