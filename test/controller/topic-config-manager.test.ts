/** What a broker knows of the topics' configs when others change them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import { TopicConfigManager } from '../../src/controller/topic-config-manager.ts'
import { ANY_VERSION, type ClusterRegistry } from '../../src/registry/cluster-registry.ts'
import { openEmbeddedRegistry } from '../../src/registry/embedded/embedded-registry.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'

const TOPIC = { type: 'topics', name: 't' } as const

test('a change that is announced while the configs are being loaded is known', async () => {
  const registry = await openEmbeddedRegistry({
    directory: '/',
    files: new MemoryFiles(),
    logger: silentLogger,
  })
  let deliver = (): void => undefined
  let isRead = (): void => undefined
  const reading = new Promise<void>((resolve) => {
    isRead = resolve
  })
  /** Its first answer is on its way until it is delivered. */
  const slow: Pick<ClusterRegistry, 'config'> = {
    config: async (entity) => {
      const config = await registry.config(entity)
      isRead()
      await new Promise<void>((resolve) => {
        deliver = resolve
      })
      slow.config = (again) => registry.config(again)
      return config
    },
  }
  const manager = new TopicConfigManager({
    registry: slow as ClusterRegistry,
    texts: new LiveBrokerTexts(new Map()),
    logger: silentLogger,
  })
  const loaded = manager.load(['t'])
  await reading
  await registry.writeConfig(TOPIC, new Map([['retention.ms', '7']]), ANY_VERSION)
  const reloaded = manager.reload('t')
  deliver()
  await loaded
  await reloaded
  assert.deepEqual([...manager.configsOf('t')], [['retention.ms', '7']])
  await registry.close()
})
