/**
 * Two brokers of one process over sockets, and a leadership that goes from one to the other: logs
 * that went different ways become the same again, byte by byte, and nothing committed is lost.
 */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Partition } from '../../src/replica/partition.ts'
import { readBatches } from '../../src/shard/log-reader.ts'
import { DataPath } from '../server/data-path.ts'
import { until } from '../support/until.ts'

const EVERYTHING = Number.MAX_SAFE_INTEGER

async function bytesOf(partition: Partition): Promise<string> {
  const { log, logStart: offset, logEnd } = partition
  if (logEnd === offset) return ''
  const limits = { offset, maxBytes: 1 << 24, limitOffset: EVERYTHING }
  return (await readBatches(log, limits)).bytes.toString('hex')
}

class Pair {
  readonly nodes: readonly [DataPath, DataPath]
  readonly partitions: readonly [Partition, Partition]
  #epoch = 1

  private constructor(nodes: readonly [DataPath, DataPath]) {
    this.nodes = nodes
    this.partitions = [nodes[0].partition('t'), nodes[1].partition('t')]
  }

  static async start(t: TestContext, threaded: boolean): Promise<Pair> {
    const peers = new Map<number, number>()
    const first = await DataPath.start(t, { peers, threaded, highWatermarkDelayMs: 5 })
    const second = await DataPath.start(t, {
      ...{ brokerId: 2, peers, threaded, highWatermarkDelayMs: 5 },
    })
    peers.set(1, first.port)
    peers.set(2, second.port)
    const role = { replicas: [1, 2], isr: [1, 2] }
    await first.open('t', { role })
    await second.open('t', { leader: 1, role })
    return new Pair([first, second])
  }

  /** Node `next` leads; the other one hears of it, or not. */
  async elect(next: 0 | 1, otherHears = true): Promise<void> {
    this.#epoch += 1
    const leaderEpoch = this.#epoch
    const role = { leaderEpoch, replicas: [1, 2], isr: [1, 2] }
    await this.nodes[next].lead(this.partitions[next], role)
    if (otherHears) await this.hear(1 - next)
  }

  async hear(node: number): Promise<void> {
    const other = this.nodes[node] as DataPath
    await other.follow(this.partitions[node] as Partition, 2 - node, this.#epoch)
  }

  async append(node: 0 | 1, count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      await this.nodes[node].append(this.partitions[node], `${this.#epoch}-${i}`)
    }
  }

  /** Both have the same, and know that it is committed. */
  async agree(records: number): Promise<void> {
    const [a, b] = this.partitions
    await until(
      () => `${records}: ${a.logEnd}, ${a.highWatermark} and ${b.logEnd}, ${b.highWatermark}`,
      () => [a, b].every((one) => one.logEnd === records && one.highWatermark === records),
      20_000,
    )
    assert.equal(await bytesOf(a), await bytesOf(b))
  }
}

for (const threaded of [false, true]) {
  const where = threaded ? 'with shard threads' : 'on one thread'

  test(`a deposed leader loses what only it has, ${where}`, async (t) => {
    const pair = await Pair.start(t, threaded)
    await pair.append(0, 5)
    await pair.agree(5)
    // Nobody tells the first that it is deposed; the second no longer fetches of it.
    await pair.elect(1, false)
    await pair.append(0, 3)
    await pair.append(1, 2)
    assert.deepEqual(
      pair.partitions.map((one) => [one.logEnd, one.highWatermark]),
      [
        [8, 5],
        [7, 5],
      ],
    )
    await pair.hear(0)
    await pair.agree(7)
    await pair.elect(0)
    await pair.append(0, 1)
    await pair.agree(8)
  })

  test(`two elections that follow each other fast leave one history, ${where}`, async (t) => {
    const pair = await Pair.start(t, threaded)
    await pair.append(0, 3)
    await pair.agree(3)
    // Each leads for a moment, and appends what the other never fetches (KIP-279).
    await pair.elect(1, false)
    await pair.append(1, 4)
    await pair.append(0, 2)
    await pair.elect(0, false)
    await pair.append(0, 1)
    await pair.hear(1)
    await pair.agree(6)
  })

  test(`epochs in which nobody wrote end nothing, ${where}`, async (t) => {
    const pair = await Pair.start(t, threaded)
    await pair.append(0, 3)
    await pair.agree(3)
    for (let i = 0; i < 6; i += 1) await pair.elect((i % 2) as 0 | 1)
    await pair.append(1, 2)
    await pair.agree(5)
    assert.equal(pair.partitions[0].storedLog.lastEpoch, pair.partitions[1].storedLog.lastEpoch)
  })

  test(`records that are deleted on the leader go from the follower, ${where}`, async (t) => {
    const pair = await Pair.start(t, threaded)
    await pair.append(0, 6)
    await pair.agree(6)
    const [leader, follower] = pair.partitions
    const { replicas } = pair.nodes[0]
    assert.deepEqual(await replicas.deleteRecords(leader, 4, 20_000), [0, 4])
    assert.equal(follower.logStart, 4)
    assert.equal(await bytesOf(leader), await bytesOf(follower))
  })
}
