/**
 * Installs the unmodified clients, and the Apache Kafka broker, that the tests run against:
 * `node dist/scripts/peers.js [--install]`. Without `--install` it only says what is there.
 *
 * Everything comes from package registries by name, at the versions pinned below, into a cache
 * outside the checkout: `$SHARDLOG_PEERS`, else `$XDG_CACHE_HOME/shardlog-peers`, else
 * `~/.cache/shardlog-peers`. Each set leaves a stamp that holds its recipe, so a second run does
 * nothing until a pinned version, or a Go source of ours, changes. Debian packages are machine-wide
 * and only installed as root.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(import.meta.dirname, '..', '..')
const goSources = join(root, 'test', 'system', 'clients', 'go')

/** Maven sets: each with its run-time dependencies in a folder of its own. */
export const mavenSets = {
  // Server, tools (kafka-dump-log) and the ZooKeeper that its ZooKeeper mode needs.
  'kafka-server': [
    'org.apache.kafka:kafka_2.13:3.9.1',
    'org.slf4j:slf4j-reload4j:1.7.36',
    'io.dropwizard.metrics:metrics-core:4.1.12.1',
    'org.xerial.snappy:snappy-java:1.1.10.5',
  ],
  // The command-line tools that are written in Java: TopicCommand, ConsoleProducer and so on.
  'kafka-tools': ['org.apache.kafka:kafka-tools:3.9.1', 'org.slf4j:slf4j-reload4j:1.7.36'],
  'kafka-streams': ['org.apache.kafka:kafka-streams:3.9.1', 'org.slf4j:slf4j-nop:1.7.36'],
  // A connector to try Connect with, whose worker is among the tools.
  'connect-file': ['org.apache.kafka:connect-file:3.9.1'],
  'kafka-0.8.2': ['org.apache.kafka:kafka_2.11:0.8.2.2'],
  'kafka-clients-0.10.2': clientSet('0.10.2.2', '1.7.36'),
  'kafka-clients-1.1': clientSet('1.1.1', '1.7.36'),
  'kafka-clients-2.8': clientSet('2.8.2', '1.7.36'),
  'kafka-clients-3.9': clientSet('3.9.1', '1.7.36'),
  'kafka-clients-4.1': clientSet('4.1.1', '1.7.36'),
  'kafka-clients-newest': clientSet('4.4.0', '1.7.36'),
  'zookeeper-3.5': zookeeperSet('3.5.10', 'org.slf4j:slf4j-simple:1.7.36'),
  'zookeeper-3.6': zookeeperSet('3.6.4', 'org.slf4j:slf4j-simple:1.7.36'),
  'zookeeper-3.7': zookeeperSet('3.7.2', 'org.slf4j:slf4j-simple:1.7.36'),
  'zookeeper-3.8': zookeeperSet('3.8.4'),
  'zookeeper-3.9': zookeeperSet('3.9.3', 'org.slf4j:slf4j-simple:1.7.36'),
} as const satisfies Record<string, readonly string[]>

export const pythonPackages = [
  'confluent-kafka==2.16.1',
  'kafka-python==3.0.12',
  'zstandard==0.25.0',
  'lz4==4.4.5',
  'python-snappy==0.7.3',
  'crc32c==2.9.post0',
] as const

export const npmPackages = ['kafkajs@2.2.4'] as const

/** Debian package and a program by which we know that it is there. */
export const debianPackages = {
  kcat: 'kcat',
  clang: 'clang++',
  'libclang-rt-14-dev': null,
  'g++-aarch64-linux-gnu': 'aarch64-linux-gnu-g++',
  'qemu-user-static': 'qemu-aarch64-static',
  iproute2: 'ip',
  nftables: 'nft',
  libfaketime: null,
} as const satisfies Record<string, string | null>

const mavenPlugin = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'

export type MavenSet = keyof typeof mavenSets
/** A name that `peerPath` knows: a Maven set, `python`, `go`, `npm`, or a Debian program. */
export type PeerName =
  | MavenSet
  | 'python'
  | 'go'
  | 'npm'
  | 'kcat'
  | 'clang++'
  | 'aarch64-linux-gnu-g++'
  | 'qemu-aarch64-static'
  | 'ip'
  | 'nft'

function clientSet(version: string, slf4j: string): readonly string[] {
  return [`org.apache.kafka:kafka-clients:${version}`, `org.slf4j:slf4j-nop:${slf4j}`]
}

