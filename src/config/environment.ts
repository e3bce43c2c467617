/** What the tools take from the environment: where programs of others are, and a place for copies. */
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

function variable(name: string): string | null {
  const value = process.env[name]
  return value === undefined || value === '' ? null : value
}

/** `JAVA_HOME`, or whatever `java` is on the path. */
export function javaProgram(): string {
  const home = variable('JAVA_HOME')
  return home === null ? 'java' : join(home, 'bin', 'java')
}

/** `ZOOKEEPER_HOME`: the folder of a release of Apache ZooKeeper; null if it is not set. */
export function zooKeeperHome(): string | null {
  const home = variable('ZOOKEEPER_HOME')
  return home === null ? null : resolve(home)
}

/** For what was fetched and can be fetched again: `~/.cache/shardlog`. */
export function cacheDirectory(): string {
  const base = variable('XDG_CACHE_HOME')
  return join(base === null ? join(homedir(), '.cache') : resolve(base), 'shardlog')
}
