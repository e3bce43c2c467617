/** A data directory tells whether the machine may have taken what was not synced. */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { DataDirectory } from '../../src/log/data-directory.ts'
import { ManualClock } from '../../src/util/clock.ts'

/** One that stands still: not even then do two losses have one number. */
const clock = new ManualClock()

/** One life of a broker: [stopped in order before, may have lost something before]. */
async function live(path: string, end: 'in order' | 'killed'): Promise<[boolean, boolean]> {
  const directory = await DataDirectory.open(path, clock)
  const meta = await directory.readMeta()
  if (meta.brokerId === null) await directory.writeMeta(1, 'cluster')
  const clean = await directory.takeCleanShutdownMark()
  const mayHaveLostTail = directory.mayHaveLostTail
  if (end === 'in order') {
    await directory.settleLostTail()
    await directory.writeCleanShutdownMark()
  }
  directory.close()
  return [clean, mayHaveLostTail]
}

async function start(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

test('a broker that is killed loses nothing, one whose machine goes down may', async (t) => {
  const path = await start(t)
  const bootId = join(path, '.boot-id')
  assert.deepEqual((await live(path, 'killed'))[1], false, 'the first one')
  assert.deepEqual(await live(path, 'killed'), [false, false])
  const noted = await readFile(bootId, 'utf8')
  // Another boot from here on.
  await writeFile(bootId, '00000000-0000-0000-0000-000000000000\n')
  assert.deepEqual(await live(path, 'in order'), [false, true])
  assert.equal(await readFile(bootId, 'utf8'), noted)
  await writeFile(bootId, '00000000-0000-0000-0000-000000000000\n')
  assert.deepEqual(await live(path, 'killed'), [true, false], 'all of it was synced')
  await rm(bootId)
  assert.deepEqual(await live(path, 'killed'), [false, true], 'of another broker')
})

test('what was lost stays known until all is handed over, each loss by another number', async (t) => {
  const path = await start(t)
  await live(path, 'killed')
  const open = async (): Promise<DataDirectory> => {
    const directory = await DataDirectory.open(path, clock)
    await directory.readMeta()
    await directory.takeCleanShutdownMark()
    directory.close()
    return directory
  }
  await writeFile(join(path, '.boot-id'), '00000000-0000-0000-0000-000000000000\n')
  const first = (await open()).lostTail
  assert.ok(first !== null)
  assert.equal((await open()).lostTail, first)
  await writeFile(join(path, '.boot-id'), '00000000-0000-0000-0000-000000000000\n')
  const again = await open()
  assert.ok(again.lostTail !== null && again.lostTail > first)
  await again.settleLostTail()
  assert.equal((await open()).lostTail, null)
})

test('what a disk did not take is a loss that the next start tells of', async (t) => {
  const path = await start(t)
  await live(path, 'killed')
  const directory = await DataDirectory.open(path, clock)
  await directory.takeCleanShutdownMark()
  await directory.noteLoss()
  await directory.noteLoss()
  assert.equal(directory.lostTail, null, 'it is of the present start that this tells')
  await directory.settleLostTail()
  await directory.writeCleanShutdownMark()
  directory.close()
  const next = await DataDirectory.open(path, clock)
  await next.takeCleanShutdownMark()
  assert.notEqual(next.lostTail, null)
  await next.settleLostTail()
  next.close()
  assert.deepEqual(await live(path, 'in order'), [false, false])
})

test('a checkpoint is written again only when it says something else', async (t) => {
  const path = await start(t)
  const directory = await DataDirectory.open(path, clock)
  t.after(() => directory.close())
  const written = async (offset: number): Promise<number> => {
    await directory.writeHighWatermarks([{ topic: 't', partition: 0, offset }])
    return (await stat(join(path, 'replication-offset-checkpoint'))).ino
  }
  const first = await written(1)
  assert.equal(await written(1), first)
  // Another file is put in its place.
  assert.notEqual(await written(2), first)
  assert.deepEqual((await directory.readCheckpoints()).highWatermarks, new Map([['t-0', 2]]))
})
