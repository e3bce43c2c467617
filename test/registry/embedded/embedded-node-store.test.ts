/**
 * The embedded store: versions and conditions; that what was acknowledged is there after a crash
 * at any byte; that a failing disk fails the call and changes nothing; compaction.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { ANY_VERSION, RegistryError } from '../../../src/registry/cluster-registry.ts'
import {
  EmbeddedNodeStore,
  JOURNAL_FILE,
} from '../../../src/registry/embedded/embedded-node-store.ts'
import { scanRecords } from '../../../src/registry/embedded/journal.ts'
import { type Logger, silentLogger } from '../../../src/util/logger.ts'
import { MemoryFiles } from './faulty-files.ts'

const directories: string[] = []
after(async () => {
  for (const directory of directories) await rm(directory, { recursive: true })
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'registry-'))
  directories.push(directory)
  return directory
}

const JOURNAL = join('/data', JOURNAL_FILE)

function openIn(files: MemoryFiles, logger: Logger = silentLogger): Promise<EmbeddedNodeStore> {
  return EmbeddedNodeStore.open({ directory: '/data', logger, files })
}

async function dump(store: EmbeddedNodeStore, path = ''): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {}
  const node = await store.get(path)
  if (node) found[path] = { ...node }
  for (const name of (await store.children(path)).toSorted()) {
    Object.assign(found, await dump(store, `${path}/${name}`))
  }
  return found
}

/** What the store holds, without what tells the journal's own business. */
async function state(store: EmbeddedNodeStore): Promise<string> {
  const nodes = await dump(store)
  return JSON.stringify(
    Object.entries(nodes).map(([path, node]) => {
      const { data, version } = node as { data: string; version: number }
      return [path, data, version]
    }),
  )
}

test('versions guard writes, parents appear and vanish, watchers hear in order', async () => {
  const directory = await temporaryDirectory()
  const store = await EmbeddedNodeStore.open({ directory, logger: silentLogger })
  const heard: (string | null)[] = []
  const names: string[] = []
  const stop = store.watchNode('/a/b', (node) => heard.push(node?.data ?? null))
  store.watchChildren('', (now) => {
    names.push(now.join())
  })
  await Promise.resolve()
  assert.deepEqual(await store.create('/a/b', 'one'), { ok: true, version: 0 })
  assert.deepEqual(await store.create('/a/b', 'two'), { ok: false, reason: 'exists' })
  assert.deepEqual(await store.set('/a/b', 'two', 1), { ok: false, reason: 'version' })
  assert.deepEqual(await store.set('/a/b', 'two', 0), { ok: true, version: 1 })
  assert.deepEqual(await store.set('/a/b', 'three', ANY_VERSION), { ok: true, version: 2 })
  assert.deepEqual(await store.set('/a/x', '', ANY_VERSION), { ok: false, reason: 'missing' })
  assert.deepEqual(await store.children('/a'), ['b'])
  assert.equal((await store.create('/a', 'parent')).ok, true)
  assert.deepEqual(await store.delete('/a', ANY_VERSION), { ok: false, reason: 'exists' })
  assert.deepEqual(await store.delete('/a/b', 1), { ok: false, reason: 'version' })
  assert.equal((await store.delete('/a/b', 2)).ok, true)
  assert.equal((await store.delete('/a', ANY_VERSION)).ok, true)
  assert.deepEqual(await store.children(''), [])
  stop()
  await store.create('/a/b', '')
  assert.deepEqual(heard, [null, 'one', 'two', 'three', null])
  assert.deepEqual(names, ['', 'a', '', 'a'])
  await store.close()
  await assert.rejects(store.get('/c'), { name: 'RegistryError', kind: 'closed' })
  await assert.rejects(store.create('/d', ''), { name: 'RegistryError', kind: 'closed' })
})

test('a conditional write sees the writes asked for before it, in one sync', async () => {
  const files = new MemoryFiles()
  const store = await openIn(files)
  const before = files.operations.length
  const results = await Promise.all([
    store.create('/n', '0'),
    store.set('/n', '1', 0),
    store.set('/n', '2', 0),
    store.create('/n/child', ''),
    store.delete('/n', ANY_VERSION),
  ])
  assert.deepEqual(
    results.map((r) => (r.ok ? r.version : r.reason)),
    [0, 1, 'version', 0, 'exists'],
  )
  assert.deepEqual(files.operations.slice(before), ['write', 'sync'])
  await store.close()
})

