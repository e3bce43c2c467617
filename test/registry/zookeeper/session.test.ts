/**
 * What an ensemble of three real servers can do to a session: its leader killed, all of it paused,
 * the session ended from outside, no server reachable; and what the session does about it.
 */
import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { ANY_VERSION, RegistryError } from '../../../src/registry/cluster-registry.ts'
import type { NodeStore } from '../../../src/registry/node-store.ts'
import { SESSION_FILE, SessionFile } from '../../../src/registry/zookeeper/session-file.ts'
import type { Logger } from '../../../src/util/logger.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { endSession } from '../../support/end-session.ts'
import { until } from '../../support/until.ts'
import { skipWithoutZooKeeper, ZooKeeperEnsemble } from '../../support/zookeeper-ensemble.ts'
import { closeAll, openStore } from './open-store.ts'

after(closeAll)

const skip = skipWithoutZooKeeper()

function linesOf(messages: string[]): Logger {
  const keep = (_: object, message: string): void => {
    messages.push(message)
  }
  return { ...silentLogger, info: keep, warn: keep, error: keep }
}

function statesOf(store: NodeStore): string[] {
  const states: string[] = []
  store.onSessionState((state) => {
    states.push(state)
  })
  return states
}

describe('a session', { skip }, () => {
  let ensemble: ZooKeeperEnsemble
  let directory: string

  before(async () => {
    ensemble = await ZooKeeperEnsemble.start(3)
    directory = await mkdtemp(join(tmpdir(), 'session-'))
  })

  after(async () => {
    await ensemble[Symbol.asyncDispose]()
    await rm(directory, { recursive: true })
  })

  const server = (index: number): { host: string; port: number } => {
    const [host, port] = (ensemble.connect.split(',')[index] as string).split(':')
    return { host: host as string, port: Number(port) }
  }

  async function credentialsOf(connect: string): Promise<{ id: string; password: string }> {
    const credentials = await new SessionFile(directory).read(connect)
    assert.ok(credentials)
    return credentials
  }

  test('a killed leader loses no write and makes none twice', async (t) => {
    const connect = `${ensemble.connect}/leader`
    const messages: string[] = []
    const store = await openStore(connect, { logger: linesOf(messages) })
    const mine = await store.create('/mine', '', { ephemeral: true })
    assert.ok(mine.ok)
    await store.create('/counter', '0')
    const heard: number[] = []
    store.watchNode('/counter', (node) => heard.push(Number(node?.data)))
    let version = 0
    let isOver = false
    const writing = (async () => {
      while (!isOver) {
        const result = await store.set('/counter', String(version + 1), version)
        assert.deepEqual(result, { ok: true, version: version + 1 })
        version += 1
      }
    })()
    await until('some writes', () => version >= 50)
    const leader = (await ensemble.leader()) as number
    const begin = performance.now()
    await ensemble.kill(leader)
    const atKill = version
    await until('writes after the leader was killed', () => version >= atKill + 50)
    t.diagnostic(`writes went on ${(performance.now() - begin).toFixed(0)} ms after the kill`)
    await ensemble.restart(leader)
    isOver = true
    await writing
    assert.equal((await store.get('/counter'))?.data, String(version))
    await until('the watch has seen the last write', () => heard.at(-1) === version)
    assert.ok(heard.every((value, i) => i === 0 || value > (heard[i - 1] as number)))
    assert.equal((await store.get('/mine'))?.endsWith, 'this-session')
    assert.ok(!messages.includes('the ZooKeeper session has expired'))
    await store.close()
  })

  test('writes asked for while disconnected wait, and fail when their time is up', async () => {
    const connect = `${ensemble.connect}/paused`
    const store = await openStore(connect, { sessionTimeoutMs: 6000, requestTimeoutMs: 18_000 })
    const brief = await openStore(connect, { sessionTimeoutMs: 6000, requestTimeoutMs: 300 })
    await store.create('/n', '0')
    const states = statesOf(brief)
    for (let i = 0; i < ensemble.size; i++) ensemble.pause(i)
    await until('the connection is lost', () => states.includes('disconnected'))
    const refused = brief.set('/n', 'late', 0)
    await assert.rejects(refused, (error) => {
      assert.ok(error instanceof RegistryError)
      assert.equal(error.kind, 'unavailable')
      return true
    })
    const waiting = store.set('/n', 'waited', ANY_VERSION)
    for (let i = 0; i < ensemble.size; i++) ensemble.resume(i)
    assert.deepEqual(await waiting, { ok: true, version: 1 })
    await until('the other one is back', () => brief.sessionState === 'connected')
    // Its server may be behind the one that took the write.
    await until('it sees the write', async () => (await brief.get('/n'))?.data === 'waited')
    await store.close()
    await brief.close()
  })

  test('a session that was ended is followed by another, with its watches', async () => {
    const connect = `${ensemble.connect}/ended`
    const messages: string[] = []
    const store = await openStore(connect, { directory, logger: linesOf(messages) })
    const other = await openStore(connect)
    const states = statesOf(store)
    const heard: string[] = []
    let names = ''
    store.watchNode('/watched', (node) => heard.push(node?.data ?? 'none'))
    store.watchChildren('/list', (now) => {
      names = now.toSorted().join()
    })
    await store.create('/mine', 'm', { ephemeral: true })
    await until('the first value', () => heard.at(-1) === 'none')
    const credentials = await credentialsOf(connect)
    await endSession(server(0), directory)
    await until('a new session', () => states.includes('expired') && states.at(-1) === 'connected')
    assert.deepEqual(states.slice(-3), ['disconnected', 'expired', 'connected'])
    assert.equal(await store.get('/mine'), null)
    await other.create('/watched', 'seen')
    await other.create('/list/a', '')
    await until('the watches work', () => heard.at(-1) === 'seen' && names === 'a')
    assert.notEqual((await credentialsOf(connect)).id, credentials.id)
    assert.equal(messages[0], 'connected to ZooKeeper')
    assert.deepEqual(messages.slice(-3), [
      'the connection to ZooKeeper is lost',
      'the ZooKeeper session has expired',
      'connected to ZooKeeper',
    ])
    await store.close()
    await other.close()
    await assert.rejects(readFile(join(directory, SESSION_FILE)), { code: 'ENOENT' })
  })

  test('what was under way when the session ended is not done in the next', async (t) => {
    const connect = `${ensemble.connect}/fenced`
    const store = await openStore(connect, { directory })
    await store.create('/n', 'before')
    const states = statesOf(store)
    const outcomes: string[] = []
    let isOver = false
    t.after(() => {
      isOver = true
    })
    const writing = (async () => {
      for (let i = 0; !isOver; i++) {
        await store
          .set('/n', `write ${i}`, ANY_VERSION)
          .then(({ ok }) => outcomes.push(String(ok)))
          .catch((error: RegistryError) => outcomes.push(error.kind))
      }
    })()
    await until('some writes', () => outcomes.length > 20)
    await endSession(server(1), directory)
    await until('a new session', () => states.includes('expired') && states.at(-1) === 'connected')
    const done = outcomes.length
    await until('writes in the new session', () => outcomes.length > done + 5)
    isOver = true
    await writing
    const failed = outcomes.filter((outcome) => outcome !== 'true')
    assert.ok(failed.length > 0)
    for (const outcome of failed) assert.match(outcome, /^(uncertain|unavailable)$/)
    await store.close()
  })

  test('a start ends the session of a run before that was killed', async () => {
    const connect = `${ensemble.connect}/again`
    const killed = await openStore(connect, { directory, sessionTimeoutMs: 60_000 })
    await killed.create('/brokers/ids/7', 'old', { ephemeral: true })
    const begin = performance.now()
    const again = await openStore(connect, { directory, sessionTimeoutMs: 60_000 })
    let isThere = true
    again.watchNode('/brokers/ids/7', (node) => {
      isThere = node !== null
    })
    await until('the old node is gone', () => !isThere)
    assert.ok(performance.now() - begin < 40_000)
    await again.close()
    await killed.close()
  })

  test('a copied data directory does not end the session of the original', async () => {
    const connect = `${ensemble.connect}/copied`
    const store = await openStore(connect, { directory })
    const copy = await mkdtemp(join(tmpdir(), 'session-'))
    try {
      await writeFile(join(copy, SESSION_FILE), await readFile(join(directory, SESSION_FILE)))
      assert.equal(await new SessionFile(copy).read(connect), null)
      assert.equal(await new SessionFile(directory).read(`${ensemble.connect}/else`), null)
      await writeFile(join(copy, SESSION_FILE), '{"torn')
      assert.equal(await new SessionFile(copy).read(connect), null)
    } finally {
      await rm(copy, { recursive: true })
      await store.close()
    }
  })

  test('1,000 conditional sets and creates in a pipeline', async (t) => {
    const store = await openStore(`${ensemble.connect}/many`)
    const state = '{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2,3]}'
    const path = (i: number): string => `/brokers/topics/t/partitions/${i}/state`
    const indexes = Array.from({ length: 1000 }, (_, i) => i)
    let begin = performance.now()
    const created = await Promise.all(
      indexes.map((i) => store.create(path(i), state, { parentLevels: 2 })),
    )
    t.diagnostic(`1,000 states created in ${(performance.now() - begin).toFixed(0)} ms`)
    assert.ok(created.every((result) => result.ok))
    begin = performance.now()
    const set = await Promise.all(indexes.map((i) => store.set(path(i), state, 0)))
    t.diagnostic(`1,000 states set in ${(performance.now() - begin).toFixed(0)} ms`)
    assert.ok(set.every((result) => result.ok && result.version === 1))
    begin = performance.now()
    await store.deleteTree('/brokers/topics/t')
    t.diagnostic(`2,002 nodes deleted in ${(performance.now() - begin).toFixed(0)} ms`)
    assert.equal(await store.get('/brokers/topics/t'), null)
    await store.close()
  })
})

test('no server: one line within the time that a start may take', { skip }, async () => {
  const begin = performance.now()
  await assert.rejects(openStore('127.0.0.1:1,127.0.0.1:2', { connectionTimeoutMs: 400 }), {
    name: 'RegistryError',
    kind: 'unavailable',
    message:
      /^ZooKeeper at 127\.0\.0\.1:1,127\.0\.0\.1:2 cannot be reached within 400 ms \(.*ECONNREFUSED\)$/,
  })
  // Sooner than the 6 s of a session.
  assert.ok(performance.now() - begin < 5000)
  for (const wrong of ['', 'host:x', 'a b:1', 'host:1/a//b', 'host:1/../x', 'host:70000']) {
    await assert.rejects(openStore(wrong), { name: 'RegistryError', kind: 'invalid' })
  }
})
