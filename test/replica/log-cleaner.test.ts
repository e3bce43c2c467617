/**
 * The cleaner over real logs, shards and threads: what it chooses, what it remembers, and what it
 * does when logs are damaged, deleted, closed or lose their shard under it.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { COMPACT, Harness } from './harness.ts'

/** `count` writes to `keys` keys in turn. */
function writes(count: number, keys: number): string[] {
  return Array.from({ length: count }, (_, i) => `k${i % keys}`)
}

function segmentFiles(path: string, topic: string): string[] {
  return readdirSync(join(path, `${topic}-0`)).filter((name) => name.endsWith('.log'))
}

for (const threaded of [false, true]) {
  const where = threaded ? 'on a shard thread' : 'on the main thread'

  test(`what is due is cleaned, and remembered in Kafka's file, ${where}`, async (t) => {
    const harness = await Harness.start(t, { threaded })
    const table = await harness.openLog('table')
    await harness.open('events', { 'segment.bytes': '2000' })
    await harness.append('table', writes(100, 5))
    await harness.append('events', writes(100, 5))
    const events = await harness.read('events')
    await harness.logs.cleaner.run()
    const left = await harness.read('table')
    const end = await harness.logs.cleaner.cleanOffset(table)
    assert.ok(end !== null && end > 80 && end < 100, `${end}`)
    const closed = left.filter((line) => Number(line.split(':')[0]) < end)
    assert.deepEqual(closed.map((line) => line.split(':')[1]).sort(), [
      'k0',
      'k1',
      'k2',
      'k3',
      'k4',
    ])
    assert.equal(left.length, 5 + 100 - end)
    assert.deepEqual(await harness.read('events'), events)
    assert.equal(harness.checkpoint, `0\n1\ntable 0 ${end}\n`)
    assert.deepEqual(
      harness.lines.map(({ level, message }) => [level, message]),
      [['info', 'a log was compacted']],
    )
    await harness.logs.cleaner.run()
    assert.equal(harness.lines.length, 1, 'it is clean')

    // It goes on from there, in the next life of the broker too.
    await harness.close()
    const again = await Harness.start(t, { threaded, path: harness.path })
    const reopened = await again.openLog('table')
    await again.append('table', writes(60, 5))
    await again.logs.cleaner.run()
    const later = await again.logs.cleaner.cleanOffset(reopened)
    assert.ok(later !== null && later > end)
    const first = (await again.read('table')).filter((line) => Number(line.split(':')[0]) < later)
    assert.equal(first.length, 5)
    await again.close()
  })
}

test('a damaged log is left alone with one line, and others are cleaned', async (t) => {
  const harness = await Harness.start(t)
  for (const topic of ['good', 'bad']) {
    await harness.open(topic)
    await harness.append(topic, writes(100, 5))
  }
  const folder = join(harness.path, 'bad-0')
  const victim = join(folder, segmentFiles(harness.path, 'bad')[1] as string)
  const bytes = readFileSync(victim)
  bytes.writeUInt8(1, bytes.length - 1)
  writeFileSync(victim, bytes)
  const { cleaner } = harness.logs
  await cleaner.run()
  await cleaner.run()
  assert.ok(cleaner.isUncleanable(harness.log('bad')))
  assert.ok(!cleaner.isUncleanable(harness.log('good')))
  assert.ok(((await cleaner.cleanOffset(harness.log('good'))) ?? 0) > 80)
  const errors = harness.lines.filter((line) => line.level === 'error')
  assert.equal(errors.length, 1)
  assert.equal(errors[0]?.fields['topic'], 'bad')
  assert.match(String(errors[0]?.fields['reason']), /wrong CRC at position \d+ of .*bad-0/)
})

test('a log that is deleted, or a broker that stops, does not wait for the cleaner', async (t) => {
  // So slow that it would take an hour.
  const harness = await Harness.start(t, { settings: { bytesPerSecond: 10 } })
  for (const topic of ['deleted', 'kept']) {
    await harness.open(topic)
    await harness.append(topic, writes(100, 5))
  }
  const { cleaner } = harness.logs
  const running = cleaner.run()
  const deleted = harness.log('deleted')
  const kept = harness.log('kept')
  while (!cleaner.isCleaning(deleted)) await new Promise(setImmediate)
  await harness.delete('deleted')
  assert.ok(!readdirSync(harness.path).includes('deleted-0'))
  while (!cleaner.isCleaning(kept)) await new Promise(setImmediate)
  await harness.close()
  await running
  const left = readdirSync(join(harness.path, 'kept-0'))
  assert.deepEqual(
    left.filter((name) => /cleaned|swap|deleted/.test(name)),
    [],
  )
  assert.deepEqual(
    harness.lines.filter((line) => line.level !== 'info'),
    [],
  )
})

