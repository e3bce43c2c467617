/**
 * The holes that Kafka once had, each as a history that would open it again: one seed, no chance.
 * The invariants of the simulation watch all of them; what is particular is checked by hand.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { SimulatedCluster } from './cluster.ts'
import { nameOf } from './simulated-broker.ts'
import { Client } from './simulated-clients.ts'
import { failWith } from './world.ts'

/** A client that does what the test says. */
class Hand extends Client {
  #values = 0

  get #cluster() {
    return this.options
  }

  /** Resolves with the error code of the answer; −1 when there is none. */
  async produce(brokerId: number, acks = -1): Promise<number> {
    this.#values += 1
    const value = this.#values
    const request = {
      ...{ topic: 't', partition: 0, acks, value, timeoutMs: 1000 },
      producerId: -1,
      sequence: -1,
    }
    try {
      const answer = (await this.ask(brokerId, 'Produce', request)) as {
        readonly errorCode: number
        readonly baseOffset: number
        readonly topicId: string
      }
      if (answer.errorCode === 0 && acks === -1) {
        const at = { topicId: answer.topicId, topic: 't', partition: 0 }
        this.#cluster.invariants.acknowledged(at, answer.baseOffset, value)
      }
      return answer.errorCode
    } catch (error) {
      this.process.trace(String(error))
      return -1
    }
  }

  async read(brokerId: number, currentLeaderEpoch: number): Promise<number> {
    const request = { topic: 't', partition: 0, currentLeaderEpoch, offset: 0 }
    return ((await this.ask(brokerId, 'Read', request)) as { readonly errorCode: number }).errorCode
  }
}

class History {
  readonly cluster: SimulatedCluster
  readonly hand: Hand

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster
    this.hand = new Hand(cluster.clientOptions('h1'))
  }

  get state() {
    const state = this.cluster.invariants.stateOf('t', 0)
    assert.ok(state)
    return state
  }

  produce(brokerId: number, acks = -1): Promise<number> {
    return this.cluster.world.settled(this.hand.produce(brokerId, acks))
  }

  /** So many records that are acknowledged, and so committed. */
  async commit(brokerId: number, count: number): Promise<void> {
    for (let i = 0; i < count; i++) assert.equal(await this.produce(brokerId), 0)
  }

  log(brokerId: number) {
    const log = this.cluster.broker(brokerId).disk.logs.get('t-0')
    assert.ok(log)
    return log
  }

  until(what: string, condition: () => boolean, limitMs = 20_000): Promise<void> {
    return this.cluster.until(what, condition, limitMs)
  }

  led(brokerId: number): () => boolean {
    return () => {
      const partition = this.cluster.broker(brokerId).parts?.replicas.partition('t', 0)
      return partition?.isLeader === true && this.state.leader === brokerId
    }
  }

  inSync(...brokerIds: readonly number[]): () => boolean {
    return () => [...this.state.isr].sort().join() === brokerIds.join()
  }

  cut(from: number, to: number): void {
    this.cluster.network.block(nameOf(from), nameOf(to))
    this.cluster.network.block(nameOf(to), nameOf(from))
  }

  cutFromZooKeeper(brokerId: number): void {
    for (const { name } of this.cluster.ensemble.servers) {
      this.cluster.network.block(nameOf(brokerId), name)
      this.cluster.network.block(name, nameOf(brokerId))
    }
  }

  async end(): Promise<void> {
    const { cluster } = this
    cluster.heal()
    await this.until('all is well', () => cluster.whyNotWhole() === null, 60_000)
    cluster.checkReplicas()
    await cluster.world.runFor(1)
  }
}

interface HistoryOptions {
  readonly replicas?: readonly number[]
  readonly configs?: Readonly<Record<string, string>>
}

function history(
  what: string,
  body: (history: History) => Promise<void>,
  { replicas = [1, 2, 3], configs = {} }: HistoryOptions = {},
): void {
  test(what, async () => {
    const cluster = new SimulatedCluster({ seed: 1, brokerCount: 4 })
    const forgetFailures = failWith(cluster.world)
    try {
      await cluster.start()
      await cluster.createTopic('t', [replicas], configs)
      const made = new History(cluster)
      await made.until('it is led', made.led(replicas[0] as number))
      await body(made)
      await made.end()
    } finally {
      forgetFailures()
    }
  })
}

