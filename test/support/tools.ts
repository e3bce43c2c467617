/** Command-line tools under test: ours as processes, Apache Kafka's 3.9.1 inside one Java. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { peer } from './peers.ts'

const root = join(import.meta.dirname, '..', '..', '..')
const sources = join(root, 'test', 'support', 'java')

export interface ToolRun {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  /** What the tool reads. */
  readonly input?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a tool of ours, by its name in `bin/`, to its end. */
export async function runTool(
  name: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<ToolRun> {
  const child = spawn(process.execPath, [join(root, 'bin', name), ...args], {
    env: { ...process.env, ...options.env },
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  // A tool that ends early does not read its input to the end.
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  if (code === null) throw new Error(`${name} was ended by ${signal}`)
  return { code, stdout, stderr }
}

/** Main classes of Apache's tools. */
const CLASSES: Readonly<Record<string, string>> = {
  'kafka-topics': 'org.apache.kafka.tools.TopicCommand',
  'kafka-consumer-groups': 'org.apache.kafka.tools.consumer.group.ConsumerGroupCommand',
  'kafka-configs': 'kafka.admin.ConfigCommand',
  'kafka-get-offsets': 'org.apache.kafka.tools.GetOffsetShell',
  'kafka-delete-records': 'org.apache.kafka.tools.DeleteRecordsCommand',
  'kafka-log-dirs': 'org.apache.kafka.tools.LogDirsCommand',
  'kafka-broker-api-versions': 'kafka.admin.BrokerApiVersionsCommand',
  'kafka-dump-log': 'kafka.tools.DumpLogSegments',
  'kafka-leader-election': 'org.apache.kafka.tools.LeaderElectionCommand',
  'kafka-reassign-partitions': 'org.apache.kafka.tools.reassign.ReassignPartitionsCommand',
  'kafka-console-producer': 'kafka.tools.ConsoleProducer',
  'kafka-console-consumer': 'org.apache.kafka.tools.consumer.ConsoleConsumer',
  'kafka-producer-perf-test': 'org.apache.kafka.tools.ProducerPerformance',
  'kafka-consumer-perf-test': 'org.apache.kafka.tools.ConsumerPerformance',
  'kafka-verifiable-producer': 'org.apache.kafka.tools.VerifiableProducer',
  'kafka-verifiable-consumer': 'org.apache.kafka.tools.VerifiableConsumer',
}

/** Those of Apache Kafka 0.8.2.2. */
const EARLY_CLASSES: Readonly<Record<string, string>> = {
  'kafka-topics': 'kafka.admin.TopicCommand',
  'kafka-reassign-partitions': 'kafka.admin.ReassignPartitionsCommand',
  'kafka-preferred-replica-election': 'kafka.admin.PreferredReplicaLeaderElectionCommand',
  'kafka-console-producer': 'kafka.tools.ConsoleProducer',
  'kafka-console-consumer': 'kafka.tools.ConsoleConsumer',
  'kafka-simple-consumer-shell': 'kafka.tools.SimpleConsumerShell',
}

/** A release of Apache's tools: 0.8.2 needs the peer kafka-0.8.2, 3.9 kafka-server and kafka-tools. */
export type ApacheRelease = '3.9' | '0.8.2'

function classPath(release: ApacheRelease): string {
  if (release === '0.8.2') return `${peer('kafka-0.8.2')}/*`
  return `${peer('kafka-tools')}/*:${peer('kafka-server')}/*`
}

function classOf(release: ApacheRelease, name: string): string | undefined {
  return (release === '0.8.2' ? EARLY_CLASSES : CLASSES)[name]
}

const LOGGING = `log4j.rootLogger=WARN, err
log4j.appender.err=org.apache.log4j.ConsoleAppender
log4j.appender.err.target=System.err
log4j.appender.err.follow=true
log4j.appender.err.layout=org.apache.log4j.PatternLayout
log4j.appender.err.layout.ConversionPattern=[%d] %p %m (%c)%n
`

const JVM = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx512m']

/** How to run a tool of Apache's in a Java of its own, for one that is to be stopped by a signal. */
export function apacheCommand(
  release: ApacheRelease,
  name: string,
  args: readonly string[],
): { readonly command: string; readonly args: readonly string[] } {
  const main = classOf(release, name) ?? name
  return { command: 'java', args: [...JVM, '-cp', classPath(release), main, ...args] }
}

/** One Java that runs Apache's tools, one at a time. */
export class ApacheTools {
  readonly #release: ApacheRelease
  readonly #folder = mkdtempSync(join(tmpdir(), 'apache-tools-test-'))
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface
  #errors = ''

  constructor(release: ApacheRelease = '3.9') {
    this.#release = release
    const logging = join(this.#folder, 'log4j.properties')
    writeFileSync(logging, LOGGING)
    this.#child = spawn('java', [
      ...JVM,
      `-Dlog4j.configuration=file:${logging}`,
      ...['-cp', classPath(release)],
      join(sources, 'ApacheTools.java'),
    ])
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#errors = (this.#errors + chunk).slice(-16_384)
    })
    this.#reader = createInterface({ input: this.#child.stdout })
    this.#lines = this.#reader[Symbol.asyncIterator]()
  }

  /** Whether Apache has a tool of this name. */
  has(name: string): boolean {
    return classOf(this.#release, name) !== undefined
  }

  /** Runs a tool by the name of its script, without `.sh`, or by its main class. */
  async run(
    name: string,
    args: readonly string[],
    options: { readonly input?: string } = {},
  ): Promise<ToolRun> {
    const input = Buffer.from(options.input ?? '').toString('base64')
    this.#child.stdin.write(
      `${[input, classOf(this.#release, name) ?? name, ...args].join('\t')}\n`,
    )
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`Apache's tools have ended:\n${this.#errors}`)
    const [code, stdout, stderr] = (value as string).split('\t')
    const text = (part = ''): string => Buffer.from(part, 'base64').toString('utf8')
    return { code: Number(code), stdout: text(stdout), stderr: text(stderr) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#child.exitCode === null ? once(this.#child, 'close') : null
    this.#child.kill('SIGKILL')
    await ended
    this.#reader.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
