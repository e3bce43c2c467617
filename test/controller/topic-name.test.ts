/** Topic names, against the rule written another way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { collisionKey, wrongTopicName } from '../../src/controller/topic-name.ts'

const LEGAL = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-'

test('names of legal characters are right, but for three', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 260 }), fc.boolean(), (text, isCleaned) => {
      const name = isCleaned ? [...text].filter((c) => LEGAL.includes(c)).join('') : text
      const isRight =
        name.length >= 1 &&
        name.length <= 249 &&
        name !== '.' &&
        name !== '..' &&
        [...name].every((c) => LEGAL.includes(c))
      assert.equal(wrongTopicName(name) === null, isRight)
    }),
  )
  for (const length of [249, 250]) {
    assert.equal(wrongTopicName('x'.repeat(length)) === null, length === 249)
  }
  assert.notEqual(wrongTopicName('a\n'), null)
})

test('names that differ only in dots and underscores collide', () => {
  assert.equal(collisionKey('a.b_c'), collisionKey('a_b.c'))
  assert.notEqual(collisionKey('a.b'), collisionKey('a-b'))
})
