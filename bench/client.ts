/** Drives the C client on librdkafka (bench/client/): compiles it, starts jobs, reads results. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
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
  /** CPU seconds of the client and of the broker while the job ran. */
  readonly clientCpu: number
  readonly brokerCpu: number
  readonly produceRequests: number
  readonly fetchRequests: number
  /** Microseconds; of a latency job only. */
  readonly p50?: number
  readonly p99?: number
  readonly p999?: number
}

interface ClientEvent {
  readonly event: string
  readonly [field: string]: unknown
}

export type JobName = 'produce' | 'consume' | 'latency'

/** Runs a job; the broker's CPU is taken from the moment the client is connected to its end. */
export async function runJob(
  job: JobName,
  brokerPid: number,
  settings: Settings,
): Promise<JobResult> {
  const args = [job, ...argumentsOf({ 'statistics.interval.ms': 250, ...settings })]
  const { command, args: all } = endingWithUs({ command: program, args })
  const child = spawn(command, all, { stdio: ['pipe', 'pipe', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-16_384)
  })
  const closed = new Promise<number | string>((settle, fail) => {
    child.once('error', fail)
    child.once('close', (code, signal) => settle(code ?? signal ?? 'unknown'))
  })
  let cpuBefore = 0
  let brokerCpu = 0
  const events = new Map<string, ClientEvent>()
  let unfinished = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const lines = (unfinished + text).split('\n')
    unfinished = lines.pop() ?? ''
    for (const line of lines) {
      const event = JSON.parse(line) as ClientEvent
      events.set(event.event, event)
      if (event.event === 'ready') {
        cpuBefore = cpuSeconds(brokerPid)
        child.stdin.write('go\n')
      } else if (event.event === 'done') {
        brokerCpu = cpuSeconds(brokerPid) - cpuBefore
      }
    }
  })
  const code = await closed
  const done = events.get('done')
  const requests = events.get('requests')
  assert.equal(code, 0, `bench-client ${args.join(' ')} ended with ${code}:\n${errors}`)
  assert.ok(done && requests, `bench-client ${args.join(' ')} reported nothing:\n${errors}`)
  return {
    ...(done as unknown as Omit<JobResult, 'brokerCpu'>),
    brokerCpu,
    produceRequests: Number(requests['produce']),
    fetchRequests: Number(requests['fetch']),
  }
}
