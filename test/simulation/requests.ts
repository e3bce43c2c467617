/**
 * Requests over simulated connections. What goes between brokers is encoded and decoded by the very
 * codecs that production has, in the versions that it speaks, so that no two nodes share an object
 * and a field that a version lacks is lost here too. Answers come in the order of the requests.
 */
import {
  decodeRequest,
  decodeResponse,
  encodeRequest,
  encodeResponse,
} from '../../src/protocol/codec.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import type {
  ApiSchema,
  RequestInput,
  RequestOf,
  ResponseInput,
  ResponseOf,
} from '../../src/protocol/schema.ts'
import type { Timer } from '../../src/util/timer-queue.ts'
import type { Network, Wire } from './network.ts'
import type { SimulatedProcess } from './simulated-process.ts'

interface Request {
  readonly name: string
  readonly body: unknown
}

type Answer = { readonly body: unknown } | { readonly error: string }

/** One connection as its server sees it. */
export interface Caller {
  readonly peer: string
  /** Called when the connection is gone. */
  onLost: (() => void) | null
}

export type Answering = (request: Request, caller: Caller) => Promise<unknown>

/** Answers what is asked of a process under that name. */
export function answerRequests(
  network: Network,
  process: SimulatedProcess,
  service: string,
  answering: Answering,
): void {
  network.serve<Answer, Request>(process, service, (peer, wire) => {
    const caller: Caller = { peer, onLost: null }
    let last: Promise<void> = Promise.resolve()
    return {
      received: (request) => {
        if (request.name !== 'Fetch' && request.name !== 'Metadata') {
          process.world.show(process.name, () => `  ${request.name} from ${peer}`)
        }
        // It begins now, and is answered when all before it are.
        const answered = answering(request, caller)
        answered.catch(() => undefined)
        last = last
          .then(() => answered)
          .then(
            (body) => wire.send({ body }),
            (error: unknown) => {
              process.trace(`${request.name} failed: ${String(error)}`)
              wire.send({ error: String(error) })
            },
          )
      },
      lost: () => caller.onLost?.(),
    }
  })
}

interface Waiting {
  readonly resolve: (body: unknown) => void
  readonly reject: (error: Error) => void
  readonly timer: Timer
}

/** A connection over which requests are made. It is closed when an answer takes too long. */
export class Requester {
  readonly #process: SimulatedProcess
  readonly #timeoutMs: number
  #wire: Wire<Request> | null = null
  #waiting: Waiting[] = []
  #isOver = false
  /** Called once when the connection is lost. */
  onLost: (() => void) | null = null

  private constructor(process: SimulatedProcess, timeoutMs: number) {
    this.#process = process
    this.#timeoutMs = timeoutMs
  }

  static async open(
    network: Network,
    from: SimulatedProcess,
    to: { readonly process: SimulatedProcess; readonly service: string },
    timeouts: { readonly connectMs: number; readonly requestMs: number },
  ): Promise<Requester> {
    const requester = new Requester(from, timeouts.requestMs)
    requester.#wire = await network.connect<Request, Answer>(from, to, timeouts.connectMs, () => ({
      received: (answer) => requester.#received(answer),
      lost: () => requester.#lose('the connection was lost'),
    }))
    return requester
  }

  request(name: string, body: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#isOver) {
        reject(new Error('the connection is closed'))
        return
      }
      const timer = this.#process.at(this.#timeoutMs, () => {
        this.#wire?.close()
        this.#lose('no answer in time')
      })
      this.#waiting.push({ resolve, reject, timer })
      this.#wire?.send({ name, body })
    })
  }

  close(): void {
    this.onLost = null
    this.#wire?.close()
    this.#lose('the connection is closed')
  }

  #received(answer: Answer): void {
    const waiting = this.#waiting.shift()
    waiting?.timer.cancel()
    if ('error' in answer) waiting?.reject(new Error(answer.error))
    else waiting?.resolve(answer.body)
  }

  #lose(why: string): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const { reject, timer } of this.#waiting.splice(0)) {
      timer.cancel()
      reject(new Error(why))
    }
    this.onLost?.()
  }
}

const writer = new MessageWriter()
const reader = new MessageReader()

/** Asks in the wire format of that version. */
export async function ask<A extends ApiSchema>(
  requester: Pick<Requester, 'request'>,
  api: A,
  version: number,
  request: RequestInput<A>,
): Promise<ResponseOf<A>> {
  encodeRequest(api, version, writer.reset(), request)
  const bytes = (await requester.request(api.name, copied())) as Buffer
  return decodeResponse(api, version, reader.reset(bytes, 0, bytes.length, false))
}

/** Answers in the wire format of that version. */
export async function answer<A extends ApiSchema>(
  api: A,
  version: number,
  body: unknown,
  carryOut: (request: RequestOf<A>) => Promise<ResponseInput<A>>,
): Promise<Buffer> {
  const bytes = body as Buffer
  const request = decodeRequest(api, version, reader.reset(bytes, 0, bytes.length, false))
  const response = await carryOut(request)
  encodeResponse(api, version, writer.reset(), response)
  return copied()
}

function copied(): Buffer {
  return Buffer.from(writer.buffer.subarray(0, writer.at))
}
