/** `kafka-server-stop`: asks brokers of this machine and user to stop. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { isGone, runningPrograms, stopProcesses } from './kit/processes.ts'
import { defineTool, ToolError } from './kit/tool.ts'

const PROGRAMS = new Set(['shardlog-server', 'kafka-server-start', 'kafka-server-start.sh'])

interface BrokerProcess {
  readonly pid: number
  /** Its command line after `node`. */
  readonly name: string
}

/** Whether a command line is that of a broker: node, then one of our programs. */
export function isBrokerCommand(words: readonly string[]): boolean {
  const [node = '', program = '', first = ''] = words
  if (!/^node/.test(basename(node))) return false
  const name = basename(program)
  if (name === 'shardlog') {
    // Without words it is a broker too.
    const isServer = ['', 'server', 'start', '--override'].includes(first)
    return isServer || first.endsWith('.properties')
  }
  return PROGRAMS.has(name) && !words.includes('-daemon') && !words.includes('--daemon')
}

function brokers(): BrokerProcess[] {
  return runningPrograms()
    .filter(({ words }) => isBrokerCommand(words))
    .map(({ pid, words }) => ({ pid, name: words.slice(1).join(' ') }))
}

/** Whether a process has the lock of a data directory open. */
function holds({ pid }: BrokerProcess, dataDirectory: string): boolean {
  const lock = join(resolve(dataDirectory), '.lock')
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === lock
      } catch (error) {
        if (isGone(error)) return false
        throw error
      }
    })
  } catch (error) {
    if (isGone(error)) return false
    throw error
  }
}

export const kafkaServerStop = defineTool({
  name: 'kafka-server-stop',
  summary: 'Stops the brokers of this user on this machine in order (SIGTERM).',
  options: {
    'data-dir': {
      argument: 'directory',
      help: 'Only the broker that has this data directory open.',
      own: true,
    },
    wait: { help: 'Returns when they have ended.', own: true },
    'process-role': {
      argument: 'role',
      help: 'broker or controller: every broker here is both.',
    },
    'node-id': {
      argument: 'id',
      help: 'Only the broker whose data directory says this id (meta.properties).',
    },
  },
  notes: ['Brokers are found by their command line in /proc: shardlog-server, kafka-server-start.'],
  async run(given, io) {
    const directory = given.value('data-dir')
    const id = given.integer('node-id', { min: 0 })
    const found = brokers()
      .filter((one) => directory === undefined || holds(one, directory))
      .filter((one) => id === undefined || brokerIdOf(one) === id)
    if (found.length === 0) throw new ToolError('No kafka server to stop')
    await stopProcesses(found, given.has('wait'), io)
    return 0
  },
})

/** The id in meta.properties beside the lock that a process holds; null without one. */
function brokerIdOf({ pid }: BrokerProcess): number | null {
  try {
    for (const fd of readdirSync(`/proc/${pid}/fd`)) {
      const target = readlinkSync(`/proc/${pid}/fd/${fd}`)
      if (basename(target) !== '.lock') continue
      const text = readFileSync(join(target, '..', 'meta.properties'), 'utf8')
      const id = /^(?:broker|node)\.id=(\d+)$/m.exec(text)?.[1]
      if (id !== undefined) return Number(id)
    }
  } catch (error) {
    if (!isGone(error)) throw error
  }
  return null
}
