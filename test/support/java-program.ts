/** Runs the small Java programs beside this file, against a `kafka-clients` jar. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import {
  type KafkaClientsVersion,
  kafkaClientsClassPath,
  kafkaClientsJar,
} from './kafka-clients-jar.ts'

/** The sources stay where they are written; only what tsc makes goes to `dist/`. */
const SOURCES = join(import.meta.dirname, '../../../test/support/java')

/** Skips a test with a line that says why; with CI=true what is missing is a failure. */
export function skipOrFail(t: TestContext, reason: string): void {
  if (process.env['CI'] === 'true') assert.fail(reason)
  t.skip(reason)
}

/** A jar, with a Java here to run it; or null after the test was skipped. */
export function jarToRun(t: TestContext, version: KafkaClientsVersion): string | null {
  const jar = kafkaClientsJar(version)
  if (jar === null) skipOrFail(t, `kafka-clients ${version} is not here`)
  else if (spawnSync('java', ['-version']).error) skipOrFail(t, 'java is not here')
  else return jar
  return null
}

/** Runs a program on `input` and returns its output. Throws if it fails or takes two minutes. */
export function runJava(jar: string, program: string, input: Buffer): Buffer {
  const args = ['-XX:TieredStopAtLevel=1', '-cp', kafkaClientsClassPath(jar)]
  const result = spawnSync('java', [...args, join(SOURCES, program)], {
    input,
    maxBuffer: 1 << 28,
    timeout: 120_000,
  })
  // A program that fails to start closes its input too: what it says is the better error.
  if (result.error && !result.stderr?.length) throw result.error
  assert.equal(result.status, 0, result.stderr.toString())
  return result.stdout
}
