/** Drives the C client on librdkafka (bench/client/): compiles it, starts jobs, reads results. */
import assert from 'node:assert/strict'
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'
import { endingWithUs, runProgram } from './brokers.ts'
import { cpuSeconds } from './process-usage.ts'

const root = join(import.meta.dirname, '..', '..')
const source = join(root, 'bench', 'client', 'bench-client.c')
const program = join(root, 'dist', 'bench', 'client', 'bench-client')

/** Compiles the client if its source is newer. Says what to install when that fails. */
export async function buildClient(): Promise<void> {
  if (existsSync(program) && statSync(program).mtimeMs > statSync(source).mtimeMs) return
  mkdirSync(join(program, '..'), { recursive: true })
  const flags = ['-std=gnu17', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread']
  await runProgram('gcc', [...flags, '-o', program, source, '-lrdkafka']).catch((error: Error) => {
    throw new Error(`the client needs gcc and librdkafka (apt install librdkafka-dev): ${error}`)
  })
}

export type Settings = Readonly<Record<string, string | number>>

function argumentsOf(settings: Settings): string[] {
  return Object.entries(settings).map(([name, value]) => `${name}=${value}`)
}

export function createTopic(brokers: string, topic: string, partitions: number): Promise<string> {
  return runProgram(program, ['create', ...argumentsOf({ brokers, topic, partitions })])
}

export function deleteTopic(brokers: string, topic: string): Promise<string> {
  return runProgram(program, ['delete', ...argumentsOf({ brokers, topic })])
}

/** Records in a topic: the sum of (high watermark - low watermark) over its partitions. */
export async function countRecords(
  brokers: string,
  topic: string,
  partitions: number,
): Promise<number> {
  const text = await runProgram(program, [
    'offsets',
    ...argumentsOf({ brokers, topic, partitions }),
  ])
  const answer = JSON.parse(text) as { partitions: [number, number][] }
  return answer.partitions.reduce((sum, [low, high]) => sum + high - low, 0)
}

export interface JobResult {
  readonly records: number
  readonly bytes: number
  readonly seconds: number
  /** CPU seconds of the client and of the brokers while the job ran. */
  readonly clientCpu: number
  readonly brokerCpu: number
  readonly produceRequests: number
  readonly fetchRequests: number
  /** Microseconds; of a latency job only. */
  readonly p50?: number
  readonly p99?: number
  readonly p999?: number
  /** Until the acknowledgement, where the others are until the record is consumed. */
  readonly acknowledgedP50?: number
  readonly acknowledgedP99?: number
}

interface ClientEvent {
  readonly event: string
  readonly [field: string]: unknown
}

export type JobName = 'produce' | 'consume' | 'latency'

/** The client at work: what it tells, line by line, and its end. */
class ClientProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #end: Promise<void>
  readonly #waiting = new Map<string, (event: ClientEvent) => void>()
  readonly #heard: (event: ClientEvent) => void

  constructor(job: JobName | 'steady', settings: Settings, heard: (event: ClientEvent) => void) {
    this.#heard = heard
    const args = [job, ...argumentsOf(settings)]
    const { command, args: all } = endingWithUs({ command: program, args })
    this.#child = spawn(command, all, { stdio: ['pipe', 'pipe', 'pipe'] })
    let errors = ''
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-16_384)
    })
    // What it does not read any more is told by the way it ends.
    this.#child.stdin.on('error', () => undefined)
    let unfinished = ''
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (unfinished + text).split('\n')
      unfinished = lines.pop() ?? ''
      for (const line of lines) this.#take(JSON.parse(line) as ClientEvent)
    })
    this.#end = new Promise((settle, fail) => {
      this.#child.once('error', fail)
      this.#child.once('close', (code, signal) => {
        const how = `bench-client ${args.join(' ')} ended with ${code ?? signal}:\n${errors}`
        if (code === 0) settle()
        else fail(new Error(how))
      })
    })
    this.#end.catch(() => undefined)
  }

  #take(event: ClientEvent): void {
    this.#heard(event)
    this.#waiting.get(event.event)?.(event)
    this.#waiting.delete(event.event)
  }

  /** Resolves when it has ended well; throws with its errors if it has not. */
  get end(): Promise<void> {
    return this.#end
  }

  write(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  closeInput(): void {
    this.#child.stdin.end()
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }

  /** The next event of that name; one caller at a time. */
  next(name: string): Promise<ClientEvent> {
    const told = new Promise<ClientEvent>((tell) => this.#waiting.set(name, tell))
    const ended = this.#end.then(() => Promise.reject(new Error(`bench-client: no ${name}`)))
    return Promise.race([told, ended])
  }
}

/** Runs a job; the brokers' CPU is taken from the moment the client is connected to its end. */
export async function runJob(
  job: JobName,
  brokerPids: readonly number[],
  settings: Settings,
): Promise<JobResult> {
  const allCpuSeconds = () => brokerPids.reduce((sum, pid) => sum + cpuSeconds(pid), 0)
  let cpuBefore = 0
  let brokerCpu = 0
  const events = new Map<string, ClientEvent>()
  const client = new ClientProcess(job, { 'statistics.interval.ms': 250, ...settings }, (event) => {
    events.set(event.event, event)
    if (event.event === 'ready') {
      cpuBefore = allCpuSeconds()
      client.write('go')
    } else if (event.event === 'done') {
      brokerCpu = allCpuSeconds() - cpuBefore
    }
  })
  await client.end
  const done = events.get('done')
  const requests = events.get('requests')
  assert.ok(done && requests, `bench-client ${job} reported nothing`)
  return {
    ...(done as unknown as Omit<JobResult, 'brokerCpu'>),
    brokerCpu,
    produceRequests: Number(requests['produce']),
    fetchRequests: Number(requests['fetch']),
  }
}

/** What was acknowledged since a mark. */
export interface Acknowledged {
  readonly records: number
  /** The longest time between two acknowledgements, the one before the mark among them. */
  readonly longestGapMs: number
  /** Since the last acknowledgement. */
  readonly silentMs: number
}

/** Records at a steady rate, whatever happens to the brokers, until it is stopped. */
export class SteadyProducer {
  readonly #client: ClientProcess

  private constructor(client: ClientProcess) {
    this.#client = client
  }

  static async start(settings: Settings): Promise<SteadyProducer> {
    const client = new ClientProcess('steady', settings, () => undefined)
    await client.next('ready')
    client.write('go')
    return new SteadyProducer(client)
  }

  async mark(): Promise<void> {
    this.#client.write('mark')
    await this.#client.next('marked')
  }

  async report(): Promise<Acknowledged> {
    this.#client.write('report')
    return (await this.#client.next('report')) as unknown as Acknowledged
  }

  /** Waits for the last acknowledgement; the number of records. */
  async stop(): Promise<number> {
    this.#client.closeInput()
    const { records } = await this.#client.next('done')
    await this.#client.end
    return Number(records)
  }

  [Symbol.dispose](): void {
    this.#client.kill()
  }
}
