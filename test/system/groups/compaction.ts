/** What the cleaner has done to the partitions of a broker under test. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { until } from '../../support/until.ts'

/** Base offsets of a partition's segments, ascending. */
export function segmentBases(dataDir: string, topic: string, partition: number): number[] {
  return readdirSync(join(dataDir, `${topic}-${partition}`))
    .filter((name) => name.endsWith('.log'))
    .map((name) => Number(name.slice(0, -'.log'.length)))
    .sort((a, b) => a - b)
}

/** Waits until a partition has been cleaned up to its active segment, which is not its first. */
export async function compacted(dataDir: string, topic: string, partition: number): Promise<void> {
  const checkpoint = join(dataDir, 'cleaner-offset-checkpoint')
  await until(`${topic}-${partition} is compacted`, () => {
    const text = existsSync(checkpoint) ? readFileSync(checkpoint, 'utf8') : ''
    const line = new RegExp(`^${topic} ${partition} (\\d+)$`, 'm').exec(text)
    const active = segmentBases(dataDir, topic, partition).at(-1) ?? 0
    return active > 0 && Number(line?.[1] ?? -1) === active
  })
}