test('what is cut or lost while it is being cleaned is not replaced', async (t) => {
  const harness = await Harness.start(t, { threaded: true, settings: { bytesPerSecond: 200_000 } })
  const partition = await harness.openLog('table')
  await harness.append('table', writes(200, 5))
  const before = await harness.read('table')
  const { cleaner } = harness.logs
  const cleaning = cleaner.clean(partition)
  while (!cleaner.isCleaning(partition)) await new Promise(setImmediate)
  await assert.rejects(harness.shard.run('crash', null))
  assert.equal(await cleaning, null)
  while (partition.log === 0) await new Promise(setImmediate)
  assert.deepEqual(await harness.read('table'), before)
  assert.ok(!cleaner.isUncleanable(partition))
  const report = await cleaner.clean(partition)
  assert.ok(report !== null && report.recordsAfter === 5, JSON.stringify(report))
})

test('no more is read and written per second than is allowed', async (t) => {
  const harness = await Harness.start(t, { settings: { bytesPerSecond: 100_000 } })
  const partition = await harness.openLog('table')
  await harness.append('table', writes(150, 5))
  const startedMs = performance.now()
  const report = await harness.logs.cleaner.clean(partition)
  const seconds = (performance.now() - startedMs) / 1000
  assert.ok(report !== null)
  // Twice read, once written.
  const bytes = 2 * report.bytesBefore + report.bytesAfter
  assert.ok(seconds > bytes / 100_000 - 0.05, `${bytes} bytes in ${seconds} s`)
})

test('a checkpoint that does not fit, or cannot be read, only costs another pass', async (t) => {
  const path = await mkdtemp(join(tmpdir(), 'shardlog-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  for (const [i, text] of ['0\n1\ntable 0 999999\n', 'rubbish', '0\n7\ntable 0 3\n'].entries()) {
    writeFileSync(join(path, 'cleaner-offset-checkpoint'), text)
    const harness = await Harness.start(t, { path })
    const partition = await harness.openLog('table')
    await harness.append('table', writes(100, 5))
    await harness.logs.cleaner.run()
    const end = (await harness.logs.cleaner.cleanOffset(partition)) ?? 0
    assert.ok(end > i * 100 && end <= (i + 1) * 100)
    assert.equal(harness.checkpoint, `0\n1\ntable 0 ${end}\n`)
    await harness.logs.cleaner.truncated(partition, 7)
    assert.equal(harness.checkpoint, '0\n1\ntable 0 7\n')
    await harness.close()
  }
})

test('min.compaction.lag.ms and max.compaction.lag.ms go by the times of records', async (t) => {
  const harness = await Harness.start(t)
  const young = await harness.openLog('young', { ...COMPACT, 'min.compaction.lag.ms': '1000' })
  const old = await harness.openLog('old', {
    ...COMPACT,
    'min.cleanable.dirty.ratio': '1',
    'max.compaction.lag.ms': '1000',
  })
  for (const topic of ['young', 'old']) await harness.append(topic, writes(100, 5))
  const { cleaner } = harness.logs
  await cleaner.run()
  assert.equal(await cleaner.cleanOffset(young), null)
  assert.equal(await cleaner.cleanOffset(old), null)
  harness.clock.advance(1001)
  await cleaner.run()
  assert.ok(((await cleaner.cleanOffset(young)) ?? 0) > 80)
  assert.ok(((await cleaner.cleanOffset(old)) ?? 0) > 80)
  // The active segment of such a topic does not grow old either.
  const before = segmentFiles(harness.path, 'old').length
  await harness.append('old', ['k0'])
  assert.equal(segmentFiles(harness.path, 'old').length, before + 1)
})

test('with compact and delete, retention goes on beside the cleaner', async (t) => {
  const harness = await Harness.start(t)
  const partition = await harness.openLog('both', {
    ...COMPACT,
    'cleanup.policy': 'compact,delete',
    'retention.ms': '5000',
  })
  await harness.append('both', writes(100, 50))
  await harness.logs.cleaner.run()
  assert.equal(partition.logStart, 0)
  harness.clock.advance(6000)
  await harness.append('both', writes(60, 5))
  await harness.logs.applyRetention()
  assert.ok(partition.logStart >= 90, `${partition.logStart}`)
  await harness.logs.cleaner.run()
  const left = await harness.read('both')
  assert.ok(left.length < 40 && Number(left[0]?.split(':')[0]) >= partition.logStart)
})
