/** Producer ids: unique over managers, restarts and contention; a failing registry is told. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { ClusterRegistry } from '../../src/registry/cluster-registry.ts'
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.ts'
import { ProducerIdManager } from '../../src/transaction/producer-id-manager.ts'
import { silentLogger } from '../../src/util/logger.ts'

let directory: string
let registry: ClusterRegistry
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'producer-ids-'))
  registry = await openEmbeddedRegistry({ directory, logger: silentLogger })
})
afterEach(async () => {
  await registry.close()
  await rm(directory, { recursive: true })
})

test('no id is given twice, whoever asks and whenever', async () => {
  const managers = [1, 2, 3].map((brokerId) => new ProducerIdManager({ registry, brokerId }))
  const ids = await Promise.all(
    Array.from({ length: 9000 }, (_, i) => (managers[i % 3] as ProducerIdManager).next()),
  )
  assert.equal(new Set(ids).size, ids.length)
  assert.ok(ids.every((id) => Number.isSafeInteger(id) && id >= 0))
  await registry.close()
  registry = await openEmbeddedRegistry({ directory, logger: silentLogger })
  const later = await new ProducerIdManager({ registry, brokerId: 1 }).next()
  assert.equal(later % 1000, 0)
  assert.ok(later > Math.max(...ids))
})

test('the block is in the registry before its first id is given', async () => {
  const manager = new ProducerIdManager({ registry, brokerId: 7 })
  assert.equal(await manager.next(), 0)
  assert.deepEqual((await registry.producerIdBlock())?.value, { brokerId: 7, start: 0, end: 999 })
})

test('without a registry there are no new ids, and those of the block go on', async () => {
  const manager = new ProducerIdManager({ registry, brokerId: 1 })
  for (let i = 0; i < 999; i++) await manager.next()
  await registry.close()
  assert.equal(await manager.next(), 999)
  await assert.rejects(manager.next(), { name: 'RegistryError', kind: 'closed' })
  await assert.rejects(manager.next(), { name: 'RegistryError', kind: 'closed' })
  registry = await openEmbeddedRegistry({ directory, logger: silentLogger })
})
