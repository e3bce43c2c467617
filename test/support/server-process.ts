/** A server process under test: started until it says that it is ready, ended only by its own pid. */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'

const KEPT_OUTPUT = 64 * 1024

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ServerCommand {
  readonly command: string
  readonly args: readonly string[]
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** The first line of standard output that matches ends the wait in `start`. */
  readonly ready: RegExp
  /** Milliseconds until `start` gives up. */
  readonly patience?: number
}

export class ServerProcess {
  readonly pid: number
  /** The line that matched `ready`. */
  readonly readyLine: string
  readonly #child: ChildProcess
  readonly #exit: Promise<Exit>
  readonly #output: () => string

  private constructor(options: {
    child: ChildProcess
    exit: Promise<Exit>
    readyLine: string
    output: () => string
  }) {
    if (options.child.pid === undefined) throw new Error('the process was not started')
    this.pid = options.child.pid
    this.readyLine = options.readyLine
    this.#child = options.child
    this.#exit = options.exit
    this.#output = options.output
  }

  /** Starts a server. Throws, with its output, when it ends or stays silent instead. */
  static async start(server: ServerCommand): Promise<ServerProcess> {
    const child = spawn(server.command, server.args, {
      cwd: server.cwd,
      env: { ...process.env, ...server.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const exit = once(child, 'close').then(([code, signal]) => ({ code, signal }) as Exit)
    let kept = ''
    const keep = (chunk: string) => {
      kept = (kept + chunk).slice(-KEPT_OUTPUT)
    }
    child.stdout.setEncoding('utf8').on('data', keep)
    child.stderr.setEncoding('utf8').on('data', keep)
    const name = `${server.command} ${server.args.join(' ')}`
    const timer = new AbortController()
    const waiting = [
      readyLineOf(child, server.ready),
      exit.then((e) => {
        throw new Error(`${name} ended with ${e.code ?? e.signal} before it was ready:\n${kept}`)
      }),
      failAfter(server.patience ?? 30_000, timer.signal, () => `${name} was not ready:\n${kept}`),
    ]
    try {
      const readyLine = await Promise.race(waiting)
      return new ServerProcess({ child, exit, readyLine, output: () => kept })
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      timer.abort()
      for (const promise of waiting) promise.catch(() => undefined)
    }
  }

  /** The last 64 KiB that the process has written. */
  get output(): string {
    return this.#output()
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves when the process has ended by itself. */
  get exited(): Promise<Exit> {
    return this.#exit
  }

  /** Sends a signal, if the process still runs, and waits for its end. */
  kill(signal: NodeJS.Signals): Promise<Exit> {
    if (this.isRunning) this.#child.kill(signal)
    return this.#exit
  }
}

function readyLineOf(child: ChildProcess, ready: RegExp): Promise<string> {
  return new Promise((found) => {
    let unfinished = ''
    const look = (chunk: string) => {
      const lines = (unfinished + chunk).split('\n')
      unfinished = lines.pop() ?? ''
      const line = lines.find((candidate) => ready.test(candidate))
      if (line === undefined) return
      child.stdout?.off('data', look)
      found(line)
    }
    child.stdout?.on('data', look)
  })
}

function failAfter(delay: number, signal: AbortSignal, why: () => string): Promise<never> {
  return new Promise((_, fail) => {
    const timer = setTimeout(() => fail(new Error(why())), delay)
    signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
  })
}

/** Where and how a server runs, if not on 127.0.0.1 as an ordinary child. */
export interface Place {
  /** The address that it listens on. */
  readonly host: string
  /** Words before its command: `ip netns exec NAME`, say. */
  readonly prefix: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** `command` with the words of `place` before it. */
export function commandAt(
  place: Place | undefined,
  command: string,
  args: readonly string[],
): Pick<ServerCommand, 'command' | 'args' | 'env'> {
  const [first = command, ...rest] = [...(place?.prefix ?? []), command, ...args]
  return { command: first, args: rest, ...(place?.env ? { env: place.env } : {}) }
}

/**
 * Below the ports that the system gives to outgoing connections: none of these can take the port
 * of a server that is down for a while, nor meet itself while it knocks there.
 */
const PORTS = { min: 12_000, max: 32_000 } as const
const givenPorts = new Set<number>()

/** A TCP port of 127.0.0.1 that was free a moment ago; this process is not given it again. */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(PORTS.min, PORTS.max)
    if (givenPorts.has(port) || !(await isFree(port))) continue
    givenPorts.add(port)
    return port
  }
  throw new Error(`no free port from ${PORTS.min} to ${PORTS.max}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((told) => {
    const server = createServer().once('error', () => told(false))
    server.listen(port, '127.0.0.1', () => server.close(() => told(true)))
  })
}
