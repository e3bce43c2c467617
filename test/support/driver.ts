/**
 * A client program under test. It reads one JSON request a line and prints one JSON answer a line,
 * in order; what it prints on standard error is shown when it fails.
 */
import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'

/** Bytes are base64; a header is a pair of its name and its value. */
export interface WireRecord {
  readonly key: string | null
  readonly value: string | null
  readonly headers: readonly (readonly [string, string | null])[]
  /** Milliseconds since 1970. */
  readonly timestamp: number
}

export interface ReadRecord extends WireRecord {
  readonly offset: number
}

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

export type DriverRequest =
  | {
      readonly op: 'createTopic'
      readonly topic: string
      readonly partitions: number
      readonly configs?: Readonly<Record<string, string>>
    }
  | {
      readonly op: 'produce'
      readonly topic: string
      readonly partition: number
      readonly codec: Codec
      readonly acks: -1 | 0 | 1
      /** The client's own default when absent. */
      readonly idempotent?: boolean
      readonly records: readonly WireRecord[]
    }
  | {
      readonly op: 'read'
      readonly topic: string
      readonly partition: number
      readonly offset: number
      readonly count: number
    }
  | {
      readonly op: 'offsetForTime'
      readonly topic: string
      readonly partition: number
      readonly timestamp: number
    }

interface DriverAnswer {
  readonly error?: string
  readonly offsets?: readonly number[]
  readonly records?: readonly ReadRecord[]
  readonly offset?: number
}

type Request<Op extends DriverRequest['op']> = Omit<Extract<DriverRequest, { op: Op }>, 'op'>

/** What the scenario needs of a client. */
export interface Client {
  createTopic(request: Request<'createTopic'>): Promise<void>
  /** @returns the offset of each record, or nothing if the client cannot tell. */
  produce(request: Request<'produce'>): Promise<readonly number[]>
  read(request: Request<'read'>): Promise<readonly ReadRecord[]>
  offsetForTime(request: Request<'offsetForTime'>): Promise<number>
}

export class Driver implements Client {
  readonly name: string
  /** Called when the program has ended after disposal. */
  onClose: (() => void) | null = null
  readonly #child: ChildProcessWithoutNullStreams
  readonly #waiting: ((line: string) => void)[] = []
  readonly #closed: Promise<void>
  #unfinished: Buffer[] = []
  #errors = ''
  #ended = false

  constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.name = `${command} ${args[0] ?? ''}`
    this.#child = spawn(command, args, { env: { ...process.env, ...env } })
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#errors = (this.#errors + chunk).slice(-16_384)
    })
    this.#child.stdout.on('data', (chunk: Buffer) => this.#receive(chunk))
    // A program that dies is reported by its exit, not by the broken pipe that follows.
    this.#child.stdin.on('error', (error) => {
      this.#errors += `\nstandard input: ${error.message}`
    })
    this.#closed = once(this.#child, 'close').then(
      () => this.#end(),
      (error: Error) => {
        this.#errors += error.message
        this.#end()
      },
    )
  }

  async createTopic(request: Request<'createTopic'>): Promise<void> {
    await this.#ask({ op: 'createTopic', ...request })
  }

  async produce(request: Request<'produce'>): Promise<readonly number[]> {
    const answer = await this.#ask({ op: 'produce', ...request })
    return answer.offsets ?? []
  }

  async read(request: Request<'read'>): Promise<readonly ReadRecord[]> {
    const answer = await this.#ask({ op: 'read', ...request })
    return answer.records ?? []
  }

  async offsetForTime(request: Request<'offsetForTime'>): Promise<number> {
    const answer = await this.#ask({ op: 'offsetForTime', ...request })
    assert.ok(answer.offset !== undefined, `${this.name}: no offset in its answer`)
    return answer.offset
  }

  async #ask(request: DriverRequest): Promise<DriverAnswer> {
    const line = await new Promise<string>((settle) => {
      if (this.#ended) return settle('')
      this.#waiting.push(settle)
      this.#child.stdin.write(`${JSON.stringify(request)}\n`)
    })
    assert.notEqual(line, '', `${this.name} ended during ${request.op}:\n${this.#errors}`)
    const answer = JSON.parse(line) as DriverAnswer
    const what = `${this.name}: ${request.op} of ${request.topic}`
    assert.equal(answer.error, undefined, `${what}: ${answer.error}\n${this.#errors}`)
    return answer
  }

  #receive(chunk: Buffer): void {
    let from = 0
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      this.#unfinished.push(chunk.subarray(from, end))
      const line = Buffer.concat(this.#unfinished).toString()
      this.#unfinished = []
      from = end + 1
      if (line.startsWith('{')) this.#waiting.shift()?.(line)
    }
    this.#unfinished.push(chunk.subarray(from))
  }

  #end(): void {
    this.#ended = true
    for (const settle of this.#waiting.splice(0)) settle('')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    await this.#closed
    this.onClose?.()
  }
}
