/**
 * Any message of every API, direction and version survives encode and decode. Truncated and
 * mutated bytes give MalformedMessageError or a value, nothing else, and in little time.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { APIS } from '../../src/protocol/apis.ts'
import { MalformedMessageError } from '../../src/protocol/message-reader.ts'
import type { ApiSchema } from '../../src/protocol/schema.ts'
import {
  arbitraryStruct,
  DIRECTIONS,
  type Direction,
  decodeAny,
  encodeAny,
  flexibleIn,
  versionsOf,
  withRecordsRead,
} from './arbitrary-message.ts'

function eachTable(
  visit: (table: { api: ApiSchema; direction: Direction; version: number }) => void,
): void {
  for (const api of APIS) {
    for (const direction of DIRECTIONS) {
      for (const version of versionsOf(api)) visit({ api, direction, version })
    }
  }
}

test('every message of every version is what it was after encode and decode', () => {
  eachTable(({ api, direction, version }) => {
    const fields = api[direction]
    const message = arbitraryStruct(fields, version, flexibleIn(api, version))
    fc.assert(
      fc.property(message, (value) => {
        const bytes = encodeAny(api, direction, version, value)
        const decoded = decodeAny(api, direction, version, bytes)
        assert.deepEqual(withRecordsRead(fields, decoded, bytes), value, `${api.name} ${version}`)
      }),
      { numRuns: 40 },
    )
  })
})

test('every truncation of a message is malformed', () => {
  eachTable(({ api, direction, version }) => {
    const message = arbitraryStruct(api[direction], version, flexibleIn(api, version))
    for (const value of fc.sample(message, 4)) {
      const bytes = encodeAny(api, direction, version, value)
      for (let length = 0; length < bytes.length; length += 1) {
        assert.throws(
          () => decodeAny(api, direction, version, bytes.subarray(0, length)),
          MalformedMessageError,
          `${api.name} ${direction} ${version}: ${length} of ${bytes.length} bytes`,
        )
      }
    }
  })
})

/** Overwrites a few bytes, favouring those that make a length or count extreme. */
const mutations = fc.array(
  fc.record({
    at: fc.nat(),
    byte: fc.oneof(fc.constantFrom(0x00, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 255 })),
    run: fc.integer({ min: 1, max: 5 }),
  }),
  { minLength: 1, maxLength: 4 },
)

test('mutated messages are malformed or something else, but never a crash', () => {
  eachTable(({ api, direction, version }) => {
    const message = arbitraryStruct(api[direction], version, flexibleIn(api, version))
    fc.assert(
      fc.property(message, mutations, (value, changes) => {
        const bytes = encodeAny(api, direction, version, value)
        for (const { at, byte, run } of changes) {
          if (bytes.length === 0) break
          const start = at % bytes.length
          bytes.fill(byte, start, Math.min(start + run, bytes.length))
        }
        try {
          decodeAny(api, direction, version, bytes)
        } catch (error) {
          assert.ok(error instanceof MalformedMessageError, `${api.name} ${version}: ${error}`)
        }
      }),
      { numRuns: 100 },
    )
  })
})
