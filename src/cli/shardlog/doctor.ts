/** `shardlog doctor`: what goes wrong often, looked at before it does. */
import { readFile, statfs } from 'node:fs/promises'
import { connect } from 'node:net'
import { availableParallelism, freemem, totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import { clientOptionsOf } from '../kit/connection.ts'
import type { ParsedOptions } from '../kit/options.ts'
import { defineTool, type ToolIo } from '../kit/tool.ts'

const DEFAULT_SERVER = 'localhost:9092'
const REACH_MS = 3000
const CLOCK_SKEW_MAX_MS = 1000

type Level = 'ok' | 'warn' | 'fail'

interface Finding {
  readonly check: string
  readonly level: Level
  readonly found: string
  /** What to do, unless it is ok. */
  readonly hint: string | null
}

const options = {
  'bootstrap-server': {
    argument: 'host:port,...',
    help: 'The broker to look at.',
    default: DEFAULT_SERVER,
  },
  'data-dir': { argument: 'dir', help: 'The data directory; else log.dirs of --config.' },
  config: { argument: 'file', help: "The broker's server.properties." },
} as const

function finding(check: string, level: Level, found: string, hint: string): Finding {
  return { check, level, found, hint: level === 'ok' ? null : hint }
}

async function text(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    // Not every kernel and container has every file of /proc.
    return null
  }
}

async function descriptors(): Promise<Finding> {
  const limits = await text('/proc/self/limits')
  const soft = Number(/^Max open files\s+(\d+)/m.exec(limits ?? '')?.[1])
  const hint = 'raise it with `ulimit -n 100000`, or LimitNOFILE= in the systemd unit'
  if (!Number.isFinite(soft)) return finding('open files', 'warn', 'the limit is not known', hint)
  const level = soft < 4096 ? 'fail' : soft < 65_536 ? 'warn' : 'ok'
  return finding('open files', level, `at most ${soft} for a process`, hint)
}

