/** `zookeeper-server-start`: a real Apache ZooKeeper, here or with `-daemon` in the background. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { connect } from 'node:net'
import { delimiter, join, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { javaProgram } from '../config/environment.ts'
import { readPropertiesFile } from './kit/connection.ts'
import { UsageError } from './kit/options.ts'
import { defineTool, ToolError, type ToolIo } from './kit/tool.ts'
import { serverClassPath } from './zookeeper/server-class-path.ts'
import { SERVER_CLASS } from './zookeeper/server-process.ts'

const OUTPUT = 'zookeeper.out'
const POLL_MS = 50
const PATIENCE_MS = 30_000
const JVM = ['-server', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']

function loggingFolder(): string {
  return join(import.meta.dirname, '..', '..', '..', 'config', 'zookeeper-logging')
}

/** The words after `java`. */
async function javaWords(properties: string, io: ToolIo): Promise<string[]> {
  const jars = await serverClassPath((line) => io.warn(line))
  return [
    ...JVM,
    // For releases that log through slf4j-simple.
    '-Dorg.slf4j.simpleLogger.logFile=System.out',
    ...['-cp', [loggingFolder(), ...jars].join(delimiter)],
    ...[SERVER_CLASS, properties],
  ]
}

async function started(child: ChildProcess): Promise<void> {
  try {
    await once(child, 'spawn')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw new ToolError(
      `${javaProgram()} is not here`,
      'ZooKeeper needs Java: install it, or set JAVA_HOME',
    )
  }
}

async function startHere(properties: string, io: ToolIo): Promise<number> {
  const child = spawn(javaProgram(), await javaWords(properties, io), { stdio: 'inherit' })
  await started(child)
  io.signal.addEventListener('abort', () => child.kill('SIGTERM'))
  const [code] = (await once(child, 'close')) as [number | null]
  // Java ends with 143 after the SIGTERM that was meant for it.
  return io.signal.aborted ? 0 : (code ?? 1)
}

/** Whether a server says at this address that it serves. */
function serves(host: string, port: number): Promise<boolean> {
  return new Promise((told) => {
    let text = ''
    const socket = connect({ host, port, timeout: 1000 }, () => socket.end('srvr'))
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    socket.once('timeout', () => socket.destroy())
    socket.once('error', () => told(false))
    // One that is starting answers too.
    socket.once('close', () => told(text !== '' && !text.includes('not currently serving')))
  })
}

async function startInBackground(properties: string, io: ToolIo): Promise<void> {
  const settings = await readPropertiesFile(properties)
  const directory = settings.get('dataDir')
  if (directory === undefined) throw new ToolError(`${properties} has no dataDir`)
  const portText = settings.get('clientPort') ?? '0'
  if (!/^\d{1,5}$/.test(portText)) throw new ToolError(`${properties}: clientPort is ${portText}`)
  const port = Number(portText)
  const host = settings.get('clientPortAddress') ?? '127.0.0.1'
  if (port > 0 && (await serves(host, port))) {
    throw new ToolError(`a ZooKeeper serves on ${host}:${port} already`)
  }
  const words = await javaWords(properties, io)
  await mkdir(directory, { recursive: true })
  const path = resolve(directory, OUTPUT)
  const output = openSync(path, 'a')
  const from = statSync(path).size
  const child = spawn(javaProgram(), words, { detached: true, stdio: ['ignore', output, output] })
  closeSync(output)
  await started(child)
  const deadlineMs = performance.now() + PATIENCE_MS
  while (port > 0 && !(await serves(host, port))) {
    if (child.exitCode !== null || performance.now() > deadlineMs) {
      child.kill('SIGKILL')
      const said = readFileSync(path).subarray(from).toString('utf8').trimEnd()
      const line = /^.*(?:Exception|ERROR).*$/m.exec(said)?.[0] ?? said.split('\n').at(-1)
      throw new ToolError(`ZooKeeper did not start: ${line || `see ${path}`}`)
    }
    await wait(POLL_MS)
  }
  child.unref()
  const where = port > 0 ? ` on ${host}:${port}` : ''
  io.print(`ZooKeeper ready${where}, process ${child.pid}, output in ${path}`)
}

export const zookeeperServerStart = defineTool({
  name: 'zookeeper-server-start',
  summary: 'Starts an Apache ZooKeeper server, in the background with -daemon.',
  options: {
    daemon: { help: 'Starts it in the background and returns when it serves.' },
    // Options of Apache's script for Java.
    name: { argument: 'name', help: 'Taken.', era: 'Apache: the name of the process.' },
    loggc: { help: 'Taken.', era: 'Apache: logs of the garbage collector.' },
  },
  positionals: ['zookeeper.properties'],
  wantsArguments: true,
  notes: [
    'The server is the one of ZOOKEEPER_HOME, a folder of a release; or of the Debian package',
    'zookeeper; or else Maven fetches it, once, into the cache of the user. Java must be there.',
    `With -daemon its output goes to ${OUTPUT} in its dataDir; zookeeper-server-stop ends it.`,
  ],
  async run(given, io) {
    const file = given.positionals[0]
    if (file === undefined) throw new UsageError('zookeeper.properties is required')
    const properties = resolve(file)
    if (!existsSync(properties)) throw new ToolError(`there is no file ${properties}`)
    if (!given.has('daemon')) return await startHere(properties, io)
    await startInBackground(properties, io)
    return 0
  },
})
