/**
 * Members of groups, each a process of its own in the language of its client. A member is started
 * with BOOTSTRAP GROUP TOPIC OPTIONS and prints a JSON line for each event: `assigned` with the
 * partitions that it owns from then on, `record`, `error`. It commits what it has printed. The end
 * of its standard input asks it to leave.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { buildBatch } from '../../../src/log/record-format.ts'
import { CreateTopics } from '../../../src/protocol/messages/create-topics.ts'
import { Produce } from '../../../src/protocol/messages/produce.ts'
import { type PeerName, peer } from '../../support/peers.ts'
import { WireClient } from '../../support/wire-client.ts'
import { clientSources } from './scenario.ts'

const run = promisify(execFile)

/** Brokers allow less, but on a busy machine a healthy member can be silent for seconds. */
const SESSION_TIMEOUT_MS = 10_000
const PATIENCE_MS = 90_000

export interface MemberOptions {
  readonly bootstrap: string
  readonly group: string
  readonly topic: string
  readonly assignor: 'range' | 'roundrobin' | 'cooperative-sticky'
  readonly sessionTimeoutMs: number
  readonly instanceId?: string
}

/** How a client's member is started: program and arguments. */
export type MemberCommand = (options: MemberOptions) => readonly string[]

function words(options: MemberOptions): string[] {
  const { bootstrap, group, topic, assignor, sessionTimeoutMs, instanceId = '' } = options
  const json = { assignor, instanceId, sessionTimeoutMs }
  return [bootstrap, group, topic, JSON.stringify(json)]
}

export const memberCommands = {
  'confluent-kafka': (options) => [
    ...[peer('python'), '-B', join(clientSources, 'python', 'confluent_member.py')],
    ...words(options),
  ],
  'kafka-python': (options) => [
    ...[peer('python'), '-B', join(clientSources, 'python', 'kafka_python_member.py')],
    ...words(options),
  ],
  kafkajs: (options) => [
    ...[process.execPath, join(import.meta.dirname, 'node', 'kafkajs-member.js')],
    ...words(options),
  ],
  'franz-go': (options) => [join(peer('go'), 'franzmember'), ...words(options)],
  sarama: (options) => [join(peer('go'), 'saramamember'), ...words(options)],
} as const satisfies Record<string, MemberCommand>

export interface JavaMember {
  readonly command: MemberCommand
  dispose(): void
}

/** Compiles the Java member against the jars of a release. */
export async function compileJavaMember(set: PeerName, poll: string): Promise<JavaMember> {
  const classes = mkdtempSync(join(tmpdir(), 'shardlog-java-'))
  const jars = `${peer(set)}/*`
  const sources = [poll, 'GroupMember'].map((name) => join(clientSources, 'java', `${name}.java`))
  await run('javac', ['-nowarn', '-proc:none', '-cp', jars, '-d', classes, ...sources])
  const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx96m']
  return {
    command: ({ bootstrap, group, topic, assignor, sessionTimeoutMs, instanceId }) => [
      ...['java', ...jvm, '-cp', `${classes}:${jars}`, 'GroupMember'],
      ...[bootstrap, group, topic, assignor, String(sessionTimeoutMs)],
      ...(instanceId === undefined ? [] : [instanceId]),
    ],
    dispose: () => rmSync(classes, { recursive: true, force: true }),
  }
}

interface MemberEvent {
  readonly event: 'assigned' | 'record' | 'error'
  readonly partitions?: readonly number[]
  readonly partition?: number
  readonly offset?: number
  readonly value?: string
}

export class Member {
  readonly name: string
  /** What it owns now. */
  assignment: readonly number[] = []
  /** How often what it owns has changed. */
  assignments = 0
  readonly values: string[] = []
  readonly errors: string[] = []
  readonly #child: ChildProcess
  readonly #changed: () => void
  #stderr = ''

  constructor(name: string, command: readonly string[], changed: () => void) {
    this.name = name
    this.#changed = changed
    const [program, ...args] = command
    this.#child = spawn(program as string, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.#child.stdin?.on('error', () => undefined)
    this.#child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#stderr = (this.#stderr + chunk).slice(-4000)
    })
    const lines = createInterface(this.#child.stdout as NodeJS.ReadableStream)
    lines.on('line', (line) => {
      if (line.startsWith('{')) this.#take(JSON.parse(line) as MemberEvent)
    })
    this.#child.on('exit', () => {
      this.assignment = []
      this.#changed()
    })
  }

  #take(event: MemberEvent): void {
    if (event.event === 'assigned') {
      this.assignment = event.partitions ?? []
      this.assignments += 1
    } else if (event.event === 'record') {
      this.values.push(event.value ?? '')
    } else {
      this.errors.push(event.value ?? '')
    }
    this.#changed()
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  describe(): string {
    const errors = [...new Set(this.errors)].slice(-5).join('; ')
    const state = this.isRunning ? 'runs' : 'ended'
    return `${this.name} ${state}, owns [${this.assignment}], read ${this.values.length}, errors: ${errors}\n${this.#stderr.slice(-800)}`
  }

  /** Asks it to leave, and waits until it has. */
  async leave(): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS)
    await ended
    clearTimeout(timer)
  }

  async kill(): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}

