/** The examples do what they say, as they stand. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const run = promisify(execFile)
const examples = join(import.meta.dirname, '..', '..', 'examples')

test('kafkajs against a broker inside the same program', async () => {
  const { stdout } = await run(process.execPath, [join(examples, 'kafkajs.js')])
  assert.deepEqual(stdout.trim().split('\n').sort(), ['de: hallo', 'en: hello'])
})

test('a broker for one file of node:test', async () => {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { stdout } = await run(
    process.execPath,
    ['--test', '--test-reporter=tap', join(examples, 'node-test.test.js')],
    { env },
  )
  assert.match(stdout, /^# pass 1$/m)
  assert.match(stdout, /^# fail 0$/m)
})
