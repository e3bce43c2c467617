/** The table of error codes, by itself; `java.test.ts` compares it with Kafka's. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode, errorOf, KafkaError } from '../../src/protocol/error-codes.ts'

test('codes and names are unique and every error but NONE has a message', () => {
  const codes = Object.values(ErrorCode)
  assert.equal(new Set(codes).size, codes.length)
  for (const [name, code] of Object.entries(ErrorCode)) {
    const error = errorOf(code)
    assert.equal(error.name, name)
    assert.equal(error.message === '', code === ErrorCode.NONE)
  }
})

test('an unknown code is named by its number and not retriable', () => {
  const { name, retriable, message } = errorOf(4711)
  assert.deepEqual([name, retriable], ['ERROR_4711', false])
  assert.match(message, /4711/)
})

test('a KafkaError has the message of its code unless it is given another', () => {
  const plain = new KafkaError(ErrorCode.REQUEST_TIMED_OUT)
  assert.equal(plain.errorCode, 7)
  assert.equal(plain.message, errorOf(7).message)
  assert.equal(new KafkaError(ErrorCode.NONE, 'other').message, 'other')
})