test('everything but ephemeral nodes is there after reopening, and ids are not used twice', async () => {
  const directory = await temporaryDirectory()
  const store = await EmbeddedNodeStore.open({ directory, logger: silentLogger })
  await store.create('/kept', 'x'.repeat(100_000))
  await store.set('/kept', 'ünïcode "quoted"', 0)
  await store.create('/session', 'mine', { ephemeral: true })
  await store.set('/session', 'still mine', 0)
  const session = await store.get('/session')
  await store.close()
  const again = await EmbeddedNodeStore.open({ directory, logger: silentLogger })
  assert.equal(await again.get('/session'), null)
  const kept = await again.get('/kept')
  assert.equal(kept?.data, 'ünïcode "quoted"')
  assert.equal(kept?.version, 1)
  await again.create('/session', 'new', { ephemeral: true })
  assert.ok(((await again.get('/session'))?.creationId ?? 0) > (session?.creationId ?? 0))
  await again.close()
  assert.deepEqual(await readdir(directory), [JOURNAL_FILE])
})

const operation = fc.record({
  kind: fc.constantFrom('create', 'create', 'set', 'set', 'delete', 'ephemeral'),
  path: fc.constantFrom('/a', '/a/b', '/a/b/c', '/d', '/d/e', '/f'),
  data: fc.string({ maxLength: 12 }),
  expected: fc.constantFrom(ANY_VERSION, ANY_VERSION, 0, 1),
})

test('cut at any byte, the journal holds a prefix of the acknowledged writes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 15 }), async (operations) => {
      const files = new MemoryFiles()
      const store = await openIn(files)
      const sizes = [store.journalBytes]
      const states = [await state(store)]
      for (const { kind, path, data, expected } of operations) {
        if (kind === 'create') await store.create(path, data)
        else if (kind === 'set') await store.set(path, data, expected)
        else if (kind === 'delete') await store.delete(path, expected)
        else await store.create(`/session${path}`, data, { ephemeral: true })
        await store.delete('/session/a', ANY_VERSION)
        sizes.push(store.journalBytes)
        const live = JSON.parse(await state(store)) as [string][]
        states.push(JSON.stringify(live.filter(([at]) => !at.startsWith('/session'))))
      }
      await store.close()
      const whole = files.contents.get(JOURNAL) as Buffer
      for (let length = sizes[0] as number; length <= whole.length; length++) {
        const crashed = new MemoryFiles()
        crashed.contents.set(JOURNAL, Buffer.from(whole.subarray(0, length)))
        const warnings: string[] = []
        const logger = { ...silentLogger, warn: (_: object, text: string) => warnings.push(text) }
        const reopened = await openIn(crashed, logger)
        const prefix = sizes.findLastIndex((size) => size <= length)
        assert.equal(await state(reopened), states[prefix])
        await reopened.create('/after', 'crash')
        await reopened.close()
        const scanned = scanRecords(crashed.contents.get(JOURNAL) as Buffer)
        assert.equal(scanned.cut, null)
        const once = await openIn(crashed)
        assert.equal((await once.get('/after'))?.data, 'crash')
        assert.equal(warnings.length, sizes.includes(length) ? 0 : 1)
      }
    }),
    { numRuns: 40 },
  )
})

test('any flipped byte is found, and what stands before it is kept', async () => {
  const files = new MemoryFiles()
  const store = await openIn(files)
  const first = store.journalBytes
  for (let i = 0; i < 5; i++) await store.create(`/n${i}`, `value ${i}`)
  await store.close()
  const whole = files.contents.get(JOURNAL) as Buffer
  for (let at = first; at < whole.length; at++) {
    const damaged = new MemoryFiles()
    const bytes = Buffer.from(whole)
    bytes[at] = (bytes[at] as number) ^ 0x40
    damaged.contents.set(JOURNAL, bytes)
    const reopened = await openIn(damaged)
    const names = (await reopened.children('')).toSorted()
    assert.deepEqual(names, ['n0', 'n1', 'n2', 'n3', 'n4'].slice(0, names.length))
    assert.ok(names.length < 5)
  }
})