history(
  'KIP-101: a replica that is back with an old high watermark leads with all it has',
  async (h) => {
    const { cluster } = h
    await h.commit(1, 5)
    await h.until('all have them', () => [2, 3].every((id) => h.log(id).logEnd === 5))
    // Nobody has written a checkpoint since: their high watermarks are 0 on disk.
    for (const id of [1, 2, 3]) cluster.broker(id).disk.highWatermarks.clear()
    for (const id of [1, 2, 3]) cluster.broker(id).kill()
    cluster.broker(2).start()
    await h.until('2 leads', h.led(2))
    assert.equal(h.log(2).logEnd, 5)
    cluster.broker(3).start()
    await h.until('3 is back', h.inSync(2, 3))
    await h.commit(2, 1)
    assert.equal(h.log(3).logEnd, 6)
  },
)

history(
  'KIP-279: tails that two fast changes of the leader left are cut to what they have in common',
  async (h) => {
    const { cluster } = h
    await h.commit(1, 3)
    // 1 has a tail of epoch 0 that nobody else has.
    h.cut(1, 2)
    h.cut(1, 3)
    for (let i = 0; i < 3; i++) await h.produce(1, 1)
    cluster.broker(1).kill()
    await h.until('2 leads', h.led(2))
    // 2 has another one.
    h.cut(2, 3)
    for (let i = 0; i < 2; i++) await h.produce(2, 1)
    cluster.broker(2).kill()
    await h.until('3 leads', h.led(3))
    assert.equal(h.log(3).logEnd, 3)
    await h.produce(3, 1)
    cluster.network.heal()
    cluster.broker(1).start()
    cluster.broker(2).start()
    await h.until('all are back', h.inSync(1, 2, 3))
    await h.commit(3, 1)
    assert.deepEqual(
      [1, 2].map((id) => h.log(id).records.map(({ value, epoch }) => [value, epoch])),
      [1, 2].map(() => h.log(3).records.map(({ value, epoch }) => [value, epoch])),
    )
  },
  { configs: { 'min.insync.replicas': '1' } },
)

history('KIP-320: who reads in another leader epoch is told so', async (h) => {
  const { world } = h.cluster
  await h.commit(1, 1)
  const { leader_epoch: epoch } = h.state
  assert.equal(await world.settled(h.hand.read(1, epoch)), 0)
  assert.equal(await world.settled(h.hand.read(1, epoch - 1)), ErrorCode.FENCED_LEADER_EPOCH)
  assert.equal(await world.settled(h.hand.read(1, epoch + 1)), ErrorCode.UNKNOWN_LEADER_EPOCH)
})

history(
  'KIP-106: a replica that is not in sync does not lead, however long the others are away',
  async (h) => {
    const { cluster } = h
    cluster.broker(3).kill()
    await h.until('3 is out', h.inSync(1, 2))
    await h.commit(1, 2)
    cluster.broker(1).kill()
    cluster.broker(2).kill()
    cluster.broker(3).start()
    await h.until('there is no leader', () => h.state.leader === -1)
    await cluster.world.runFor(30_000)
    assert.equal(h.state.leader, -1)
  },
)

history('KIP-380: a broker that is back does not do what its former life was told', async (h) => {
  const { cluster } = h
  await h.commit(1, 4)
  // It loses all of it, and is back before anybody has missed it.
  h.log(1).syncedEnd = 0
  cluster.invariants.unwhole.add(1)
  h.cutFromZooKeeper(1)
  cluster.broker(1).kill(true)
  h.log(1).truncateTo(0)
  cluster.broker(1).start()
  await cluster.world.runFor(400)
  // Who leads is written anew, and told to the registration of before.
  await cluster.asController(
    (controller) =>
      controller.electLeaders({ electionType: 0, topicPartitions: null, timeoutMs: 100 }),
    2000,
  )
  cluster.network.heal()
  await h.until('another one leads', () => h.led(2)() || h.led(3)())
  await h.commit(h.state.leader, 1)
})