/** Magic numbers of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, readonly [name: string, level: Level]>> = {
  61267: ['ext4', 'ok'],
  1481003842: ['xfs', 'ok'],
  2435016766: ['btrfs', 'warn'],
  16914836: ['tmpfs', 'warn'],
  26985: ['nfs', 'fail'],
  4283649346: ['cifs', 'fail'],
  2035054128: ['overlayfs', 'warn'],
  801189825: ['zfs', 'ok'],
  1702057286: ['fuse', 'warn'],
}

async function fileSystem(directory: string): Promise<Finding[]> {
  let path = resolve(directory)
  let stat: Awaited<ReturnType<typeof statfs>> | null = null
  while (stat === null) {
    try {
      stat = await statfs(path)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path === dirname(path)) {
        const hint = 'give the directory to the user that runs the broker'
        return [finding('data directory', 'fail', `${path}: ${(error as Error).message}`, hint)]
      }
      path = dirname(path)
    }
  }
  const [name, level] = FILE_SYSTEMS[stat.type >>> 0] ?? [
    `type 0x${stat.type.toString(16)}`,
    'warn',
  ]
  const freeBytes = stat.bavail * stat.bsize
  const share = stat.blocks === 0 ? 0 : stat.bavail / stat.blocks
  const freeLevel = freeBytes < 1e9 || share < 0.02 ? 'fail' : share < 0.1 ? 'warn' : 'ok'
  return [
    finding(
      'file system',
      level,
      `${name} under ${path}`,
      'ext4 and xfs on a local disk are tried',
    ),
    finding(
      'free space',
      freeLevel,
      `${(freeBytes / 1e9).toFixed(1)} GB, ${Math.round(share * 100)} %`,
      'lower log.retention.*, or add a disk: a full one refuses every record',
    ),
  ]
}

async function dirtyPages(): Promise<Finding[]> {
  const findings: Finding[] = []
  const background = Number(await text('/proc/sys/vm/dirty_background_ratio'))
  const ratio = Number(await text('/proc/sys/vm/dirty_ratio'))
  const bytes = Number(await text('/proc/sys/vm/dirty_bytes'))
  const found =
    bytes > 0
      ? `vm.dirty_bytes ${bytes}`
      : `vm.dirty_background_ratio ${background}, vm.dirty_ratio ${ratio}`
  const level = bytes > 0 || (background <= 10 && ratio >= 20) ? 'ok' : 'warn'
  findings.push(
    finding(
      'dirty pages',
      level,
      found,
      'a background ratio of 5 to 10 and a ratio of 20 to 60 let the disk write early and appends wait late',
    ),
  )
  const swappiness = Number(await text('/proc/sys/vm/swappiness'))
  const hasSwap = ((await text('/proc/swaps')) ?? '').split('\n').length > 1
  findings.push(
    finding(
      'swapping',
      hasSwap && swappiness > 10 ? 'warn' : 'ok',
      hasSwap ? `vm.swappiness ${swappiness}` : 'no swap',
      'vm.swappiness=1 keeps the page cache from pushing out the broker',
    ),
  )
  return findings
}

function memory(): Finding {
  const gigabytes = totalmem() / 2 ** 30
  return finding(
    'memory',
    gigabytes < 1 ? 'warn' : 'ok',
    `${gigabytes.toFixed(1)} GiB, ${(freemem() / 2 ** 30).toFixed(1)} GiB free, ${availableParallelism()} cores`,
    'consumers that are behind read from the disk when the page cache is small',
  )
}

async function clock(): Promise<Finding> {
  const year = new Date().getUTCFullYear()
  // The kernel says whether something disciplines the clock: the source of `timedatectl`.
  const isSynchronized = (await text('/run/systemd/timesync/synchronized')) !== null
  const hasDaemon =
    isSynchronized ||
    (await text('/run/chrony/chronyd.pid')) !== null ||
    (await text('/run/ntpd.pid')) !== null
  if (year < 2024) {
    return finding(
      'clock',
      'fail',
      new Date().toISOString(),
      'set it: retention goes by timestamps',
    )
  }
  return finding(
    'clock',
    hasDaemon ? 'ok' : 'warn',
    `${new Date().toISOString()}, ${hasDaemon ? 'synchronized' : 'no time daemon seen'}`,
    'run chronyd or systemd-timesyncd: retention and timestamps go by this clock',
  )
}

function reaches(host: string, port: number): Promise<string | null> {
  return new Promise((done) => {
    const socket = connect({ host, port })
    const end = (why: string | null): void => {
      socket.destroy()
      done(why)
    }
    socket.setTimeout(REACH_MS, () => end('no answer'))
    socket.once('connect', () => end(null))
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message))
  })
}

async function broker(bootstrapServers: string): Promise<Finding[]> {
  const { Cluster } = await import('../../client/cluster.ts')
  const cluster = new Cluster({
    ...clientOptionsOf(new Map(), bootstrapServers),
    requestTimeoutMs: REACH_MS,
    connectTimeoutMs: REACH_MS,
  })
  try {
    const begin = performance.now()
    const connection = await cluster.any()
    const known = await cluster.metadata([])
    const ms = performance.now() - begin
    const findings = [
      finding(
        'broker',
        'ok',
        `${connection.host}:${connection.port} answers in ${ms.toFixed(0)} ms`,
        '',
      ),
    ]
    for (const { brokerId, host, port } of known.brokers) {
      const why = await reaches(host, port)
      findings.push(
        finding(
          `advertised listener of broker ${brokerId}`,
          why === null ? 'ok' : 'fail',
          `${host}:${port}${why === null ? ' is reachable from here' : `: ${why}`}`,
          'set advertised.listeners to an address that clients can reach',
        ),
      )
    }
    findings.push(await skew(cluster))
    return findings
  } catch (error) {
    const hint = 'start it with `shardlog server`, or name it with --bootstrap-server'
    return [finding('broker', 'warn', (error as Error).message, hint)]
  } finally {
    await cluster.close()
  }
}

/** A broker on another machine stamps records by its own clock. */
async function skew(cluster: InstanceType<typeof import('../../client/cluster.ts')['Cluster']>) {
  const { ListOffsets } = await import('../../protocol/messages/list-offsets.ts')
  const all = await cluster.metadata(null)
  let newest = -1
  for (const topic of all.topics.values()) {
    for (const { partition, leaderId } of topic.partitions) {
      if (leaderId < 0) continue
      const connection = await cluster.broker(leaderId)
      const answer = await connection.send(
        ListOffsets,
        {
          replicaId: -1,
          topics: [
            { name: topic.name, partitions: [{ partitionIndex: partition, timestamp: -3 }] },
          ],
        },
        { version: Math.min(7, connection.versionOf(ListOffsets)) },
      )
      newest = Math.max(newest, answer.topics[0]?.partitions[0]?.timestamp ?? -1)
    }
    if (newest >= 0) break
  }
  const ahead = newest - Date.now()
  return finding(
    'timestamps',
    ahead > CLOCK_SKEW_MAX_MS ? 'warn' : 'ok',
    newest < 0
      ? 'no records to look at'
      : `the newest record looked at is of ${new Date(newest).toISOString()}`,
    'records from the future are not deleted in time: check the clocks of the producers',
  )
}

async function dataDirectory(given: ParsedOptions<keyof typeof options>): Promise<string> {
  const directory = given.value('data-dir')
  if (directory !== undefined) return directory
  const file = given.value('config')
  if (file === undefined) return process.cwd()
  const { loadBrokerConfig, readProperties } = await import('../../config/load-broker-config.ts')
  return loadBrokerConfig(readProperties(file)).logDirs[0] ?? process.cwd()
}

async function run(given: ParsedOptions<keyof typeof options>, io: ToolIo): Promise<number> {
  const directory = await dataDirectory(given)
  const findings = [
    await descriptors(),
    ...(await fileSystem(directory)),
    ...(await dirtyPages()),
    memory(),
    await clock(),
    ...(await broker(given.value('bootstrap-server') ?? DEFAULT_SERVER)),
  ]
  if (io.json) {
    io.print(JSON.stringify(findings, null, 2))
  } else {
    for (const { check, level, found, hint } of findings) {
      io.print(`${level.padEnd(5)}${check}: ${found}${hint === null ? '' : ` (${hint})`}`)
    }
  }
  return findings.some(({ level }) => level === 'fail') ? 1 : 0
}

export const shardlogDoctor = defineTool({
  name: 'shardlog doctor',
  summary: 'Checks this machine, the data directory and the broker for what goes wrong often.',
  options,
  table: true,
  notes: ['Exits with 1 when a check fails; warnings do not.'],
  run,
})
