/**
 * What every NodeStore does, whatever it stands on. A store under test says how to open it, and
 * how to wait: for a simulated one that means to move its clock.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ANY_VERSION,
  RegistryError,
  type WriteResult,
} from '../../src/registry/cluster-registry.ts'
import type { NodeStore, StoredNode } from '../../src/registry/node-store.ts'

export interface StoreUnderTest {
  /** A store, empty but for what it keeps for itself. */
  readonly store: NodeStore
  /** Another session on the same tree; null if there can be none. */
  readonly other: NodeStore | null
  /** Resolves with what the promise does, after bringing about that it does. */
  settled<T>(promise: Promise<T>): Promise<T>
  until(what: string, condition: () => boolean): Promise<void>
  close(): Promise<void>
}

export type OpenStore = () => Promise<StoreUnderTest>

/** Puts the suite among the tests of the file that calls it. */
export function testNodeStore(
  name: string,
  open: OpenStore,
  options: { skip?: string } = {},
): void {
  const check = (what: string, body: (subject: StoreUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, options.skip === undefined ? {} : { skip: options.skip }, async () => {
      const subject = await open()
      try {
        await body(subject)
      } finally {
        await subject.close()
      }
    })
  }

  check('versions guard writes', async ({ store, settled }) => {
    assert.deepEqual(await settled(store.create('/a', 'one')), { ok: true, version: 0 })
    assert.deepEqual(await settled(store.create('/a', 'two')), { ok: false, reason: 'exists' })
    assert.deepEqual(await settled(store.set('/a', 'two', 1)), { ok: false, reason: 'version' })
    assert.deepEqual(await settled(store.set('/a', 'two', 0)), { ok: true, version: 1 })
    const any = await settled(store.setOnce('/a', 'thrée', ANY_VERSION))
    assert.deepEqual(any, { ok: true, version: 2 })
    assert.deepEqual(await settled(store.setOnce('/a', 'x', 0)), { ok: false, reason: 'version' })
    const missing = await settled(store.set('/x', '', ANY_VERSION))
    assert.deepEqual(missing, { ok: false, reason: 'missing' })
    const node = await settled(store.get('/a'))
    assert.equal(node?.data, 'thrée')
    assert.equal(node?.version, 2)
    assert.equal(node?.endsWith, 'nobody')
    assert.deepEqual(await settled(store.delete('/a', 1)), { ok: false, reason: 'version' })
    assert.equal((await settled(store.delete('/a', 2))).ok, true)
    assert.equal(await settled(store.get('/a')), null)
  })

  check('parents are created, children listed, trees deleted', async ({ store, settled }) => {
    assert.deepEqual(await settled(store.create('/a/b/c', '1')), { ok: true, version: 0 })
    const again = await settled(store.create('/a/b/d', '2', { parentLevels: 2 }))
    assert.deepEqual(again, { ok: true, version: 0 })
    assert.deepEqual(await settled(store.children('/a')), ['b'])
    assert.deepEqual((await settled(store.children('/a/b'))).toSorted(), ['c', 'd'])
    assert.deepEqual(await settled(store.children('/nowhere')), [])
    const nodes = await settled(store.childNodes('/a/b'))
    assert.deepEqual([...nodes].map(([key, { data }]) => `${key}=${data}`).sort(), ['c=1', 'd=2'])
    await settled(store.create('/a/b/c/below', ''))
    const refused = await settled(store.delete('/a/b/c', ANY_VERSION))
    assert.deepEqual(refused, { ok: false, reason: 'exists' })
    await settled(store.deleteTree('/a'))
    assert.deepEqual(await settled(store.children('/a')), [])
    await settled(store.deleteTree('/a'))
    const anew = await settled(store.create('/a/b/d', '3', { parentLevels: 2 }))
    assert.deepEqual(anew, { ok: true, version: 0 })
  })

  check('operations are carried out in order', async ({ store, settled }) => {
    const results = await settled(
      Promise.all([
        store.create('/n', '0'),
        store.set('/n', '1', 0),
        store.set('/n', '2', 0),
        store.create('/n/child', ''),
        store.delete('/n', ANY_VERSION),
        store.delete('/n/child', ANY_VERSION),
        store.delete('/n', 1),
      ]),
    )
    assert.deepEqual(
      results.map((r) => r.ok || r.reason),
      [true, true, 'version', true, 'exists', true, true],
    )
  })

  check('numbered nodes and creation ids grow', async ({ store, settled }) => {
    await settled(store.create('/notes', ''))
    const paths: string[] = []
    for (let i = 0; i < 3; i++) {
      paths.push(await settled(store.createSequential('/notes/n_', String(i))))
    }
    assert.deepEqual(paths, paths.toSorted())
    assert.equal(new Set(paths).size, 3)
    for (const path of paths) assert.match(path, /^\/notes\/n_\d{10}$/)
    const nodes = await settled(Promise.all(paths.map((path) => store.get(path))))
    assert.deepEqual(
      nodes.map((node) => node?.data),
      ['0', '1', '2'],
    )
    const ids = nodes.map((node) => node?.creationId ?? 0)
    assert.deepEqual(
      ids,
      ids.toSorted((a, b) => a - b),
    )
    assert.equal(new Set(ids).size, 3)
    assert.ok((nodes[0]?.createdMs ?? 0) > 1_000_000_000_000)
    assert.match(await settled(store.createSequential('/deep/down_', '')), /^\/deep\/down_\d{10}$/)
  })

  check('a watched node tells each state that lasts', async (subject) => {
    const { store, settled, until } = subject
    const heard: (string | null)[] = []
    const listener = (node: StoredNode | null): void => {
      heard.push(node?.data ?? null)
    }
    const stop = store.watchNode('/w', listener)
    const last = (value: string | null, count: number) =>
      until(`${value}`, () => heard.at(-1) === value && heard.length >= count)
    await last(null, 1)
    await settled(store.create('/w', 'one'))
    await last('one', 2)
    await settled(store.set('/w', 'two', 0))
    await last('two', 3)
    await settled(store.delete('/w', ANY_VERSION))
    await last(null, 4)
    await settled(store.create('/w', 'one'))
    await last('one', 5)
    const writes = Array.from({ length: 50 }, (_, i) => store.set('/w', `v${i}`, ANY_VERSION))
    await settled(Promise.all(writes))
    await last('v49', 6)
    stop()
    const count = heard.length
    const again: (string | null)[] = []
    store.watchNode('/w', (node) => again.push(node?.data ?? null))
    await settled(store.set('/w', 'last', ANY_VERSION))
    await until('the other watch', () => again.at(-1) === 'last')
    assert.equal(heard.length, count)
  })

  check('watched children tell each list that lasts', async ({ store, settled, until }) => {
    const heard: string[] = []
    store.watchChildren('/list', (names) => {
      heard.push(names.toSorted().join())
    })
    await until('nothing yet', () => heard.at(-1) === '')
    await settled(store.create('/list/a', ''))
    await until('a', () => heard.at(-1) === 'a')
    await settled(store.create('/list/b', ''))
    await until('a and b', () => heard.at(-1) === 'a,b')
    await settled(store.deleteTree('/list'))
    await until('nothing', () => heard.at(-1) === '')
    const names = Array.from({ length: 100 }, (_, i) => `n${String(i).padStart(2, '0')}`)
    await settled(Promise.all(names.map((name) => store.create(`/list/${name}`, ''))))
    await until('all', () => heard.at(-1) === names.join())
  })

  check('what a listener could not do is told again', async (subject) => {
    const { store, other, settled, until } = subject
    if (other === null) return
    await settled(store.create('/list/a', ''))
    let calls = 0
    store.watchChildren('/list', async () => {
      calls += 1
      if (calls < 3) throw new RegistryError('unavailable', 'not now')
    })
    await until('the third call', () => calls === 3)
    await settled(store.create('/list/b', ''))
    await until('the fourth call', () => calls === 4)
  })

  check('ephemeral nodes end with their session', async ({ store, other, settled, until }) => {
    if (other === null) return
    assert.equal((await settled(store.create('/mine', 'm', { ephemeral: true }))).ok, true)
    assert.equal((await settled(other.create('/theirs/t', 't', { ephemeral: true }))).ok, true)
    assert.equal((await settled(store.get('/mine')))?.endsWith, 'this-session')
    assert.equal((await settled(store.get('/theirs/t')))?.endsWith, 'another-session')
    const refused = await settled(store.create('/theirs/t', 't', { ephemeral: true }))
    assert.deepEqual(refused, { ok: false, reason: 'exists' })
    let isThere = true
    store.watchNode('/theirs/t', (node) => {
      isThere = node !== null
    })
    await settled(other.close())
    await until('their node is gone', () => !isThere)
    assert.equal((await settled(store.get('/mine')))?.data, 'm')
    await assert.rejects(settled(other.get('/mine')), { name: 'RegistryError', kind: 'closed' })
  })

  check('two sessions see each other, and only one write of a version wins', async (subject) => {
    const { store, other, settled, until } = subject
    if (other === null) return
    await settled(store.create('/race', '0'))
    const heard: string[] = []
    other.watchNode('/race', (node) => heard.push(node?.data ?? ''))
    for (let version = 0; version < 20; version++) {
      const results: readonly WriteResult[] = await settled(
        Promise.all([
          store.set('/race', `${version} a`, version),
          other.set('/race', `${version} b`, version),
        ]),
      )
      assert.equal(results.filter((r) => r.ok).length, 1)
    }
    const final = (await settled(store.get('/race')))?.data
    await until('the last value', () => heard.at(-1) === final)
  })

  check('a node that cannot be stored is refused', async ({ store, settled }) => {
    await assert.rejects(settled(store.create('/big', 'x'.repeat(80_000_000))), {
      name: 'RegistryError',
      kind: 'invalid',
    })
    assert.equal(await settled(store.get('/big')), null)
  })
}
