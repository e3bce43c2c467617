/**
 * The brokers that the end-to-end benchmark compares: this one, by number of shards, and Apache
 * Kafka 3.9.1 as its own start script runs it. Each runs as a process of its own, with its data in
 * one common folder and hence on one disk.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { runKafkaTool } from '../test/support/apache-kafka.ts'
import { peer } from '../test/support/peers.ts'
import { freePort, ServerProcess } from '../test/support/server-process.ts'

const root = join(import.meta.dirname, '..', '..')
const CLUSTER_ID = 'c2hhcmRsb2ctYmVuY2gtMQ'

/** What bin/kafka-server-start.sh gives the JVM (heap, collector), without its log files. */
export const KAFKA_JVM = [
  '-Xmx1G',
  '-Xms1G',
  '-server',
  '-XX:+UseG1GC',
  '-XX:MaxGCPauseMillis=20',
  '-XX:InitiatingHeapOccupancyPercent=35',
  '-XX:+ExplicitGCInvokesConcurrent',
  '-XX:MaxInlineLevel=15',
  '-Djava.awt.headless=true',
]

const LOGGING = `log4j.rootLogger=INFO, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
`

export interface BrokerKind {
  /** How it is called in the report. */
  readonly name: string
  /** Null for Apache Kafka. */
  readonly shards: number | null
}

export interface BenchBroker {
  readonly kind: BrokerKind
  readonly address: string
  readonly pid: number
  /** Milliseconds from the start of the process to its ready line. */
  readonly readyMs: number
  /** Milliseconds from the start of the process to its first answer to Metadata. */
  readonly metadataMs: number
  stop(): Promise<void>
}

/** Starts a broker with an empty data directory below `folder`, which it empties first. */
export async function startBroker(
  kind: BrokerKind,
  folder: string,
  segmentBytes: number,
): Promise<BenchBroker> {
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const port = await freePort()
  const settings = { 'log.dirs': join(folder, 'data'), 'log.segment.bytes': String(segmentBytes) }
  const command =
    kind.shards === null
      ? await kafkaCommand(folder, port, settings)
      : shardlogCommand(kind.shards, port, settings)
  const started = performance.now()
  const asking = new AbortController()
  const [{ server, readyMs }, metadataMs] = await Promise.all([
    ServerProcess.start({ ...endingWithUs(command), patience: 90_000 }).then(
      (process) => ({ server: process, readyMs: performance.now() - started }),
      (error: unknown) => {
        asking.abort()
        throw error
      },
    ),
    firstMetadata(port, started, asking.signal),
  ])
  return {
    kind,
    address: `127.0.0.1:${port}`,
    pid: server.pid,
    readyMs,
    metadataMs,
    async stop() {
      const exit = await server.kill('SIGTERM')
      const orderly = exit.code === 0 || (kind.shards === null && exit.code === 143)
      assert.ok(orderly, `${kind.name} ended with ${exit.code ?? exit.signal}:\n${server.output}`)
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** The kernel ends the process when this one ends, however that happens. */
export function endingWithUs<
  C extends { readonly command: string; readonly args: readonly string[] },
>(program: C): C {
  const args = ['--pdeathsig', 'KILL', program.command, ...program.args]
  return { ...program, command: 'setpriv', args }
}

interface Command {
  readonly command: string
  readonly args: readonly string[]
  readonly ready: RegExp
}

function shardlogCommand(
  shards: number,
  port: number,
  settings: Readonly<Record<string, string>>,
): Command {
  const all = {
    ...settings,
    listeners: `PLAINTEXT://127.0.0.1:${port}`,
    'shardlog.shards': String(shards),
  }
  const args = [join(root, 'bin', 'shardlog-server')]
  for (const [key, value] of Object.entries(all)) args.push('--override', `${key}=${value}`)
  return { command: process.execPath, args, ready: /^shardlog ready/ }
}

async function kafkaCommand(
  folder: string,
  port: number,
  settings: Readonly<Record<string, string>>,
): Promise<Command> {
  const controller = `127.0.0.1:${await freePort()}`
  const all = {
    ...settings,
    'node.id': '0',
    'process.roles': 'broker,controller',
    'controller.quorum.voters': `0@${controller}`,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://${controller}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    // Deleted topics give their page cache back at once, as this broker's do.
    'log.segment.delete.delay.ms': '0',
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
  }
  const properties = join(folder, 'server.properties')
  const lines = Object.entries(all).map(([key, value]) => `${key}=${value}\n`)
  writeFileSync(properties, lines.join(''))
  const logging = join(folder, 'log4j.properties')
  writeFileSync(logging, LOGGING)
  await runKafkaTool('kafka.tools.StorageTool', ['format', '-t', CLUSTER_ID, '-c', properties])
  return {
    command: 'java',
    args: [
      ...KAFKA_JVM,
      `-Dlog4j.configuration=file:${logging}`,
      ...['-cp', `${peer('kafka-server')}/*`, 'kafka.Kafka', properties],
    ],
    ready: /Kafka Server started/,
  }
}

/** A Metadata request of version 1 for no topic: size, key, version, correlation, client, []. */
const METADATA_REQUEST = Buffer.from('0000000e00030001000000010000' + '00000000', 'hex')

/** Asks again and again until a broker answers; milliseconds since `started`. */
async function firstMetadata(port: number, started: number, stop: AbortSignal): Promise<number> {
  while (!(await answersMetadata(port))) {
    stop.throwIfAborted()
    await setTimeout(5, undefined, { signal: stop })
  }
  return performance.now() - started
}

/** False when the port is closed, or the answer does not name a broker yet. */
function answersMetadata(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const socket = createConnection(port, '127.0.0.1')
    let answer = Buffer.alloc(0)
    socket.on('connect', () => socket.write(METADATA_REQUEST))
    socket.on('error', () => settle(false))
    socket.on('close', () => settle(false))
    socket.on('data', (bytes: Buffer) => {
      answer = Buffer.concat([answer, bytes])
      // Size, correlation id, number of brokers.
      if (answer.length < 12) return
      settle(answer.readInt32BE(8) > 0)
      socket.destroy()
    })
  })
}

/** Stops them all, also when one of them fails to; then throws what it said. */
export async function stopAll(brokers: readonly BenchBroker[]): Promise<void> {
  const ended = await Promise.allSettled(brokers.map((broker) => broker.stop()))
  for (const result of ended) if (result.status === 'rejected') throw result.reason
}

/** Runs a program to its end and returns what it printed. Throws with its errors when it fails. */
export async function runProgram(command: string, args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-65_536)
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-16_384)
  })
  const code = await new Promise<number | string>((settle, fail) => {
    child.once('error', fail)
    child.once('close', (status, signal) => settle(status ?? signal ?? 'unknown'))
  })
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${errors}`)
  return output
}
