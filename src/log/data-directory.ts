/**
 * A broker's data directory: the lock, `meta.properties`, the clean-shutdown mark, the offset
 * checkpoints, and which partitions have a folder. Main thread; the logs themselves belong to the
 * shards.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { getProperties } from 'properties-file'
import { addon } from '../native/addon.ts'
import type { Clock } from '../util/clock.ts'
import { errnoName } from '../util/errno.ts'
import {
  type PartitionOffset,
  readCheckpoint,
  replaceFile,
  syncDirectory,
  writeCheckpoint,
} from './checkpoint-file.ts'

const EAGAIN = 11
/** So that a file name of 255 bytes holds the rest. */
const NAME_CHARACTERS_KEPT = 200
const CLEANER_OFFSETS = 'cleaner-offset-checkpoint'

const BOOT_ID_PATH = '/proc/sys/kernel/random/boot_id'

/** The text of a file; null when there is none. */
async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

function areSame(some: readonly PartitionOffset[], others: readonly PartitionOffset[]): boolean {
  if (some.length !== others.length) return false
  return some.every((one, i) => {
    const other = others[i] as PartitionOffset
    return (
      one.offset === other.offset && one.partition === other.partition && one.topic === other.topic
    )
  })
}

export interface PartitionFolder {
  readonly topic: string
  readonly partition: number
  /** From `partition.metadata`; null where that file is missing (Kafka before 2.8). */
  readonly topicId: string | null
  /** The last one in `leader-epoch-checkpoint`; null where there is none. */
  readonly leaderEpoch: number | null
}

export interface Checkpoints {
  readonly recoveryPoints: Map<string, number>
  readonly highWatermarks: Map<string, number>
  readonly logStarts: Map<string, number>
}

export class DataDirectory {
  readonly path: string
  readonly #clock: Clock
  #lock: number
  #isNew = false
  #lostTail: number | null = null
  #hasNewLoss = false
  #isNewLossNoted = false
  /** What each checkpoint holds. */
  readonly #written = new Map<string, readonly PartitionOffset[]>()

  private constructor(path: string, lock: number, clock: Clock) {
    this.path = path
    this.#lock = lock
    this.#clock = clock
  }

  /** Creates and locks it. Throws an Error with a one-line message. */
  static async open(path: string, clock: Clock): Promise<DataDirectory> {
    try {
      await mkdir(path, { recursive: true })
    } catch (error) {
      throw new Error(`cannot create the data directory ${path}: ${(error as Error).message}`)
    }
    const lock = addon.lockDirectory(join(path, '.lock'))
    if (lock === -EAGAIN) {
      throw new Error(`the data directory ${path} is in use by another broker (its .lock is held)`)
    }
    if (lock < 0) throw new Error(`cannot lock the data directory ${path}: ${errnoName(lock)}`)
    const directory = new DataDirectory(path, lock, clock)
    directory.#isNew = (await readIfThere(directory.#metaPath)) === null
    return directory
  }

