/**
 * Fetch sessions against a model of the broker's side (KIP-227): whatever is asked for, lost or
 * forgotten on the way, the broker always ends up with exactly what the consumer wants.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  type FetchPartition,
  FetchSession,
  type SessionRequest,
} from '../../src/client/fetch-session.ts'
import { keyOf } from '../../src/client/subscription-state.ts'

/** What a broker keeps of sessions. */
class BrokerSessions {
  #nextId = 1
  #id = 0
  #epoch = 0
  partitions = new Map<string, number>()

  answer(request: SessionRequest): { errorCode: number; sessionId: number } {
    const { sessionId, sessionEpoch } = request
    if (sessionEpoch === 0) {
      this.#id = this.#nextId
      this.#nextId += 1
      this.#epoch = 1
      this.partitions.clear()
    } else if (sessionId !== this.#id || this.#id === 0) {
      return { errorCode: 70, sessionId: 0 }
    } else if (sessionEpoch !== this.#epoch) {
      return { errorCode: 71, sessionId: 0 }
    } else {
      this.#epoch += 1
    }
    for (const { topic = '', partitions = [] } of request.forgottenTopicsData) {
      for (const partition of partitions) this.partitions.delete(keyOf({ topic, partition }))
    }
    for (const { topic = '', partitions } of request.topics) {
      for (const { partition, fetchOffset } of partitions) {
        this.partitions.set(keyOf({ topic, partition }), fetchOffset)
      }
    }
    return { errorCode: 0, sessionId: this.#id }
  }

  evict(): void {
    this.#id = 0
  }
}

function wanted(offsets: readonly (number | null)[]): FetchPartition[] {
  return offsets.flatMap((fetchOffset, partition) => {
    if (fetchOffset === null) return []
    const topic = `t${partition % 2}`
    return [{ topic, topicId: `id-${topic}`, partition, fetchOffset, ...REST }]
  })
}

const REST = { currentLeaderEpoch: 1, partitionMaxBytes: 100 }

test('the broker knows what the consumer wants, whatever goes wrong between them', () => {
  const offsets = fc.array(fc.option(fc.nat(3)), { minLength: 6, maxLength: 6 })
  const fate = fc.constantFrom('answered', 'answered', 'lost before', 'lost after', 'evicted')
  fc.assert(
    fc.property(fc.array(fc.tuple(offsets, fate), { maxLength: 30 }), (steps) => {
      const session = new FetchSession()
      const broker = new BrokerSessions()
      for (const [want, what] of steps) {
        if (what === 'evicted') broker.evict()
        const partitions = wanted(want)
        const request = session.next(partitions)
        if (what === 'lost before') {
          session.failed()
          continue
        }
        const answer = broker.answer(request)
        if (what === 'lost after') {
          session.failed()
          continue
        }
        session.answered(answer)
        if (answer.errorCode !== 0) continue
        assert.deepEqual(
          broker.partitions,
          new Map(partitions.map((one) => [keyOf(one), one.fetchOffset])),
        )
      }
    }),
    { numRuns: 500 },
  )
})

test('says only what has changed, and ends', () => {
  const session = new FetchSession()
  assert.equal(session.last(), null)
  const full = session.next(wanted([0, 0, 0]))
  assert.deepEqual([full.sessionId, full.sessionEpoch, full.topics.length], [0, 0, 2])
  session.answered({ errorCode: 0, sessionId: 9 })
  const second = session.next(wanted([5, 0, null]))
  assert.deepEqual([second.sessionId, second.sessionEpoch], [9, 1])
  assert.deepEqual(
    second.topics.map(({ partitions }) => partitions.map(({ partition }) => partition)),
    [[0]],
  )
  assert.deepEqual(second.forgottenTopicsData[0]?.partitions, [2])
  assert.equal(session.topicName('id-t1'), 't1')
  session.answered({ errorCode: 0, sessionId: 9 })
  const last = session.last()
  assert.deepEqual([last?.sessionId, last?.sessionEpoch, last?.topics.length], [9, -1, 0])
  // A broker that keeps no sessions is asked for one again each time.
  session.next(wanted([1]))
  session.answered({ errorCode: 0, sessionId: 0 })
  assert.equal(session.next(wanted([1])).sessionEpoch, 0)
})
