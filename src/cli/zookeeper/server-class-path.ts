/**
 * Where a ZooKeeper server comes from: a release that is there, Debian's package, or Maven, which
 * fetches the jars by name into a cache outside the package.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDirectory, zooKeeperHome } from '../../config/environment.ts'
import { ToolError } from '../kit/tool.ts'

const VERSION = '3.8.4'
const DEBIAN_JAR = '/usr/share/java/zookeeper.jar'
/** In a package that the jar's own needs, though the jar does not name it: the server would be mute. */
const DEBIAN_LOGGING_JAR = '/usr/share/java/slf4j-simple.jar'
/** What the server needs beside its own dependencies. */
const ARTIFACTS = [
  `org.apache.zookeeper:zookeeper:${VERSION}`,
  'io.dropwizard.metrics:metrics-core:4.1.12.1',
  'org.xerial.snappy:snappy-java:1.1.10.5',
]
const PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'
const TOLD_CHARACTERS = 200

async function jarsIn(folder: string): Promise<string[]> {
  const names = existsSync(folder) ? await readdir(folder) : []
  return names.filter((name) => name.endsWith('.jar')).map((name) => join(folder, name))
}

function isServer(jar: string): boolean {
  return /(?:^|\/)zookeeper(?:-\d[^/]*)?\.jar$/.test(jar)
}

/** Jars of a release: in `lib`, before 3.5 beside it. Throws ToolError. */
async function releaseJars(home: string): Promise<string[]> {
  const jars = [...(await jarsIn(join(home, 'lib'))), ...(await jarsIn(home))]
  if (jars.some(isServer)) return jars
  throw new ToolError(
    `ZOOKEEPER_HOME is ${home}, where no zookeeper jar is`,
    'it is to be the folder of a release of Apache ZooKeeper, with lib/*.jar',
  )
}

function projectFile(): string {
  const dependencies = ARTIFACTS.map((text) => {
    const [group, artifact, version] = text.split(':')
    return `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId>
      <version>${version}</version></dependency>`
  })
  return `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
  <groupId>shardlog</groupId><artifactId>zookeeper-server</artifactId><version>1</version>
  <packaging>pom</packaging>
  <dependencies>${dependencies.join('\n')}</dependencies>
</project>
`
}

/** Runs Maven; what it said if it failed, null if it is not there. */
async function maven(
  folder: string,
  jars: string,
  begun: () => void,
): Promise<{ failure: string | null } | null> {
  const args = ['-q', '-B', PLUGIN, '-DincludeScope=runtime', `-DoutputDirectory=${jars}`]
  const child = spawn('mvn', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  child.once('spawn', begun)
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk
    })
  }
  try {
    const [code] = (await once(child, 'close')) as [number | null]
    if (code === 0) return { failure: null }
    const line = output.split('\n').find((one) => one.includes('ERROR')) ?? output
    return { failure: line.trim().slice(0, TOLD_CHARACTERS) }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

/** Jars of the cache, fetched first if they are not there; null without Maven. Throws ToolError. */
async function fetchedJars(told: (line: string) => void): Promise<string[] | null> {
  const cache = cacheDirectory()
  const place = join(cache, `zookeeper-${VERSION}`)
  const there = await jarsIn(place)
  if (there.some(isServer)) return there
  const folder = join(cache, `zookeeper-${VERSION}.${process.pid}`)
  await mkdir(folder, { recursive: true })
  try {
    await writeFile(join(folder, 'pom.xml'), projectFile())
    const begun = (): void => told(`fetching Apache ZooKeeper ${VERSION} with Maven into ${place}`)
    const run = await maven(folder, join(folder, 'jars'), begun)
    if (run === null) return null
    if (run.failure !== null) {
      throw new ToolError(`Maven cannot fetch Apache ZooKeeper: ${run.failure}`)
    }
    await rm(place, { recursive: true, force: true })
    await rename(join(folder, 'jars'), place)
    return await jarsIn(place)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The class path of a ZooKeeper server. Throws ToolError when there is none to be had. */
export async function serverClassPath(told: (line: string) => void): Promise<string[]> {
  const home = zooKeeperHome()
  if (home !== null) return await releaseJars(home)
  // Debian's jar names its dependencies itself.
  if (existsSync(DEBIAN_JAR)) return [DEBIAN_JAR, DEBIAN_LOGGING_JAR]
  const fetched = await fetchedJars(told)
  if (fetched !== null) return fetched
  throw new ToolError(
    'there is no Apache ZooKeeper here',
    "set ZOOKEEPER_HOME to a release's folder, or install Debian's zookeeper package, or Maven " +
      '(mvn), which fetches one',
  )
}
