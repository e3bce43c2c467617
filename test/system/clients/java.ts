/** Compiles and starts the Java drivers, one JVM for a whole scenario. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Driver } from '../../support/driver.ts'
import { type PeerName, peer } from '../../support/peers.ts'
import { clientSources } from './scenario.ts'

const run = promisify(execFile)

export interface JavaProgram {
  readonly set: PeerName
  readonly main: string
  readonly helpers?: readonly string[]
}

/**
 * A client whose program is `java/<program>.java`, compiled with `helpers` against the jars of `set`
 * and run with them. The classes live in a temporary folder until the client is closed.
 */
export async function startJavaClient(
  program: JavaProgram,
  args: readonly string[],
): Promise<Driver> {
  const { set, main, helpers = [] } = program
  const classes = mkdtempSync(join(tmpdir(), 'shardlog-java-'))
  const sources = ['Lines', ...helpers, main].map((name) =>
    join(clientSources, 'java', `${name}.java`),
  )
  const jars = `${peer(set)}/*`
  // The compiler's warnings about old jars say nothing about us.
  await run('javac', ['-nowarn', '-proc:none', '-cp', jars, '-d', classes, ...sources])
  const jvm = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto']
  const driver = new Driver('java', [...jvm, '-cp', `${classes}:${jars}`, main, ...args])
  driver.onClose = () => rmSync(classes, { recursive: true, force: true })
  return driver
}