test('a journal whose beginning is damaged is refused, not emptied', async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.from('not a journal'), Buffer.alloc(4096)]) {
    const files = new MemoryFiles()
    files.contents.set(JOURNAL, bytes)
    await assert.rejects(openIn(files), (error) => {
      assert.ok(error instanceof RegistryError)
      assert.equal(error.kind, 'corrupt')
      assert.match(error.message, /registry\.journal/)
      return true
    })
    assert.deepEqual(files.contents.get(JOURNAL), bytes)
  }
})

test('whichever operation fails: the call fails, the state stays, later writes work', async () => {
  const script = async (store: EmbeddedNodeStore): Promise<(boolean | string)[]> => {
    const outcomes: (boolean | string)[] = []
    for (let i = 0; i < 6; i++) {
      const before = await state(store)
      try {
        await Promise.all([store.create(`/n${i}`, 'x'.repeat(5000)), store.create(`/m${i}`, '')])
        outcomes.push(true)
      } catch (error) {
        assert.ok(error instanceof RegistryError)
        assert.equal(error.kind, 'unavailable')
        assert.match(error.message, /ENOSPC|EIO/)
        assert.equal(await state(store), before)
        outcomes.push(error.message)
      }
    }
    return outcomes
  }
  const clean = new MemoryFiles()
  const opened = await openIn(clean)
  const start = clean.operations.length
  await script(opened)
  const end = clean.operations.length
  assert.ok(end - start >= 12)
  for (let operation = start + 1; operation <= end; operation++) {
    for (const bytesFirst of [0, 3, 700]) {
      for (const code of ['ENOSPC', 'EIO']) {
        const files = new MemoryFiles()
        const store = await openIn(files)
        files.fault = { operation, code, bytesFirst, isLasting: false }
        const outcomes = await script(store)
        assert.equal(outcomes.filter((o) => o !== true).length, 1)
        const live = await state(store)
        await store.close()
        const reopened = await openIn(files)
        assert.equal(await state(reopened), live)
      }
    }
  }
})

test('a disk that stays broken fails every write and heals when the disk does', async () => {
  const files = new MemoryFiles()
  const store = await openIn(files)
  await store.create('/before', '')
  const at = files.operations.length + 1
  files.fault = { operation: at, code: 'EIO', bytesFirst: 10, isLasting: true }
  for (let i = 0; i < 3; i++) {
    await assert.rejects(store.create('/during', ''), { kind: 'unavailable' })
    assert.equal(await store.get('/during'), null)
  }
  files.fault = null
  assert.equal((await store.create('/after', '')).ok, true)
  const live = await state(store)
  await store.close()
  const reopened = await openIn(files)
  assert.equal(await state(reopened), live)
  assert.equal(await reopened.get('/during'), null)
})

test('the journal is compacted, survives a failed compaction, and keeps its state', async () => {
  for (const failing of ['none', 'open', 'write', 'sync', 'rename', 'syncDirectory']) {
    const files = new MemoryFiles()
    let warnings = 0
    const logger = { ...silentLogger, warn: () => (warnings += 1) }
    const store = await openIn(files, logger)
    await store.create('/n', '')
    let armed = failing === 'none'
    const data = 'y'.repeat(20_000)
    for (let i = 0; i < 150; i++) {
      const large = store.journalBytes > 1024 * 1024 - 25_000
      if (!armed && large) {
        armed = true
        const ahead = ['open', 'write', 'sync', 'rename', 'syncDirectory'].indexOf(failing)
        // 5 writes and a sync of the append, then the compaction's own: it writes five times too.
        const before = files.operations.length + 6 + (ahead < 2 ? ahead : ahead + 4)
        files.fault = { operation: before + 1, code: 'ENOSPC', bytesFirst: 9, isLasting: false }
      }
      const result = await store.set('/n', data + i, ANY_VERSION)
      assert.equal(result.ok && result.version, i + 1)
    }
    assert.equal(warnings, failing === 'none' ? 0 : 1)
    const live = await state(store)
    assert.ok(store.journalBytes < 3 * 1024 * 1024)
    await store.close()
    const reopened = await openIn(files)
    assert.equal(await state(reopened), live)
  }
})