export interface GroupOptions {
  readonly partitions?: number
  readonly assignor?: MemberOptions['assignor']
  readonly sessionTimeoutMs?: number
}

/** One group on a topic of its own, with what is written to it and what its members read. */
export class Group {
  readonly name: string
  readonly topic: string
  readonly members: Member[] = []
  readonly partitions: number
  readonly #address: string
  readonly #assignor: MemberOptions['assignor']
  readonly #sessionTimeoutMs: number
  readonly #written: string[] = []
  #wake: () => void = () => undefined

  private constructor(name: string, address: string, options: Required<GroupOptions>) {
    this.name = name
    this.topic = `topic-of-${name}`
    this.partitions = options.partitions
    this.#address = address
    this.#assignor = options.assignor
    this.#sessionTimeoutMs = options.sessionTimeoutMs
  }

  /** Creates the topic. */
  static async create(name: string, address: string, options: GroupOptions = {}): Promise<Group> {
    const { partitions = 6, assignor = 'range', sessionTimeoutMs = SESSION_TIMEOUT_MS } = options
    const group = new Group(name, address, { partitions, assignor, sessionTimeoutMs })
    const client = await WireClient.connect(Number(address.split(':')[1]))
    const created = await client.send(CreateTopics, 5, {
      topics: [
        {
          name: group.topic,
          numPartitions: partitions,
          replicationFactor: 1,
          assignments: [],
          configs: [],
        },
      ],
      timeoutMs: 10_000,
    })
    client.close()
    assert.equal(created.topics[0]?.errorCode, 0)
    return group
  }

  start(name: string, command: MemberCommand, instanceId?: string): Member {
    const words = command({
      bootstrap: this.#address,
      group: this.name,
      topic: this.topic,
      assignor: this.#assignor,
      sessionTimeoutMs: this.#sessionTimeoutMs,
      ...(instanceId === undefined ? {} : { instanceId }),
    })
    const member = new Member(`${this.name}/${name}`, words, () => this.#wake())
    this.members.push(member)
    return member
  }

  /** Writes `perPartition` records to each partition, acknowledged. */
  async write(perPartition: number): Promise<void> {
    const client = await WireClient.connect(Number(this.#address.split(':')[1]))
    for (let partition = 0; partition < this.partitions; partition += 1) {
      const values = Array.from({ length: perPartition }, (_, i) => `${this.#written.length + i}`)
      const records = buildBatch(
        values.map((value) => ({ timestamp: Date.now(), key: null, value: Buffer.from(value) })),
        0,
      )
      const answer = await client.send(Produce, 9, {
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: this.topic, partitionData: [{ index: partition, records }] }],
      })
      assert.equal(answer.responses[0]?.partitionResponses[0]?.errorCode, 0)
      this.#written.push(...values)
    }
    client.close()
  }

  /** Waits until the running members own all partitions, each exactly one, and none nothing. */
  async settled(): Promise<void> {
    await this.until('the partitions are shared out', () => {
      const running = this.members.filter(({ isRunning }) => isRunning)
      const owned = running.flatMap(({ assignment }) => assignment)
      return (
        owned.length === this.partitions &&
        new Set(owned).size === this.partitions &&
        running.every(({ assignment }) => assignment.length > 0)
      )
    })
  }

  /** Waits until everything that was written has been read by somebody. */
  async consumed(): Promise<void> {
    await this.until('everything is read', () => this.missing().length === 0)
  }

  missing(): string[] {
    const read = new Set(this.members.flatMap(({ values }) => values))
    return this.#written.filter((value) => !read.has(value))
  }

  /** Values that were read more than once. */
  repeated(): string[] {
    const all = this.members.flatMap(({ values }) => values)
    return all.filter((value, i) => all.indexOf(value) !== i)
  }

  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS
    while (!holds()) {
      const left = deadline - performance.now()
      if (left <= 0) {
        const missing = this.missing()
        assert.fail(
          `${this.name}: not ${what} in time; ${missing.length} missing (${missing.slice(0, 5)})\n` +
            this.members.map((member) => member.describe()).join('\n'),
        )
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(left, 1000))
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.members.map((member) => member.kill()))
  }
}