/** A server with what its jar only names as provided; some bring no logger that works. */
function zookeeperSet(version: string, ...logger: readonly string[]): readonly string[] {
  return [
    ...logger,
    `org.apache.zookeeper:zookeeper:${version}`,
    'io.dropwizard.metrics:metrics-core:4.1.12.1',
    'org.xerial.snappy:snappy-java:1.1.10.5',
  ]
}

/** The folder that holds the installed peers; it need not exist. */
export function peersFolder(): string {
  const chosen = process.env['SHARDLOG_PEERS']
  if (chosen) return resolve(chosen)
  const cache = process.env['XDG_CACHE_HOME']
  return join(cache ? resolve(cache) : join(homedir(), '.cache'), 'shardlog-peers')
}

/**
 * Where a peer is, or null when it is not installed at the pinned version: for a Maven set the
 * folder of its jars, for `python` the interpreter, for `go` the folder of our compiled client
 * programs, for `npm` the `node_modules` folder, otherwise the program.
 */
export function peerPath(name: PeerName): string | null {
  switch (name) {
    case 'kcat':
    case 'clang++':
    case 'aarch64-linux-gnu-g++':
    case 'qemu-aarch64-static':
    case 'ip':
    case 'nft':
      return onPath(name)
    case 'python':
      return isInstalled(name) ? join(peersFolder(), 'python', 'bin', 'python') : null
    case 'go':
      return isInstalled(name) ? join(peersFolder(), 'go', 'bin') : null
    case 'npm':
      return isInstalled(name) ? join(peersFolder(), 'npm', 'node_modules') : null
    default:
      return isInstalled(name) ? join(peersFolder(), 'maven', name, 'jars') : null
  }
}

function onPath(program: string): string | null {
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program)
    if (folder === '' || !existsSync(path)) continue
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not a program that we may run: look on.
    }
  }
  return null
}

type StampedSet = MavenSet | 'python' | 'go' | 'npm'

function recipeOf(name: StampedSet): string {
  if (name === 'python') return pythonPackages.join('\n')
  if (name === 'npm') return npmPackages.join('\n')
  if (name === 'go') return goRecipe()
  return [mavenPlugin, ...mavenSets[name]].join('\n')
}

function goRecipe(): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(goSources, { recursive: true, encoding: 'utf8' }).sort()) {
    if (!/\.(go|mod|sum)$/.test(name)) continue
    hash.update(name).update(readFileSync(join(goSources, name)))
  }
  return hash.digest('hex')
}

function stampPath(name: StampedSet): string {
  return join(peersFolder(), 'stamps', name)
}

function isInstalled(name: StampedSet): boolean {
  const stamp = stampPath(name)
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === recipeOf(name)
}

function writeStamp(name: StampedSet): void {
  mkdirSync(join(peersFolder(), 'stamps'), { recursive: true })
  writeFileSync(stampPath(name), recipeOf(name))
}

interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a program to its end; its output is shown only when it fails. */
async function run(command: string, args: readonly string[], options: RunOptions = {}) {
  const child = spawn(command, args, {
    cwd: options.cwd ?? root,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const keep = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-8192)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const status = await new Promise<number | string>((settle, fail) => {
    child.once('error', fail)
    child.once('close', (code, signal) => settle(code ?? signal ?? 'unknown'))
  }).catch((error: Error) => error.message)
  if (status !== 0) {
    throw new Error(`${command} ${args.join(' ')} ended with ${status}\n${output.trimEnd()}`)
  }
}

async function installMaven(names: readonly MavenSet[]): Promise<void> {
  const folder = join(peersFolder(), 'maven')
  for (const name of names) {
    rmSync(join(folder, name), { recursive: true, force: true })
    mkdirSync(join(folder, name), { recursive: true })
    writeFileSync(join(folder, name, 'pom.xml'), modulePom(name))
  }
  writeFileSync(join(folder, 'pom.xml'), reactorPom(names))
  // One Maven for all sets: its local repository is not safe between processes, threads are fine.
  const args = ['-q', '-B', '-T2', mavenPlugin, '-DincludeScope=runtime']
  await run('mvn', args, { cwd: folder })
  for (const name of names) writeStamp(name)
}

function reactorPom(modules: readonly string[]): string {
  return pom('all', `<modules>${modules.map((m) => `<module>${m}</module>`).join('')}</modules>`)
}

function modulePom(name: MavenSet): string {
  const dependencies = mavenSets[name].map((coordinates) => {
    const [group, artifact, version] = coordinates.split(':')
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId>
      <version>${version}</version></dependency>`
  })
  return pom(
    name,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Maven's own placeholder.
    `<properties><outputDirectory>${'${project.basedir}'}/jars</outputDirectory></properties>
    <dependencies>${dependencies.join('\n')}</dependencies>`,
  )
}

function pom(artifact: string, body: string): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
  <groupId>shardlog.peers</groupId><artifactId>${artifact}</artifactId><version>1</version>
  <packaging>pom</packaging>
  ${body}
</project>
`
}

async function installPython(): Promise<void> {
  const folder = join(peersFolder(), 'python')
  rmSync(folder, { recursive: true, force: true })
  await run('python3', ['-m', 'venv', folder])
  const pip = ['-m', 'pip', 'install', '--quiet', '--only-binary=:all:', ...pythonPackages]
  await run(join(folder, 'bin', 'python'), pip)
  writeStamp('python')
}

async function installGo(): Promise<void> {
  const folder = join(peersFolder(), 'go')
  mkdirSync(join(folder, 'bin'), { recursive: true })
  await run('go', ['build', '-p', '2', '-trimpath', '-o', `${join(folder, 'bin')}/`, './...'], {
    cwd: goSources,
    env: { CGO_ENABLED: '0', GOFLAGS: '-mod=readonly -buildvcs=false' },
  })
  writeStamp('go')
}

async function installNpm(): Promise<void> {
  const folder = join(peersFolder(), 'npm')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', ...npmPackages]
  await run('npm', args, { cwd: folder })
  writeStamp('npm')
}

function missingDebianPackages(): readonly string[] {
  return Object.entries(debianPackages)
    .filter(([name, program]) =>
      program === null
        ? !existsSync(`/var/lib/dpkg/info/${name}.list`) &&
          !existsSync(`/var/lib/dpkg/info/${name}:amd64.list`)
        : onPath(program) === null,
    )
    .map(([name]) => name)
}

async function installDebian(packages: readonly string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['-qq', 'update'], { env })
  const install = ['-qq', '-y', '--no-install-recommends', 'install']
  await run('apt-get', [...install, ...packages], { env })
}

interface Job {
  readonly name: string
  readonly work: () => Promise<void>
}

/** The installs that are still to be done; sets that are up to date are left out. */
function pendingJobs(say: (line: string) => void): Job[] {
  const jobs: Job[] = []
  const maven = (Object.keys(mavenSets) as MavenSet[]).filter((name) => !isInstalled(name))
  if (maven.length > 0) {
    jobs.push({ name: `Maven: ${maven.join(', ')}`, work: () => installMaven(maven) })
  }
  if (!isInstalled('go')) jobs.push({ name: 'Go programs', work: installGo })
  const debian = missingDebianPackages()
  if (debian.length > 0 && process.getuid?.() === 0 && onPath('apt-get') !== null) {
    jobs.push({ name: `Debian: ${debian.join(', ')}`, work: () => installDebian(debian) })
  } else if (debian.length > 0) {
    say(`left out, as only root on Debian can install them: ${debian.join(', ')}`)
  }
  if (!isInstalled('python')) jobs.push({ name: 'Python packages', work: installPython })
  if (!isInstalled('npm')) jobs.push({ name: 'npm packages', work: installNpm })
  return jobs
}

/**
 * Installs what is missing, two installs at a time.
 * @returns the names of the installs that failed, each already explained through `say`.
 */
export async function installPeers(say: (line: string) => void): Promise<readonly string[]> {
  mkdirSync(peersFolder(), { recursive: true })
  const jobs = pendingJobs(say)
  const failed: string[] = []
  const worker = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const begin = performance.now()
      try {
        await job.work()
        say(`${job.name}: installed in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
      } catch (error) {
        failed.push(job.name)
        say(`${job.name}: FAILED: ${error instanceof Error ? error.message : String(error)}`)
      }
    }
  }
  await Promise.all([worker(), worker()])
  return failed
}

async function main(args: readonly string[]): Promise<number> {
  const say = (line: string) => process.stderr.write(`shardlog peers: ${line}\n`)
  const unknown = args.find((arg) => arg !== '--install')
  if (unknown !== undefined) {
    say(`unknown argument ${unknown}; the only one is --install`)
    return 2
  }
  if (args.includes('--install')) {
    const failed = await installPeers(say)
    if (failed.length === 0) say(`all in place under ${peersFolder()}`)
    return failed.length === 0 ? 0 : 1
  }
  const names: PeerName[] = [...(Object.keys(mavenSets) as MavenSet[]), 'python', 'go', 'npm']
  for (const program of Object.values(debianPackages)) {
    if (program !== null) names.push(program)
  }
  for (const name of names) process.stdout.write(`${name}: ${peerPath(name) ?? 'not installed'}\n`)
  return 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2))
}
