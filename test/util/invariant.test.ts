/** Small things: broken invariants, names of errno values, the logger that says nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errnoName } from '../../src/util/errno.ts'
import { invariant } from '../../src/util/invariant.ts'
import { silentLogger } from '../../src/util/logger.ts'

test('a broken invariant says what was broken', () => {
  invariant(true, 'never')
  assert.throws(() => invariant(false, 'a log has one owner'), {
    message: 'invariant broken: a log has one owner',
  })
})

test('errno values have their names, whatever their sign', () => {
  assert.equal(errnoName(28), 'ENOSPC')
  assert.equal(errnoName(-28), 'ENOSPC')
  assert.equal(errnoName(9999), 'errno 9999')
})

test('the silent logger has silent children', () => {
  silentLogger.child({ room: 'util' }).error({}, 'unheard')
})
