/** ZooKeeper servers of this machine and user, by their command lines. */
import { basename } from 'node:path'
import { runningPrograms } from '../kit/processes.ts'

export const SERVER_CLASS = 'org.apache.zookeeper.server.quorum.QuorumPeerMain'

/** The properties file of a command line of java that is a ZooKeeper server; null if it is none. */
export function propertiesOfServer(words: readonly string[]): string | null {
  if (!/^java/.test(basename(words[0] ?? ''))) return null
  const at = words.indexOf(SERVER_CLASS)
  return at < 0 ? null : (words[at + 1] ?? '')
}

export interface ServerProcess {
  readonly pid: number
  readonly properties: string
}

export function zooKeeperProcesses(): ServerProcess[] {
  return runningPrograms().flatMap(({ pid, words }) => {
    const properties = propertiesOfServer(words)
    return properties === null ? [] : [{ pid, properties }]
  })
}
