/**
 * Mutated frames of every API against a running broker: it must not crash, not stall a client that
 * behaves, and not grow. SHARDLOG_TEST_SEED repeats a run, SHARDLOG_FUZZ_FRAMES sets its length.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { APIS } from '../../src/protocol/apis.ts'
import { encodeRequest } from '../../src/protocol/codec.ts'
import { writeRequestHeader } from '../../src/protocol/headers.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import type { RequestInput } from '../../src/protocol/schema.ts'
import { parseVersions } from '../../src/protocol/schema.ts'
import { arbitraryStruct, flexibleIn } from '../protocol/arbitrary-message.ts'
import { ShardlogServer } from '../support/broker.ts'
import { seededRandom, testSeed } from '../support/seed.ts'
import { WireClient } from '../support/wire-client.ts'

const FRAMES = Number(process.env['SHARDLOG_FUZZ_FRAMES'] ?? 200_000)
const CONNECTIONS = 24
/** Few: the first one that is malformed ends its connection. */
const FRAMES_PER_CONNECTION = 4
const GROWTH_MAX_BYTES = 200 << 20
const CANARY_WAIT_MAX_MS = 20_000

/** A few requests of every API and version, as bytes without their length. */
function corpus(seed: number): Buffer[] {
  const frames: Buffer[] = []
  for (const api of APIS) {
    const { min, max } = parseVersions(api.versions)
    for (let version = min; version <= max; version += 1) {
      const samples = fc.sample(arbitraryStruct(api.request, version, flexibleIn(api, version)), {
        seed: seed + api.key * 100 + version,
        numRuns: 4,
      })
      for (const sample of samples) {
        const writer = new MessageWriter()
        writeRequestHeader(writer, api, { apiVersion: version, correlationId: 7, clientId: 'fuzz' })
        encodeRequest(api, version, writer, sample as RequestInput<typeof api>)
        frames.push(Buffer.from(writer.written))
      }
    }
  }
  return frames
}

function mutate(frame: Buffer, random: () => number): Buffer {
  const below = (bound: number): number => Math.floor(random() * bound)
  let bytes: Buffer = Buffer.from(frame)
  const interesting = [0, 1, 0x7f, 0x80, 0xff, 0xfe]
  for (let i = below(4) + 1; i > 0; i -= 1) {
    const at = below(bytes.length)
    switch (below(6)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << below(8))
        break
      case 1:
        bytes[at] = interesting[below(interesting.length)] as number
        break
      case 2:
        bytes = bytes.subarray(0, Math.max(9, at))
        break
      case 3:
        bytes = Buffer.concat([bytes, Buffer.alloc(below(20), below(256))])
        break
      case 4:
        if (at + 4 <= bytes.length) bytes.writeInt32BE(below(2) === 0 ? 0x7fffffff : -below(10), at)
        break
      case 5: {
        const from = below(bytes.length)
        const piece = bytes.subarray(from, from + below(30))
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)])
        break
      }
    }
  }
  // What is tested are the decoders and handlers: most frames keep their API and its version.
  if (below(10) > 0) frame.copy(bytes, 0, 0, 4)
  return bytes
}

function framed(bytes: Buffer, random: () => number): Buffer {
  const length = Buffer.alloc(4)
  const lie = random() < 0.01 ? Math.floor(random() * 3) - 1 : 0
  length.writeInt32BE(Math.max(0, bytes.length + lie))
  return Buffer.concat([length, bytes])
}

/** Writes frames until the broker closes the connection, or all are out. */
async function throwAt(port: number, frames: readonly Buffer[]): Promise<void> {
  await new Promise<void>((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.on('close', () => resolve())
    socket.on('connect', () => {
      socket.resume()
      for (const frame of frames) socket.write(frame)
      socket.end()
    })
  })
}

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

test(`${FRAMES} mutated frames do no harm`, { timeout: 600_000 }, async (t) => {
  const seed = testSeed()
  t.diagnostic(`SHARDLOG_TEST_SEED=${seed}`)
  const random = seededRandom(seed)
  await using broker = new ShardlogServer()
  await broker.start({ 'auto.create.topics.enable': 'false', 'shardlog.log.level': 'error' })
  const port = Number(broker.address.split(':')[1])
  const frames = corpus(seed)
  const before = residentBytes(broker.pid)
  const canary = await WireClient.connect(port)
  let sent = 0
  let slowest = 0
  const workers = Array.from({ length: CONNECTIONS }, async () => {
    while (sent < FRAMES) {
      const batch: Buffer[] = []
      for (let i = 0; i < FRAMES_PER_CONNECTION; i += 1) {
        const frame = frames[Math.floor(random() * frames.length)] as Buffer
        batch.push(framed(mutate(frame, random), random))
      }
      sent += batch.length
      await throwAt(port, batch)
    }
  })
  let running = true
  const watch = (async () => {
    while (running) {
      const from = performance.now()
      const answer = await canary.send(Metadata, 9, { topics: [] })
      slowest = Math.max(slowest, performance.now() - from)
      assert.equal(answer.brokers.length, 1)
      await new Promise(setImmediate)
    }
  })()
  await Promise.all(workers)
  running = false
  await watch
  canary.close()
  const grown = residentBytes(broker.pid) - before
  t.diagnostic(`${sent} frames, slowest canary ${Math.round(slowest)} ms, ${grown >> 20} MiB more`)
  assert.ok(slowest < CANARY_WAIT_MAX_MS, `the canary waited ${slowest} ms`)
  assert.ok(grown < GROWTH_MAX_BYTES, `${grown} bytes more`)
  assert.equal((await broker.stop()).code, 0, broker.output)
})
