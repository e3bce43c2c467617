/** The embedded store and its registry, held to what all of them must do. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedNodeStore } from '../../../src/registry/embedded/embedded-node-store.ts'
import { openEmbeddedRegistry } from '../../../src/registry/embedded/embedded-registry.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { until } from '../../support/until.ts'
import { testClusterRegistry } from '../cluster-registry-suite.ts'
import { testNodeStore } from '../node-store-suite.ts'

const settled = <T>(promise: Promise<T>): Promise<T> => promise

testNodeStore('embedded', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'registry-'))
  const store = await EmbeddedNodeStore.open({ directory, logger: silentLogger })
  const close = async (): Promise<void> => {
    await store.close()
    await rm(directory, { recursive: true })
  }
  return { store, other: null, settled, until, close }
})

testClusterRegistry('embedded', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'registry-'))
  const registry = await openEmbeddedRegistry({ directory, logger: silentLogger })
  const close = async (): Promise<void> => {
    await registry.close()
    await rm(directory, { recursive: true })
  }
  return { registry, other: null, settled, until, close }
})