history(
  'KIP-497, 841, 903: a leader that was away commits nothing and changes no ISR',
  async (h) => {
    const { cluster } = h
    await h.commit(1, 2)
    const old = cluster.broker(1)
    // Appended and not committed, when it is stopped.
    h.cut(1, 2)
    h.cut(1, 3)
    await h.produce(1, 1)
    old.process.pause()
    cluster.network.breakAll(old.name)
    cluster.network.heal()
    await h.until('2 leads', h.led(2))
    await h.commit(2, 3)
    const before = h.state
    old.process.resume()
    await cluster.world.runFor(20)
    assert.notEqual(await h.produce(1), 0)
    await h.until('1 is back', h.inSync(1, 2, 3))
    assert.equal(h.state.leader_epoch, before.leader_epoch)
    assert.equal(h.log(1).at(2)?.epoch, before.leader_epoch)
  },
)

history('KIP-966: the last of the ISR comes back without its tail and does not lead', async (h) => {
  const { cluster } = h
  cluster.broker(3).kill()
  await h.until('3 is out', h.inSync(1, 2))
  await h.commit(1, 4)
  cluster.broker(2).kill()
  await h.until('1 is the last', h.inSync(1))
  assert.deepEqual(h.state.elr, [2])
  // Nothing is committed by one alone.
  assert.notEqual(await h.produce(1), 0)
  h.log(1).syncedEnd = 1
  cluster.invariants.unwhole.add(1)
  cluster.broker(1).kill(true)
  h.log(1).truncateTo(1)
  // Whoever else is back, and however often it starts: 1 and 3 lack what 2 has.
  for (let i = 0; i < 2; i++) {
    cluster.broker(1).start()
    await cluster.world.runFor(3000)
    assert.equal(h.state.leader, -1)
    cluster.broker(1).kill()
    await cluster.world.runFor(2000)
  }
  cluster.broker(1).start()
  cluster.broker(3).start()
  await cluster.world.runFor(3000)
  assert.equal(h.state.leader, -1)
  cluster.broker(2).start()
  await h.until('2 leads', h.led(2))
  await h.until('all are back', h.inSync(1, 2, 3))
  assert.equal(h.log(1).logEnd, 4)
})

history('a controller that was deposed in the middle of a write does not make it', async (h) => {
  const { cluster } = h
  const { world, ensemble } = cluster
  await h.commit(1, 1)
  const controllerId = cluster.controller?.controllerId as number
  const other = cluster.broker((controllerId % 4) + 1)
  const leader = cluster.broker(h.state.leader)
  const follower = [1, 2, 3].find((id) => id !== leader.brokerId && id !== controllerId) as number
  // The write is on its way, and waits in the network.
  const cutWhenAsked = (): void => {
    for (const { name } of ensemble.servers) cluster.network.block(nameOf(controllerId), name)
  }
  ensemble.onRead = (path) => {
    // It looks once more whether it is the controller, right before the write.
    if (path !== '/controller_epoch') return
    ensemble.onRead = null
    cutWhenAsked()
  }
  h.cut(leader.brokerId, follower)
  await h.produce(leader.brokerId, 1)
  await h.until('the ISR is to be changed', () => ensemble.onRead === null)
  const { registry } = other.parts ?? {}
  assert.ok(registry)
  const registered = await world.settled(registry.controller())
  assert.ok(registered)
  await world.settled(registry.fenceController(registered.registrationId))
  await h.until(
    'there is another one',
    () => other.controller?.isActive === true || cluster.controller?.controllerId !== controllerId,
    5000,
  )
  // Its first write, from the same state.
  const before = h.state
  cluster.broker(follower).shutDown()
  await h.until('the new one has written', () => h.state !== before, 500)
  const written = h.state
  cluster.network.heal()
  await world.runFor(100)
  assert.ok(h.state.controller_epoch >= written.controller_epoch)
})

history(
  'a replica joins the ISR with all that the leader had at its election, not before',
  async (h) => {
    const { cluster } = h
    await h.commit(1, 2)
    cluster.broker(3).kill()
    await h.until('3 is out', h.inSync(1, 2))
    await h.commit(1, 4)
    // 2 does not remember how much of it was committed.
    cluster.broker(1).kill()
    cluster.broker(2).kill()
    cluster.broker(2).disk.highWatermarks.clear()
    cluster.broker(2).start()
    await h.until('2 leads', h.led(2))
    cluster.broker(3).start()
    await h.until('3 is back', h.inSync(2, 3))
    assert.equal(h.log(3).logEnd, 6)
  },
)
