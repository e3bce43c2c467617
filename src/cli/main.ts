/**
 * The start of every executable but the server's: `bin/NAME` calls `main('NAME', words)`. Only the
 * module of the one tool is loaded, so that a tool is done before a person notices.
 */
import { setMaxListeners } from 'node:events'
import * as nodeModule from 'node:module'
import type { Tool } from './kit/tool.ts'

/** Node 22 keeps compiled modules on disk; before that there is nothing to turn on. */
function enableCompileCache(): void {
  const enable = (nodeModule as { enableCompileCache?: () => unknown }).enableCompileCache
  enable?.()
}

function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // The reader has what it wanted, as in `kafka-topics --list | head -1`.
      if (error.code === 'EPIPE') process.exit(0)
      process.exit(1)
    })
  }
}

/** Aborted by the first SIGINT or SIGTERM; a second one ends the process at once. */
function signalOfInterrupt(): AbortSignal {
  const controller = new AbortController()
  setMaxListeners(0, controller.signal)
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(130)
      controller.abort()
    })
  }
  return controller.signal
}

/** Runs a tool with this process's streams and signals, and sets the exit status. */
export async function runInProcess(tool: Tool, words: readonly string[]): Promise<void> {
  enableCompileCache()
  endQuietlyOnClosedPipe()
  const { runTool } = await import('./kit/run-tool.ts')
  let interrupted: AbortSignal | undefined
  process.exitCode = await runTool(tool, words, {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    isTerminal: process.stderr.isTTY === true,
    // Only a tool that ends in order by itself takes over the signals.
    get signal() {
      interrupted ??= signalOfInterrupt()
      return interrupted
    },
  })
}

/** Runs the tool of this name and sets the exit status. */
export async function main(name: string, words: readonly string[]): Promise<void> {
  enableCompileCache()
  const { findTool } = await import('./tools.ts')
  const entry = findTool(name)
  if (entry === undefined) {
    process.stderr.write(`${name}: no such tool\n`)
    process.exitCode = 1
    return
  }
  await runInProcess(await entry.load(), words)
}
