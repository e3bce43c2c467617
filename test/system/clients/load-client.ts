/**
 * Clients that write and read without end while brokers come and go, each a process of its own in
 * the language of its library. It is started with BOOTSTRAP TOPIC PARTITIONS RATE [RACK] and has two
 * producers with acks=-1, one idempotent and one not, each of which sends RATE records a second to
 * every partition, and a reader (kafkajs has none) that reads all partitions from their beginning.
 * A first line on its standard input asks it to write no more and to wait for what is underway, the
 * end of the input to end. It prints a line for each event:
 *
 * - `ok PRODUCER PARTITION SEQUENCE OFFSET SENT ENDED`: acknowledged, with times in milliseconds.
 * - `failed` or `indeterminate PRODUCER PARTITION SEQUENCE SENT ENDED ERROR`
 * - `read READER PARTITION TIME OFFSET VALUE [OFFSET VALUE]...`
 * - `watermark READER latest|fetch PARTITION TIME OFFSET`
 * - `refused READER PARTITION TIME OFFSET ERROR`: the offset is out of range, or the log was cut.
 * - `sent PRODUCER PARTITION COUNT`, when it has stopped to write.
 * - `stopped`, when nothing is underway any more.
 *
 * Requests time out after 5 s and are sent again after at most 200 ms, for two minutes.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ClientKind } from '../../checker/history.ts'
import { LineProcess } from '../../support/line-process.ts'
import { type PeerName, peer } from '../../support/peers.ts'
import { clientSources } from './scenario.ts'

export interface LoadOptions {
  readonly bootstrap: string
  readonly topic: string
  readonly partitions: number
  /** Records a second and producer to each partition. */
  readonly rate: number
  /** Where its reader is, for brokers that let it read from a follower there. */
  readonly rack?: string
}

interface LoadClientTraits {
  /** Null: nothing but this package. */
  readonly needs: PeerName | null
  readonly reads: boolean
}

export const LOAD_CLIENTS: Readonly<Record<ClientKind, LoadClientTraits>> = {
  java: { needs: 'kafka-clients-3.9', reads: true },
  librdkafka: { needs: 'python', reads: true },
  'franz-go': { needs: 'go', reads: true },
  kafkajs: { needs: 'npm', reads: false },
  shardlog: { needs: null, reads: true },
}

const JVM = ['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-Xmx128m']

function words({ bootstrap, topic, partitions, rate, rack }: LoadOptions): string[] {
  const all = [bootstrap, topic, String(partitions), String(rate)]
  return rack === undefined ? all : [...all, rack]
}

/** Starts a client; `onLine` is called with each event. */
export async function startLoadClient(
  kind: ClientKind,
  options: LoadOptions,
  onLine: (line: string) => void,
): Promise<LineProcess> {
  const args = words(options)
  switch (kind) {
    case 'java': {
      const classPath = await compileJava()
      return new LineProcess('java', [...JVM, '-cp', classPath, 'LoadClient', ...args], onLine)
    }
    case 'librdkafka': {
      const program = join(clientSources, 'python', 'confluent_load.py')
      return new LineProcess(peer('python'), ['-B', program, ...args], onLine)
    }
    case 'franz-go':
      return new LineProcess(join(peer('go'), 'franzload'), args, onLine)
    case 'kafkajs':
    case 'shardlog': {
      const program = join(import.meta.dirname, 'node', `${kind}-load.js`)
      return new LineProcess(process.execPath, [program, ...args], onLine)
    }
  }
}

let compiled: Promise<string> | null = null

/** Compiled once in a process, into a folder that goes with it. */
function compileJava(): Promise<string> {
  compiled ??= (async () => {
    const classes = mkdtempSync(join(tmpdir(), 'shardlog-java-'))
    process.once('exit', () => rmSync(classes, { recursive: true, force: true }))
    const jars = `${peer('kafka-clients-3.9')}/*`
    const source = join(clientSources, 'java', 'LoadClient.java')
    await promisify(execFile)('javac', [
      ...['-nowarn', '-proc:none', '-cp', jars, '-d', classes, source],
    ])
    return `${classes}:${jars}`
  })()
  return compiled
}
