/**
 * Kafka's offset checkpoint files: a version, a count, then `topic partition offset` lines.
 * Written beside the old file and renamed over it, so that a crash leaves one or the other.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface PartitionOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** Topic and partition as one string, the name of the partition's folder. */
export function partitionKey(topic: string, partition: number): string {
  return `${topic}-${partition}`
}

/** The offsets by `partitionKey`; a missing file is empty. Throws on a damaged one. */
export async function readCheckpoint(path: string): Promise<Map<string, number>> {
  const offsets = new Map<string, number>()
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return offsets
    throw error
  }
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  if (lines[0] !== '0') throw new Error(`${path}: unknown version ${lines[0] ?? '(empty file)'}`)
  for (const line of lines.slice(2)) {
    const match = /^(\S+) (\d+) (\d+)$/.exec(line)
    if (!match) throw new Error(`${path}: not a checkpoint line: ${line}`)
    offsets.set(partitionKey(match[1] as string, Number(match[2])), Number(match[3]))
  }
  if (offsets.size !== Number(lines[1])) {
    throw new Error(`${path}: ${lines[1]} entries announced, ${offsets.size} found`)
  }
  return offsets
}

export async function writeCheckpoint(
  path: string,
  offsets: readonly PartitionOffset[],
): Promise<void> {
  const lines = offsets.map(({ topic, partition, offset }) => `${topic} ${partition} ${offset}\n`)
  await replaceFile(path, `0\n${offsets.length}\n${lines.join('')}`)
}

/** Makes `path` hold `text`, durably and never half. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.tmp`
  const file = await open(temporary, 'w')
  try {
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