  close(): void {
    if (this.#lock >= 0) addon.unlockDirectory(this.#lock)
    this.#lock = -1
  }

  folderOf(topic: string, partition: number): string {
    return join(this.path, `${topic}-${partition}`)
  }

  /** The broker id and cluster id that the directory belongs to. */
  async readMeta(): Promise<{ brokerId: number | null; clusterId: string | null }> {
    const path = this.#metaPath
    const text = await readIfThere(path)
    if (text === null) return { brokerId: null, clusterId: null }
    const properties = getProperties(text)
    const version = properties['version']
    if (version !== '0' && version !== '1') {
      throw new Error(`${path}: unknown version ${version ?? '(none)'}`)
    }
    const id = properties['broker.id'] ?? properties['node.id']
    if (id !== undefined && !/^\d+$/.test(id)) throw new Error(`${path}: broker.id is ${id}`)
    return {
      brokerId: id === undefined ? null : Number(id),
      clusterId: properties['cluster.id'] ?? null,
    }
  }

  async writeMeta(brokerId: number, clusterId: string): Promise<void> {
    await replaceFile(
      this.#metaPath,
      `#\nbroker.id=${brokerId}\nversion=0\ncluster.id=${clusterId}\n`,
    )
  }

  /**
   * Whether what was written here may be gone in part: the machine went down under a broker, and
   * with it what was not synced. A broker that is merely killed loses nothing. Known after
   * `takeCleanShutdownMark`, and true until `settleLostTail`, however often a broker is started.
   */
  get mayHaveLostTail(): boolean {
    return this.#lostTail !== null
  }

  /** A number of the loss, another one for each; null if there is none. */
  get lostTail(): number | null {
    return this.#lostTail
  }

  /** Whether the last broker here stopped in order; the mark is gone afterwards. */
  async takeCleanShutdownMark(): Promise<boolean> {
    const path = join(this.path, '.kafka_cleanshutdown')
    const isClean = (await readIfThere(path)) !== null
    await this.#noteBoot(isClean)
    if (isClean) await rm(path)
    return isClean
  }

  async #noteBoot(isClean: boolean): Promise<void> {
    const path = join(this.path, '.boot-id')
    const lost = Number.parseInt((await readIfThere(this.#lostTailPath)) ?? '', 10)
    this.#lostTail = Number.isNaN(lost) ? null : lost
    const noted = (await readIfThere(path))?.trim()
    // Of a system that does not tell, every boot may be another one.
    const current = (await readIfThere(BOOT_ID_PATH))?.trim() ?? ''
    const isSameBoot = current !== '' && noted === current
    if (isSameBoot) return
    // The first broker here has nothing to lose.
    const isNew = this.#isNew && noted === undefined
    if (!isClean && !isNew) {
      this.#lostTail = this.#nextLoss()
      await replaceFile(this.#lostTailPath, `${this.#lostTail}\n`)
    }
    await replaceFile(path, `${current}\n`)
  }

  #nextLoss(): number {
    return Math.max(this.#clock.nowMs(), (this.#lostTail ?? 0) + 1)
  }

  /**
   * The disk failed: the kernel drops what it could not write, so the next start may find less than
   * was there, and tells of it as of a machine that went down. Throws if that cannot be noted.
   */
  async noteLoss(): Promise<void> {
    this.#hasNewLoss = true
    if (this.#isNewLossNoted) return
    this.#isNewLossNoted = true
    try {
      await replaceFile(this.#lostTailPath, `${this.#nextLoss()}\n`)
    } catch (error) {
      this.#isNewLossNoted = false
      throw error
    }
  }

  /** Everything was handed over to other brokers: nobody counts on what these logs may lack. */
  async settleLostTail(): Promise<void> {
    // What the disk failed to take meanwhile is the next start's to tell.
    if (this.#hasNewLoss) return
    if (this.#lostTail !== null) await rm(this.#lostTailPath, { force: true })
    this.#lostTail = null
  }

  get #lostTailPath(): string {
    return join(this.path, '.lost-tail')
  }

  get #metaPath(): string {
    return join(this.path, 'meta.properties')
  }

  async writeCleanShutdownMark(): Promise<void> {
    await replaceFile(join(this.path, '.kafka_cleanshutdown'), '{"version":0,"brokerEpoch":-1}')
  }

  async readCheckpoints(): Promise<Checkpoints> {
    const read = (name: string) => readCheckpoint(join(this.path, name))
    return {
      recoveryPoints: await read('recovery-point-offset-checkpoint'),
      highWatermarks: await read('replication-offset-checkpoint'),
      logStarts: await read('log-start-offset-checkpoint'),
    }
  }

  writeRecoveryPoints(offsets: readonly PartitionOffset[]): Promise<void> {
    return this.#writeCheckpoint('recovery-point-offset-checkpoint', offsets)
  }

  writeHighWatermarks(offsets: readonly PartitionOffset[]): Promise<void> {
    return this.#writeCheckpoint('replication-offset-checkpoint', offsets)
  }

  writeLogStarts(offsets: readonly PartitionOffset[]): Promise<void> {
    return this.#writeCheckpoint('log-start-offset-checkpoint', offsets)
  }

  /** One at a time of each name. What is as it was last written is not written again. */
  async #writeCheckpoint(name: string, offsets: readonly PartitionOffset[]): Promise<void> {
    const written = this.#written.get(name)
    if (written !== undefined && areSame(written, offsets)) return
    this.#written.delete(name)
    await writeCheckpoint(join(this.path, name), offsets)
    this.#written.set(name, offsets)
  }

  /** Up to where compacted logs were cleaned. Throws as `readCheckpoint`. */
  readCleanerOffsets(): Promise<Map<string, number>> {
    return readCheckpoint(join(this.path, CLEANER_OFFSETS))
  }

  async writeCleanerOffsets(offsets: readonly PartitionOffset[]): Promise<void> {
    await this.#writeCheckpoint(CLEANER_OFFSETS, offsets)
  }

  /** The partitions that have a folder here; those of deleted topics (`*-delete`) are removed. */
  async partitionFolders(): Promise<PartitionFolder[]> {
    const folders: PartitionFolder[] = []
    for (const entry of await readdir(this.path, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue
      if (entry.name.endsWith('-delete')) {
        await rm(join(this.path, entry.name), { recursive: true, force: true })
        continue
      }
      const match = /^([a-zA-Z0-9._-]{1,249})-(\d+)$/.exec(entry.name)
      // The metadata log of a KRaft cluster is no topic.
      if (!match || match[1] === '__cluster_metadata') continue
      folders.push({
        topic: match[1] as string,
        partition: Number(match[2]),
        topicId: await this.#topicIdIn(entry.name),
        leaderEpoch: await this.#leaderEpochIn(entry.name),
      })
    }
    return folders
  }

  async #topicIdIn(folder: string): Promise<string | null> {
    const text = await readIfThere(join(this.path, folder, 'partition.metadata'))
    return /^topic_id: (\S+)$/m.exec(text ?? '')?.[1] ?? null
  }

  async #leaderEpochIn(folder: string): Promise<number | null> {
    const text = await readIfThere(join(this.path, folder, 'leader-epoch-checkpoint'))
    const last = text?.trimEnd().split('\n').slice(2).at(-1)
    const epoch = /^(\d+) \d+$/.exec(last ?? '')?.[1]
    return epoch === undefined ? null : Number(epoch)
  }

  /** Of a folder that is new: nothing is lost with the file but what the controller will tell. */
  async writePartitionMetadata(topic: string, partition: number, topicId: string): Promise<void> {
    const path = join(this.folderOf(topic, partition), 'partition.metadata')
    await writeFile(path, `version: 0\ntopic_id: ${topicId}\n`)
  }

  /**
   * Takes the folders of partitions out of the way under a name that the next start removes;
   * answers where they are now, for `removeFolders`.
   */
  async discardPartitions(
    partitions: readonly { readonly topic: string; readonly partition: number }[],
  ): Promise<string[]> {
    const discarded: string[] = []
    for (const { topic, partition } of partitions) {
      const suffix = process.hrtime.bigint().toString(16)
      const name = topic.slice(0, NAME_CHARACTERS_KEPT)
      const path = join(this.path, `${name}-${partition}.${suffix}-delete`)
      try {
        await rename(this.folderOf(topic, partition), path)
        discarded.push(path)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      }
    }
    await syncDirectory(this.path)
    return discarded
  }

  async removeFolders(paths: readonly string[]): Promise<void> {
    for (const path of paths) await rm(path, { recursive: true, force: true })
  }
}
