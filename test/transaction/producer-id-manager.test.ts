/** Producer ids: none is given twice, blocks are taken when they are needed, a refusal is told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  ProducerIdManager,
  type ProducerIdRange,
} from '../../src/transaction/producer-id-manager.ts'

/** As the controller gives them: each block once. */
function blocks(): { taken: number; allocate: () => Promise<ProducerIdRange> } {
  const given = {
    taken: 0,
    allocate: async () => {
      const start = given.taken * 1000
      given.taken += 1
      return { start, end: start + 999 }
    },
  }
  return given
}

test('no id is given twice, whoever asks', async () => {
  const { allocate } = blocks()
  const managers = [1, 2, 3].map(() => new ProducerIdManager({ allocate }))
  const ids = await Promise.all(
    Array.from({ length: 9000 }, (_, i) => (managers[i % 3] as ProducerIdManager).next()),
  )
  assert.equal(new Set(ids).size, ids.length)
  assert.ok(ids.every((id) => Number.isSafeInteger(id) && id >= 0))
})

test('a block is taken once, when the one before is used up', async () => {
  const source = blocks()
  const manager = new ProducerIdManager(source)
  await Promise.all(Array.from({ length: 1000 }, () => manager.next()))
  assert.equal(source.taken, 1)
  assert.equal(await manager.next(), 1000)
  assert.equal(source.taken, 2)
})

test('without new blocks those of the block go on, and the rest is refused until there are', async () => {
  const source = blocks()
  let isAway = false
  const manager = new ProducerIdManager({
    allocate: async () => {
      if (isAway) throw new Error('no controller')
      return source.allocate()
    },
  })
  for (let i = 0; i < 999; i++) await manager.next()
  isAway = true
  assert.equal(await manager.next(), 999)
  await assert.rejects(manager.next(), /no controller/)
  await assert.rejects(manager.next(), /no controller/)
  isAway = false
  assert.equal(await manager.next(), 1000)
})
