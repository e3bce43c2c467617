/**
 * Batches made for producers and read for consumers: whatever is encoded decodes to itself in every
 * codec, and bytes that are no records are an error that says so.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { COMPRESSION_CODECS, type CompressionType } from '../../src/client/codecs.ts'
import { ProtocolError } from '../../src/client/errors.ts'
import { decodeRecords, encodeBatch } from '../../src/client/records.ts'
import { buildMessageSet } from '../../src/log/record-format.ts'

const bytes = fc
  .option(fc.uint8Array({ maxLength: 300 }), { nil: null })
  .map((one) => (one === null ? null : Buffer.from(one)))
const plain = { noNullPrototype: true }
const header = fc.record({ key: fc.string(), value: bytes }, plain)
const record = fc.record(
  {
    key: bytes,
    value: bytes,
    timestamp: fc.integer({ min: 0, max: 2 ** 45 }),
    headers: fc.array(header, { maxLength: 3 }),
  },
  plain,
)
const WHERE = { topic: 't', partition: 3 }

for (const compression of Object.keys(COMPRESSION_CODECS) as CompressionType[]) {
  test(`what is encoded decodes to itself: ${compression}`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 20 }), async (records) => {
        const batch = await encodeBatch(records, { compression, producerId: 5, baseSequence: 1 })
        const { records: decoded } = await decodeRecords(batch, WHERE)
        assert.deepEqual(
          decoded,
          records.map((one, offset) => ({
            ...WHERE,
            offset,
            leaderEpoch: -1,
            timestampType: 'CreateTime',
            ...one,
          })),
        )
      }),
      { numRuns: 60 },
    )
  })
}

test('message sets of formats 0 and 1 are read, compressed or not', async () => {
  for (const magic of [0, 1] as const) {
    for (const codec of [0, 1, 2, 3]) {
      const values = ['a', 'b', 'c'].map((text, i) => ({
        offset: 40 + i,
        timestamp: magic === 1 ? 1000 + i : -1,
        key: null,
        value: Buffer.from(text),
      }))
      const set = buildMessageSet(values, { magic, codec })
      const { records: decoded } = await decodeRecords(set, { ...WHERE, fetchOffset: 41 })
      assert.deepEqual(
        decoded.map(({ offset, timestamp, value }) => [offset, timestamp, String(value)]),
        [
          [41, magic === 1 ? 1001 : -1, 'b'],
          [42, magic === 1 ? 1002 : -1, 'c'],
        ],
      )
    }
  }
})

test('a batch that is cut off ends the records; a damaged one is refused', async () => {
  const one = await encodeBatch([{ value: Buffer.from('one'), timestamp: 1 }])
  const two = await encodeBatch([{ value: Buffer.from('two'), timestamp: 1 }])
  const cut = Buffer.concat([one, two.subarray(0, two.length - 1)])
  assert.equal((await decodeRecords(cut, WHERE)).records.length, 1)
  const damaged = Buffer.from(one)
  damaged[one.length - 3] = (damaged[one.length - 3] as number) ^ 1
  await assert.rejects(decodeRecords(damaged, WHERE), ProtocolError)
})

test('no bytes do anything but decode or fail with ProtocolError', async () => {
  const batch = await encodeBatch([{ value: Buffer.alloc(50), key: Buffer.from('k') }])
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(batch.length - 1),
      fc.constantFrom(0, 1, 2, 3, 4, 7),
      async (noise, at, codec) => {
        const changed = Buffer.from(batch)
        changed[22] = codec
        changed.set(noise.subarray(0, changed.length - at), at)
        for (const bytes of [changed, Buffer.from(noise)]) {
          try {
            await decodeRecords(bytes, { ...WHERE, checkCrcs: false })
          } catch (error) {
            assert.ok(error instanceof ProtocolError, String(error))
          }
        }
      },
    ),
    { numRuns: 500 },
  )
})
