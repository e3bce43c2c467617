/**
 * Apache Kafka 3.9.1 as a server under test: one KRaft node by default, or in ZooKeeper mode with
 * `zookeeper` set. Also its command-line programs, by class name.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { BrokerUnderTest, Overrides } from './broker.ts'
import { peer } from './peers.ts'
import { commandAt, type Exit, freePort, type Place, ServerProcess } from './server-process.ts'

const CLUSTER_ID = 'c2hhcmRsb2ctdGVzdHMtMQ'
// Short-lived JVMs: the quick compiler and a small collector halve the time they take to start.
const JVM = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx1g']
const READY = /\[KafkaServer id=\d+\] started|\[KafkaRaftServer nodeId=\d+\] Kafka Server started/

const LOGGING = `log4j.rootLogger=INFO, out
log4j.logger.org.apache.kafka.clients=WARN
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
`

export interface ApacheKafkaOptions {
  /** `host:port` of a ZooKeeper server: ZooKeeper mode instead of KRaft. */
  readonly zookeeper?: string
  /** Use this data directory, which then is not removed. */
  readonly dataDir?: string
  /** 127.0.0.1 if left out. */
  readonly place?: Place
  /** Options of the Java virtual machine; those of short tests if left out. */
  readonly jvm?: readonly string[]
}

export class ApacheKafka implements BrokerUnderTest {
  readonly kind = 'kafka'
  readonly dataDir: string
  readonly #folder: string
  readonly #zookeeper: string | undefined
  readonly #place: Place | undefined
  readonly #jvm: readonly string[]
  #port: number | null = null
  #process: ServerProcess | null = null

  constructor(options: ApacheKafkaOptions = {}) {
    this.#folder = mkdtempSync(join(tmpdir(), 'apache-kafka-test-'))
    this.dataDir = options.dataDir ?? join(this.#folder, 'data')
    this.#zookeeper = options.zookeeper
    this.#place = options.place
    this.#jvm = options.jvm ?? JVM
  }

  get #running(): ServerProcess {
    assert.ok(this.#process, 'the broker was not started')
    return this.#process
  }

  get address(): string {
    assert.ok(this.#port, 'the broker was not started')
    return `${this.#place?.host ?? '127.0.0.1'}:${this.#port}`
  }

  get pid(): number {
    return this.#running.pid
  }

  get output(): string {
    return this.#running.output
  }

  async start(overrides: Overrides = {}): Promise<void> {
    this.#port ??= await freePort()
    const common = {
      'log.dirs': this.dataDir,
      'offsets.topic.replication.factor': '1',
      'transaction.state.log.replication.factor': '1',
      'transaction.state.log.min.isr': '1',
      'group.initial.rebalance.delay.ms': '0',
    }
    const mode = this.#zookeeper ? this.#zookeeperMode() : await this.#kraftMode()
    const properties = join(this.#folder, 'server.properties')
    writeProperties(properties, { ...common, ...mode, ...overrides })
    if (!this.#zookeeper && !existsSync(join(this.dataDir, 'meta.properties'))) {
      await runKafkaTool('kafka.tools.StorageTool', ['format', '-t', CLUSTER_ID, '-c', properties])
    }
    const logging = join(this.#folder, 'log4j.properties')
    writeFileSync(logging, LOGGING)
    const args = [
      ...this.#jvm,
      `-Dlog4j.configuration=file:${logging}`,
      ...['-cp', `${peer('kafka-server')}/*`, 'kafka.Kafka', properties],
    ]
    this.#process = await ServerProcess.start({
      ...commandAt(this.#place, 'java', args),
      ready: READY,
      patience: 90_000,
    })
  }

  #zookeeperMode(): Record<string, string> {
    return {
      'broker.id': '0',
      'zookeeper.connect': this.#zookeeper ?? '',
      listeners: `PLAINTEXT://${this.address}`,
    }
  }

  async #kraftMode(): Promise<Record<string, string>> {
    const controller = `127.0.0.1:${await freePort()}`
    return {
      'node.id': '0',
      'process.roles': 'broker,controller',
      'controller.quorum.voters': `0@${controller}`,
      'controller.listener.names': 'CONTROLLER',
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      listeners: `PLAINTEXT://${this.address},CONTROLLER://${controller}`,
      'advertised.listeners': `PLAINTEXT://${this.address}`,
    }
  }

  kill(signal: NodeJS.Signals): Promise<Exit> {
    return this.#running.kill(signal)
  }

  stop(): Promise<Exit> {
    return this.kill('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process?.isRunning) await this.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** A ZooKeeper server of its own, with an empty data directory. */
export class ZooKeeperServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'zookeeper-test-'))
  #address: string | null = null
  #process: ServerProcess | null = null

  get address(): string {
    assert.ok(this.#address, 'ZooKeeper was not started')
    return this.#address
  }

  async start(): Promise<void> {
    const port = await freePort()
    const properties = join(this.#folder, 'zookeeper.properties')
    writeProperties(properties, {
      dataDir: join(this.#folder, 'data'),
      clientPort: String(port),
      clientPortAddress: '127.0.0.1',
      'admin.enableServer': 'false',
    })
    const logging = join(this.#folder, 'log4j.properties')
    writeFileSync(logging, LOGGING)
    this.#process = await ServerProcess.start({
      command: 'java',
      args: [
        ...JVM,
        `-Dlog4j.configuration=file:${logging}`,
        ...['-cp', `${peer('kafka-server')}/*`],
        ...['org.apache.zookeeper.server.quorum.QuorumPeerMain', properties],
      ],
      ready: /PrepRequestProcessor \(sid:0\) started|zookeeper\.request_throttler/,
      patience: 60_000,
    })
    this.#address = `127.0.0.1:${port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process?.isRunning) await this.#process.kill('SIGKILL')
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Creates nodes in ZooKeeper: path → data, parents first. */
export async function createNodes(address: string, nodes: Readonly<Record<string, string>>) {
  const classes = `${peer('kafka-server')}/*`
  const main = 'org.apache.zookeeper.ZooKeeperMain'
  const child = spawn('java', ['-cp', classes, main, '-server', address], {
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const lines = Object.entries(nodes).map(([path, data]) => `create ${path} ${data}\n`)
  child.stdin.end(`${lines.join('')}quit\n`)
  await once(child, 'close')
}

function writeProperties(path: string, properties: Readonly<Record<string, string>>): void {
  const text = Object.entries(properties).map(([key, value]) => `${key}=${value}\n`)
  writeFileSync(path, text.join(''))
}

/** Runs a main class of Apache Kafka 3.9.1 to its end and returns its standard output. */
export async function runKafkaTool(main: string, args: readonly string[]): Promise<string> {
  const java = [...JVM, '-cp', `${peer('kafka-server')}/*`, main, ...args]
  const { stdout } = await promisify(execFile)('java', java, { maxBuffer: 256 * 1024 * 1024 })
  return stdout
}
