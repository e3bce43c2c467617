/**
 * kcat as a client of the scenario: every request is a run of the program. It stamps records
 * itself, sets headers per run, and tells null from empty by an option per run, so that a list of
 * records is produced in as many runs as there are changes of these.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Client, ReadRecord, WireRecord } from '../../support/driver.ts'

const PATIENCE = 30_000
// Unlikely enough inside records.
const RECORD_END = '\u0001\u0002end\u0002\u0001'
const KEY_END = '\u0001\u0002key\u0002\u0001'

export class Kcat implements Client, AsyncDisposable {
  readonly #program: string
  readonly #bootstrap: string

  constructor(program: string, bootstrap: string) {
    this.#program = program
    this.#bootstrap = bootstrap
  }

  async createTopic(): Promise<void> {
    throw new Error('kcat creates no topics')
  }

  async produce(request: Parameters<Client['produce']>[0]): Promise<readonly number[]> {
    const options = [
      ...['-P', '-t', request.topic, '-p', String(request.partition), '-z', request.codec],
      ...['-X', `acks=${request.acks}`, '-X', 'message.max.bytes=1048576', '-X', 'linger.ms=5'],
      ...['-D', RECORD_END, '-K', KEY_END],
    ]
    if (request.idempotent) options.push('-X', 'enable.idempotence=true')
    for (const group of groups(request.records)) {
      const input = group.records.map((record) => Buffer.concat([...keyAndValue(record)]))
      await this.#run([...options, ...group.options], Buffer.concat(input))
    }
    return []
  }

  async read(request: Parameters<Client['read']>[0]): Promise<readonly ReadRecord[]> {
    const output = await this.#run([
      ...['-C', '-q', '-t', request.topic, '-p', String(request.partition)],
      ...['-o', String(request.offset), '-c', String(request.count)],
      ...['-X', 'fetch.wait.max.ms=500', '-f', '%o %T %K %S %h\n%k%s\n'],
    ])
    const records: ReadRecord[] = []
    for (let at = 0; at < output.length; ) {
      const { record, end } = parseRecord(output, at)
      records.push(record)
      at = end
    }
    return records
  }

  async offsetForTime(request: Parameters<Client['offsetForTime']>[0]): Promise<number> {
    const where = `${request.topic}:${request.partition}:${request.timestamp}`
    const output = (await this.#run(['-Q', '-t', where])).toString()
    const offset = /offset (-?\d+)/.exec(output)?.[1]
    assert.ok(offset !== undefined, `kcat printed: ${output}`)
    return Number(offset)
  }

  async #run(args: readonly string[], input?: Buffer): Promise<Buffer> {
    const child = spawn(this.#program, ['-b', this.#bootstrap, ...args], {
      timeout: PATIENCE,
      stdio: 'pipe',
    })
    const output: Buffer[] = []
    const errors: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => errors.push(chunk))
    // The exit status tells why the pipe broke.
    child.stdin.on('error', (error) => errors.push(Buffer.from(error.message)))
    child.stdin.end(input)
    const [code, signal] = await once(child, 'close')
    const said = Buffer.concat(errors).toString()
    assert.equal(code, 0, `kcat ${args[0]} ended with ${code ?? signal}:\n${said}`)
    return Buffer.concat(output)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing runs between requests.
  }
}

interface Group {
  readonly options: readonly string[]
  readonly records: WireRecord[]
}

/** Consecutive records that one run of kcat can produce. */
function groups(records: readonly WireRecord[]): Group[] {
  const result: Group[] = []
  for (const record of records) {
    const options = runOptions(record)
    const last = result.at(-1)
    if (last && last.options.join() === options.join()) last.records.push(record)
    else result.push({ options, records: [record] })
  }
  return result
}

function runOptions(record: WireRecord): string[] {
  const headers = record.headers.flatMap(([name, value]) => [
    '-H',
    value === null ? name : `${name}=${Buffer.from(value, 'base64').toString()}`,
  ])
  return record.value === null ? ['-Z', ...headers] : headers
}

function* keyAndValue(record: WireRecord): Generator<Buffer> {
  if (record.key !== null) {
    yield Buffer.from(record.key, 'base64')
    yield Buffer.from(KEY_END)
  }
  yield Buffer.from(record.value ?? '', 'base64')
  yield Buffer.from(RECORD_END)
}

/** One record as the format `%o %T %K %S %h\n%k%s\n` prints it; a length of -1 is null. */
function parseRecord(output: Buffer, at: number): { record: ReadRecord; end: number } {
  const lineEnd = output.indexOf('\n', at)
  assert.ok(lineEnd > 0, 'a record of kcat')
  const line = output.toString('utf8', at, lineEnd)
  const fields = /^(\d+) (-?\d+) (-?\d+) (-?\d+) (.*)$/s.exec(line)
  assert.ok(fields, `a record of kcat: ${line}`)
  const [keySize, valueSize] = [Number(fields[3]), Number(fields[4])]
  const valueAt = lineEnd + 1 + Math.max(keySize, 0)
  const end = valueAt + Math.max(valueSize, 0)
  const part = (size: number, from: number) =>
    size < 0 ? null : output.toString('base64', from, from + size)
  const record = {
    offset: Number(fields[1]),
    timestamp: Number(fields[2]),
    key: part(keySize, lineEnd + 1),
    value: part(valueSize, valueAt),
    headers: parseHeaders(fields[5] ?? ''),
  }
  return { record, end: end + 1 }
}

function parseHeaders(text: string): [string, string | null][] {
  if (text === '') return []
  return text.split(',').map((header) => {
    const at = header.indexOf('=')
    return [header.slice(0, at), Buffer.from(header.slice(at + 1)).toString('base64')]
  })
}
