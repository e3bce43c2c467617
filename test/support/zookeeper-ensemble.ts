/** Real ZooKeeper servers, one or an ensemble, each a process of its own on 127.0.0.1. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type PeerName, peer, requirePeer } from './peers.ts'
import { freePort, ServerProcess } from './server-process.ts'
import { until } from './until.ts'

export type ZooKeeperPeer = Extract<PeerName, `zookeeper-${string}`>

/** From the oldest that is supported to the newest. */
export const ZOOKEEPER_PEERS = [
  'zookeeper-3.5',
  'zookeeper-3.6',
  'zookeeper-3.7',
  'zookeeper-3.8',
  'zookeeper-3.9',
] as const satisfies readonly ZooKeeperPeer[]

export const ZOOKEEPER: ZooKeeperPeer = 'zookeeper-3.8'

/** Why tests with that release must be skipped, false if they need not. Throws with CI=true. */
export function skipWithoutZooKeeper(name: ZooKeeperPeer = ZOOKEEPER): string | false {
  const reason = requirePeer(name) === null ? `${name} is not installed` : missingPackage()
  assert.ok(reason === false || process.env['CI'] !== 'true', String(reason))
  return reason
}

function missingPackage(): string | false {
  try {
    createRequire(import.meta.url).resolve('zookeeper')
    return false
  } catch (error) {
    return `the package zookeeper is not installed (${(error as NodeJS.ErrnoException).code})`
  }
}

const JVM = [
  '-XX:TieredStopAtLevel=1',
  '-XX:+UseSerialGC',
  '-Xshare:auto',
  '-Xmx256m',
  '-Dorg.slf4j.simpleLogger.logFile=System.out',
]
/** Sessions may be as short as two ticks. */
const TICK_MS = 200

const LOGBACK = `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender">
<encoder><pattern>[%d] %p %m%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="out"/></root></configuration>
`

interface Server {
  readonly port: number
  readonly properties: string
  process: ServerProcess | null
}

export class ZooKeeperEnsemble {
  /** The address that clients connect to. */
  readonly host: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'zookeeper-test-'))
  readonly #peer: ZooKeeperPeer
  readonly #servers: Server[] = []

  private constructor(name: ZooKeeperPeer, host: string) {
    this.#peer = name
    this.host = host
  }

  /** Starts `count` servers; they serve when the promise resolves. */
  static async start(
    count = 1,
    name: ZooKeeperPeer = ZOOKEEPER,
    host = '127.0.0.1',
  ): Promise<ZooKeeperEnsemble> {
    const ensemble = new ZooKeeperEnsemble(name, host)
    try {
      await ensemble.#configure(count)
      await Promise.all(ensemble.#servers.map((_, i) => ensemble.restart(i)))
      await until('the ensemble serves', async () => (await ensemble.leader()) !== null)
      return ensemble
    } catch (error) {
      await ensemble[Symbol.asyncDispose]()
      throw error
    }
  }

  /** As in `zookeeper.connect`. */
  get connect(): string {
    return this.#servers.map(({ port }) => `${this.host}:${port}`).join(',')
  }

  /** The ports of its clients. */
  get ports(): readonly number[] {
    return this.#servers.map(({ port }) => port)
  }

  get size(): number {
    return this.#servers.length
  }

  async #configure(count: number): Promise<void> {
    const ports: number[][] = []
    for (let i = 0; i < count; i++) {
      ports.push(await Promise.all([freePort(), freePort(), freePort()]))
    }
    const members =
      count === 1 ? '' : ports.map(([, a, b], i) => `server.${i}=127.0.0.1:${a}:${b}\n`).join('')
    for (const [i, [port]] of ports.entries()) {
      const data = join(this.#folder, `data-${i}`)
      mkdirSync(data)
      writeFileSync(join(data, 'myid'), String(i))
      const properties = join(this.#folder, `zookeeper-${i}.properties`)
      writeFileSync(
        properties,
        `dataDir=${data}\nclientPort=${port}\nclientPortAddress=${this.host}\ntickTime=${TICK_MS}\n` +
          `initLimit=25\nsyncLimit=25\nmaxSessionTimeout=60000\nmaxClientCnxns=0\n` +
          `admin.enableServer=false\n4lw.commands.whitelist=*\n${members}`,
      )
      this.#servers.push({ port: port as number, properties, process: null })
    }
    writeFileSync(join(this.#folder, 'logback.xml'), LOGBACK)
  }

  /** Starts a server that is down. */
  async restart(index: number): Promise<void> {
    const server = this.#server(index)
    server.process = await ServerProcess.start({
      command: 'java',
      args: [
        ...JVM,
        ...['-cp', `${this.#folder}:${peer(this.#peer)}/*`],
        ...['org.apache.zookeeper.server.quorum.QuorumPeerMain', server.properties],
      ],
      ready: /binding to port/,
      patience: 60_000,
    })
  }

  async kill(index: number): Promise<void> {
    await this.#server(index).process?.kill('SIGKILL')
  }

  /** SIGSTOP; every `pause` wants a `resume`. */
  pause(index: number): void {
    process.kill(this.pid(index), 'SIGSTOP')
  }

  resume(index: number): void {
    process.kill(this.pid(index), 'SIGCONT')
  }

  /** The server that leads, or stands alone; null while there is none. */
  async leader(): Promise<number | null> {
    const answers = await Promise.all(this.#servers.map(({ port }) => askServer(this.host, port)))
    const index = answers.findIndex((text) => /Mode: (leader|standalone)/.test(text))
    return index < 0 ? null : index
  }

  #server(index: number): Server {
    const server = this.#servers[index]
    assert.ok(server, `there is no server ${index}`)
    return server
  }

  /** Of a server that runs. */
  pid(index: number): number {
    const { process: running } = this.#server(index)
    assert.ok(running?.isRunning, `server ${index} does not run`)
    return running.pid
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { process: running } of this.#servers) {
      if (running?.isRunning) await running.kill('SIGKILL')
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** What a server says of itself; '' if it says nothing. */
export function askServer(host: string, port: number): Promise<string> {
  return new Promise((told) => {
    let text = ''
    const socket = connect({ host, port, timeout: 1000 }, () => socket.end('srvr'))
    socket.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
    })
    socket.once('timeout', () => socket.destroy())
    socket.once('error', () => told(''))
    socket.once('close', () => told(text))
  })
}
