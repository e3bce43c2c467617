/**
 * Kafka Connect's distributed worker on the broker: its group of its own protocol, its three
 * compacted topics, and a connector each way. After a stop, and after a crash, of worker and broker
 * it goes on where it was, from what compaction has left, and no line is there twice.
 */
import assert from 'node:assert/strict'
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { Admin, allOrThrow, ConfigResourceType } from '../../../src/client/admin.ts'
import { startBrokerUnderTest } from '../../support/broker.ts'
import { peer, skipWithout } from '../../support/peers.ts'
import { type Exit, freePort, ServerProcess } from '../../support/server-process.ts'
import { until } from '../../support/until.ts'
import { compacted } from './compaction.ts'

const SETTINGS = { 'log.cleaner.backoff.ms': '20', 'group.initial.rebalance.delay.ms': '0' }
const GROUP = 'connect-workers'
const TOPIC = 'lines'
const INTERNAL = ['connect-config', 'connect-offset', 'connect-status']
const LOGGING = `log4j.rootLogger=WARN, out
log4j.logger.org.apache.kafka.connect.runtime.rest.RestServer=INFO
log4j.logger.org.apache.kafka.connect.runtime.distributed.DistributedHerder=INFO
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=[%d] %p %m (%c)%n
`

class Worker {
  readonly #process: ServerProcess
  readonly #url: string

  private constructor(process: ServerProcess, url: string) {
    this.#process = process
    this.#url = url
  }

  static async start(folder: string, address: string): Promise<Worker> {
    const url = `http://127.0.0.1:${await freePort()}`
    const converter = 'org.apache.kafka.connect.storage.StringConverter'
    const config: Record<string, string> = {
      'bootstrap.servers': address,
      'group.id': GROUP,
      'key.converter': converter,
      'value.converter': converter,
      listeners: url,
      'plugin.path': folder,
      'plugin.discovery': 'service_load',
      'session.timeout.ms': '6000',
      'heartbeat.interval.ms': '500',
      'scheduled.rebalance.max.delay.ms': '0',
      'offset.flush.interval.ms': '50',
      'offset.storage.partitions': '1',
      // Some offsets a segment, so that there is something to clean.
      'offset.storage.segment.bytes': '500',
      'offset.storage.min.cleanable.dirty.ratio': '0.01',
      'consumer.auto.offset.reset': 'earliest',
    }
    for (const name of INTERNAL) {
      const key = `${name.replace('connect-', '')}.storage`
      config[`${key}.topic`] = name
      config[`${key}.replication.factor`] = '1'
    }
    const properties = join(folder, 'worker.properties')
    writeFileSync(properties, lines(config))
    const logging = join(folder, 'log4j.properties')
    writeFileSync(logging, LOGGING)
    const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx256m']
    const process = await ServerProcess.start({
      command: 'java',
      args: [
        ...[...jvm, `-Dlog4j.configuration=file:${logging}`],
        ...['-cp', `${peer('kafka-tools')}/*:${peer('connect-file')}/*`],
        ...['org.apache.kafka.connect.cli.ConnectDistributed', properties],
      ],
      ready: /Finished starting connectors and tasks/,
      patience: 90_000,
    })
    return new Worker(process, url)
  }

  /** Waits until a connector and its task run. */
  async running(connector: string): Promise<void> {
    let told = ''
    const isRunning = async () => {
      const answer = await fetch(`${this.#url}/connectors/${connector}/status`)
      told = await answer.text()
      // Connectors are started before all of its own interface is.
      if (!answer.ok) return false
      const { connector: state, tasks } = JSON.parse(told)
      return state?.state === 'RUNNING' && tasks?.[0]?.state === 'RUNNING'
    }
    await until(`${connector} runs`, isRunning).catch((error: Error) => {
      throw new Error(`${error.message}: ${told}\n${this.#process.output}`)
    })
  }

  /** What a connector has stored, of its one partition. */
  async offset(connector: string): Promise<Record<string, unknown> | undefined> {
    const answer = await fetch(`${this.#url}/connectors/${connector}/offsets`)
    const { offsets } = (await answer.json()) as { offsets?: { offset: Record<string, unknown> }[] }
    return offsets?.[0]?.offset
  }

