/**
 * What a simulated ensemble can do to a session. Each of these happens on a real one too: see
 * test/registry/zookeeper/session.test.ts for those that can be brought about there.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SessionCredentials } from '../../../src/registry/zookeeper/client.ts'
import { ZooKeeperSession } from '../../../src/registry/zookeeper/session.ts'
import { ZooKeeperNodeStore } from '../../../src/registry/zookeeper/zookeeper-node-store.ts'
import { Network } from '../network.ts'
import { SimulatedProcess, SimulatedTimers } from '../simulated-process.ts'
import { World } from '../world.ts'
import { simulatedConnect } from './client.ts'
import { type EnsembleOptions, SimulatedEnsemble } from './ensemble.ts'

interface Client {
  readonly process: SimulatedProcess
  readonly session: ZooKeeperSession
  readonly store: ZooKeeperNodeStore
  readonly states: string[]
}

class Bench {
  readonly world: World
  readonly network: Network
  readonly ensemble: SimulatedEnsemble

  constructor(seed: number, options: Partial<EnsembleOptions> = {}) {
    this.world = new World(seed)
    this.network = new Network(this.world, { latencyMinMs: 0.1, latencyMaxMs: 1 })
    this.ensemble = new SimulatedEnsemble(this.world, this.network, options)
  }

  async open(name: string, sessionTimeoutMs = 6000): Promise<Client> {
    const process = new SimulatedProcess(this.world, name)
    process.start()
    const timers = new SimulatedTimers(process)
    const logger = process.logger()
    const session = await this.world.settled(
      ZooKeeperSession.open({
        servers: this.ensemble.servers.map((server) => ({ host: server.name, port: 2181 })),
        sessionTimeoutMs,
        connectionTimeoutMs: 10_000,
        requestTimeoutMs: 100_000,
        inFlightMax: 100,
        connect: simulatedConnect(this.ensemble, process),
        timers,
        random: process.random,
        logger,
      }),
    )
    const store = new ZooKeeperNodeStore({ session, chroot: '', timers, logger })
    const states: string[] = []
    session.onState((state) => states.push(state))
    return { process, session, store, states }
  }

  isolate(name: string, isCut = true): void {
    for (const server of this.ensemble.servers) {
      for (const [from, to] of [
        [name, server.name],
        [server.name, name],
      ] as const) {
        if (isCut) this.network.block(from, to)
        else this.network.unblock(from, to)
      }
    }
  }
}

test('a client that is cut off loses its session and its nodes, and begins another', async () => {
  const bench = new Bench(1)
  const { world, ensemble } = bench
  const client = await bench.open('b1')
  const other = await bench.open('b2')
  await world.settled(client.store.create('/mine', '', { ephemeral: true }))
  const heard: boolean[] = []
  other.store.watchNode('/mine', (node) => heard.push(node !== null))
  await world.runFor(100)
  bench.isolate('b1')
  await world.runFor(5000)
  assert.deepEqual(heard, [true])
  assert.deepEqual(client.states, ['disconnected'])
  await world.runFor(2000)
  assert.deepEqual(heard, [true, false])
  assert.equal(ensemble.sessions.size, 1)
  // A client does not know of its end before it speaks with a server.
  assert.deepEqual(client.states, ['disconnected'])
  bench.isolate('b1', false)
  await world.runFor(5000)
  assert.deepEqual(client.states, ['disconnected', 'expired', 'connected'])
  assert.equal(client.session.number, 2)
})

test('a paused process finds its session over when it goes on', async () => {
  const bench = new Bench(2)
  const { world } = bench
  const client = await bench.open('b1', 2000)
  await world.settled(client.store.create('/mine', '', { ephemeral: true }))
  client.process.pause()
  await world.runFor(1200)
  client.process.resume()
  await world.runFor(100)
  assert.deepEqual(client.states, [])
  client.process.pause()
  await world.runFor(10_000)
  assert.equal(bench.ensemble.head.node('/mine'), undefined)
  client.process.resume()
  await world.runFor(1000)
  assert.deepEqual(client.states, ['disconnected', 'expired', 'connected'])
})

test('an ensemble that was away for a minute keeps its sessions', async () => {
  const bench = new Bench(3)
  const { world, ensemble } = bench
  const client = await bench.open('b1')
  await world.settled(client.store.create('/mine', '', { ephemeral: true }))
  ensemble.killAll()
  await world.runFor(60_000)
  const writing = client.store.set('/mine', 'later', 0)
  ensemble.restartAll()
  assert.deepEqual(await world.settled(writing), { ok: true, version: 1 })
  assert.deepEqual(client.states, ['disconnected', 'connected'])
  assert.equal(ensemble.head.node('/mine')?.data, 'later')
})

test('a process that is back ends its old session with its credentials', async () => {
  const bench = new Bench(4)
  const { world, ensemble } = bench
  const client = await bench.open('b1')
  await world.settled(client.store.create('/mine', '', { ephemeral: true }))
  const [old] = [...ensemble.sessions.values()]
  const credentials = { id: old?.id, password: old?.password } as SessionCredentials
  client.process.kill()
  client.process.start()
  const connect = simulatedConnect(ensemble, client.process)
  const options = {
    server: { host: 'zk1', port: 2181 },
    sessionTimeoutMs: 6000,
    patienceMs: 1000,
    events: { disconnected: () => undefined, changed: () => undefined },
  }
  await assert.rejects(
    world.settled(connect({ ...options, credentials: { ...credentials, password: 'X' } })),
    { kind: 'expired' },
  )
  const again = await world.settled(connect({ ...options, credentials }))
  again.close()
  await world.runFor(20)
  assert.equal(ensemble.head.node('/mine'), undefined)
  await assert.rejects(world.settled(connect({ ...options, credentials })), { kind: 'expired' })
})

test('a server that is behind reads old values until a sync', async () => {
  const bench = new Bench(5)
  const { world, ensemble } = bench
  const writer = await bench.open('b1')
  await world.settled(writer.store.create('/n', 'old'))
  await world.runFor(100)
  const read = async (name: string, withSync: boolean): Promise<string> => {
    const process = new SimulatedProcess(world, `${name}${withSync}`)
    process.start()
    const client = await world.settled(
      simulatedConnect(
        ensemble,
        process,
      )({
        server: { host: name, port: 2181 },
        sessionTimeoutMs: 6000,
        credentials: null,
        patienceMs: 1000,
        events: { disconnected: () => undefined, changed: () => undefined },
      }),
    )
    return world.settled(
      new Promise<string>((resolve) => {
        if (withSync) client.submit({ kind: 'sync', path: '/' }, () => undefined)
        client.submit({ kind: 'get', path: '/n', watch: false }, ({ data }) => resolve(data ?? ''))
      }),
    )
  }
  for (const server of ensemble.servers) server.extraLagMs = 1000
  await world.settled(writer.store.set('/n', 'new', 0))
  for (const server of ensemble.servers) {
    const isFresh = server === ensemble.leader || server.tree.node('/n')?.data === 'new'
    assert.equal(await read(server.name, false), isFresh ? 'new' : 'old')
  }
  await world.settled(writer.store.set('/n', 'newer', 1))
  for (const server of ensemble.servers) assert.equal(await read(server.name, true), 'newer')
})

test('a write whose answer is lost was made or was not', async () => {
  const made = new Set<boolean>()
  for (let seed = 1; seed < 50 && made.size < 2; seed++) {
    const bench = new Bench(seed)
    const { world, ensemble, network } = bench
    const client = await bench.open('b1')
    const { number } = client.session
    const operation = {
      kind: 'create',
      path: '/n',
      data: '',
      isEphemeral: false,
      isSequential: false,
    } as const
    const writing = client.session.request(operation, number)
    await world.runFor(seed / 20)
    network.breakAll('b1')
    const reply = await world.settled(writing)
    if (reply.code !== 0) made.add(ensemble.head.node('/n') !== undefined)
  }
  assert.equal(made.size, 2)
})

test('what a leader that died was about to decide is decided by the next, or lost', async () => {
  const made = new Set<number>()
  for (let seed = 1; seed < 50; seed++) {
    const bench = new Bench(seed, { decisionMaxMs: 20 })
    const { world, ensemble } = bench
    const client = await bench.open('b1')
    const writing = [0, 1, 2].map((i) => client.store.create(`/n${i}`, ''))
    await world.runFor(5)
    if (ensemble.leader !== null) ensemble.kill(ensemble.leader)
    const outcome = [0, 1, 2].map((i) => ensemble.head.node(`/n${i}`) !== undefined)
    assert.deepEqual(outcome, outcome.toSorted().toReversed(), 'in order')
    const results = await world.settled(Promise.all(writing))
    assert.ok(results.every(({ ok }) => ok))
    await world.runFor(1000)
    made.add(outcome.filter(Boolean).length)
  }
  assert.ok(made.size > 1)
})

test('one seed gives one history', async () => {
  const digests = new Set<string>()
  for (const seed of [7, 7, 8]) {
    const bench = new Bench(seed)
    const client = await bench.open('b1')
    for (let i = 0; i < 20; i++) {
      if (i % 5 === 0) bench.network.breakOne()
      await bench.world.settled(client.store.create(`/n${i}`, String(i)))
    }
    digests.add(bench.world.digest)
  }
  assert.equal(digests.size, 2)
})
