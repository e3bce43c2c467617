/**
 * Byte for byte against Apache Kafka's generated classes: a small Java program decodes random
 * messages of ours in every version and must encode the same bytes. Also our table of errors.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { APIS } from '../../src/protocol/apis.ts'
import { ErrorCode, errorOf } from '../../src/protocol/error-codes.ts'
import { type ApiSchema, parseVersions } from '../../src/protocol/schema.ts'
import { jarToRun, runJava } from '../support/java-program.ts'
import { KAFKA_CLIENTS_VERSIONS, messageDefinitions } from '../support/kafka-clients-jar.ts'
import {
  arbitraryStruct,
  DIRECTIONS,
  type Direction,
  encodeAny,
  flexibleIn,
  versionsOf,
} from './arbitrary-message.ts'

const MESSAGES_EACH = 25
const SEED = Number(process.env['SHARDLOG_SEED'] ?? Date.now() % 2 ** 31)

interface Sample {
  readonly api: ApiSchema
  readonly direction: Direction
  readonly version: number
  readonly body: Buffer
}

/** Random bodies of every version that the jar has too. */
function samplesFor(jar: string): Sample[] {
  const definitions = messageDefinitions(jar)
  const samples: Sample[] = []
  for (const api of APIS) {
    for (const direction of DIRECTIONS) {
      const name = `${api.name}${direction === 'request' ? 'Request' : 'Response'}`
      const { min, max } = parseVersions(definitions.get(name)?.validVersions ?? 'none')
      for (const version of versionsOf(api)) {
        if (version < min || version > max) continue
        const message = arbitraryStruct(api[direction], version, flexibleIn(api, version))
        for (const value of fc.sample(message, { numRuns: MESSAGES_EACH, seed: SEED })) {
          const body = encodeAny(api, direction, version, value)
          samples.push({ api, direction, version, body })
        }
      }
    }
  }
  return samples
}

function inputOf(samples: readonly Sample[]): Buffer {
  const parts: Buffer[] = []
  for (const { api, direction, version, body } of samples) {
    const header = Buffer.alloc(9)
    header.writeInt16BE(api.key, 0)
    header.writeInt16BE(version, 2)
    header.writeInt8(direction === 'response' ? 1 : 0, 4)
    header.writeInt32BE(body.length, 5)
    parts.push(header, body)
  }
  return Buffer.concat(parts)
}

for (const version of KAFKA_CLIENTS_VERSIONS) {
  test(`Kafka ${version} encodes the bytes that we encode`, (t) => {
    const jar = jarToRun(t, version)
    if (jar === null) return
    const samples = samplesFor(jar)
    const output = runJava(jar, 'MessageRoundTrip.java', inputOf(samples))
    let at = 0
    for (const { api, direction, version: apiVersion, body } of samples) {
      const where = `${api.name} ${direction} ${apiVersion}, SHARDLOG_SEED=${SEED}`
      const ok = output[at] === 1
      const bytes = output.readInt32BE(at + 1)
      const answer = output.subarray(at + 5, at + 5 + bytes)
      at += 5 + bytes
      assert.ok(ok, `${where}: ${answer} for ${body.toString('hex')}`)
      assert.equal(answer.toString('hex'), body.toString('hex'), where)
    }
    assert.equal(at, output.length)
    t.diagnostic(`${samples.length} messages, seed ${SEED}`)
  })
}

test('every error has the code, the name and the retriability that Kafka gives it', (t) => {
  const jar = jarToRun(t, '4.1.1')
  if (jar === null) return
  const lines = runJava(jar, 'ErrorTable.java', Buffer.alloc(0)).toString().trim().split('\n')
  const codes = new Set<number>()
  for (const line of lines) {
    const [code, name, retriable] = line.split(' ')
    const error = errorOf(Number(code))
    assert.equal(`${error.code} ${error.name} ${error.retriable}`, `${code} ${name} ${retriable}`)
    codes.add(error.code)
  }
  assert.deepEqual([...Object.values(ErrorCode)].sort(ascending), [...codes].sort(ascending))
})

function ascending(a: number, b: number): number {
  return a - b
}