  async configure(connector: string, config: Record<string, string>): Promise<void> {
    let told = ''
    const isTaken = async () => {
      const answer = await fetch(`${this.#url}/connectors/${connector}/config`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(config),
      })
      told = `${answer.status} ${await answer.text()}`
      // It is not there yet, or its group is being balanced.
      if (!answer.ok) assert.ok(answer.status === 404 || answer.status === 409, told)
      return answer.ok
    }
    await until(() => `${connector} is taken; told ${told}`, isTaken)
  }

  stop(): Promise<Exit> {
    return this.#process.kill('SIGTERM')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill('SIGKILL')
  }
}

function lines(config: Readonly<Record<string, string>>): string {
  return Object.entries(config)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')
}

function numbers(first: number, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `line ${first + i}`)
}

test('Kafka Connect goes on from its compacted topics', async (t) => {
  if (skipWithout(t, 'kafka-tools', 'connect-file')) return
  const folder = mkdtempSync(join(tmpdir(), 'shardlog-connect-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  await using broker = await startBrokerUnderTest(SETTINGS)
  const admin = new Admin({ bootstrapServers: broker.address })
  t.after(() => admin.close())
  allOrThrow(await admin.createTopics([{ name: TOPIC, partitions: 1 }]))
  const input = join(folder, 'input')
  const output = join(folder, 'output')
  writeFileSync(input, '')
  const written: string[] = []
  const write = (count: number): void => {
    const more = numbers(written.length, count)
    written.push(...more)
    appendFileSync(input, `${more.join('\n')}\n`)
  }
  const read = (): string[] =>
    existsSync(output) ? readFileSync(output, 'utf8').split('\n').slice(0, -1) : []
  /** Waits until all lines are on the other side, and both connectors have stored that. */
  const arrived = async (worker: Worker): Promise<void> => {
    await until(`line ${written.length - 1} arrives`, () => read().includes(written.at(-1) ?? ''))
    await until('the source has stored its position', async () => {
      return (await worker.offset('source'))?.['position'] === statSync(input).size
    })
    await until('the sink has committed its offset', async () => {
      return (await worker.offset('sink'))?.['kafka_offset'] === written.length
    })
  }

  await t.test('a worker, its topics, and a connector each way', async () => {
    await using worker = await Worker.start(folder, broker.address)
    const file = 'org.apache.kafka.connect.file.FileStream'
    await worker.configure('source', {
      'connector.class': `${file}SourceConnector`,
      'tasks.max': '1',
      file: input,
      topic: TOPIC,
    })
    await worker.configure('sink', {
      'connector.class': `${file}SinkConnector`,
      'tasks.max': '1',
      file: output,
      topics: TOPIC,
    })
    await worker.running('source')
    await worker.running('sink')
    const resources = INTERNAL.map((name) => ({ type: ConfigResourceType.TOPIC, name }))
    for (const { resource, entries } of allOrThrow(await admin.describeConfigs(resources))) {
      const policy = entries.find((entry) => entry.name === 'cleanup.policy')
      assert.equal(policy?.value, 'compact', resource.name)
    }
    const [group] = await admin.describeGroups([GROUP])
    assert.equal(group?.protocolType, 'connect')
    assert.equal(group?.protocol, 'sessioned')
    assert.equal(group?.state, 'Stable')
    // The position after each of them is a record.
    for (let i = 0; i < 10; i += 1) {
      write(1)
      await arrived(worker)
    }
    assert.deepEqual(read(), written)
    assert.equal((await worker.stop()).signal, null)
  })

  await t.test('after a stop, from what compaction has left', async () => {
    await compacted(broker.dataDir, 'connect-offset', 0)
    await broker.stop()
    await broker.start(SETTINGS)
    write(5)
    await using worker = await Worker.start(folder, broker.address)
    await worker.running('source')
    await worker.running('sink')
    await arrived(worker)
    write(5)
    await arrived(worker)
    assert.deepEqual(read(), written)
  })

  await t.test('after a crash of both', async () => {
    await broker.kill('SIGKILL')
    write(5)
    await broker.start(SETTINGS)
    await using worker = await Worker.start(folder, broker.address)
    await worker.running('source')
    await worker.running('sink')
    await arrived(worker)
    assert.deepEqual(read(), written)
  })
})
