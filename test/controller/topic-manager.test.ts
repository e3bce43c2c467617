/**
 * TopicManager when things fail: the registry's disk at any operation, a crash at any byte of the
 * journal, other requests at the same time.
 */
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import type { NewTopic } from '../../src/controller/topic-manager.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { JOURNAL_FILE } from '../../src/registry/embedded/embedded-node-store.ts'
import { scanRecords } from '../../src/registry/embedded/journal.ts'
import { MemoryFiles } from '../registry/embedded/faulty-files.ts'
import { createServices, type TestServices } from '../server/test-services.ts'

const open: TestServices[] = []
afterEach(async () => {
  for (const services of open.splice(0)) {
    services.timers.close()
    await services.registry.close()
  }
})

const DIRECTORY = '/data'
const JOURNAL = `${DIRECTORY}/${JOURNAL_FILE}`

async function start(files: MemoryFiles): Promise<TestServices> {
  const services = await createServices({}, { directory: DIRECTORY, files })
  open.push(services)
  return services
}

const topicOf = (name: string): NewTopic => ({
  name,
  numPartitions: 3,
  replicationFactor: 1,
  assignments: [],
  configs: [{ name: 'retention.ms', value: '5' }],
})

async function create(services: TestServices, name: string): Promise<number | undefined> {
  const options = { timeoutMs: 60_000, validateOnly: false }
  return (await services.topicManager.createTopics([topicOf(name)], options))[0]?.errorCode
}

async function widen(services: TestServices, name: string): Promise<number | undefined> {
  const options = { timeoutMs: 60_000, validateOnly: false }
  const topics = [{ name, count: 5, assignments: null }]
  return (await services.topicManager.createPartitions(topics, options))[0]?.errorCode
}

async function remove(services: TestServices, name: string): Promise<number | undefined> {
  const topic = services.metadata.topic(name)
  if (topic === undefined) return undefined
  return (await services.topicManager.deleteTopics([topic], 60_000))[0]?.errorCode
}

/** Every topic that is known is whole, in the registry as in the metadata. */
async function checkWhole(services: TestServices): Promise<void> {
  const { metadata, registry } = services
  assert.deepEqual(await registry.topicNames(), [...metadata.topicNames()])
  assert.deepEqual(await registry.topicDeletions(), [])
  for (const topic of metadata.topics()) {
    const entry = await registry.topic(topic.name)
    assert.equal(entry?.value.topicId, topic.topicId)
    assert.equal(entry?.value.partitions.length, topic.partitions.length)
    assert.equal(topic.configs.get('retention.ms'), '5')
    for (const partition of topic.partitions) assert.equal(partition.leader, 1)
    const states = await registry.partitionStates(topic.name)
    assert.equal(states.length, topic.partitions.length)
  }
}

test('after a crash anywhere topics are whole or gone', async () => {
  const files = new MemoryFiles()
  const services = await start(files)
  const first = files.contents.get(JOURNAL)?.length ?? 0
  assert.equal(await create(services, 'a'), ErrorCode.NONE)
  assert.equal(await create(services, 'b'), ErrorCode.NONE)
  assert.equal(await widen(services, 'a'), ErrorCode.NONE)
  assert.equal(await remove(services, 'a'), ErrorCode.NONE)
  assert.equal(await create(services, 'a'), ErrorCode.NONE)
  await checkWhole(services)
  const whole = files.contents.get(JOURNAL) as Buffer
  const cuts = scanRecords(whole).payloads.length
  assert.ok(cuts > 25)
  let seen = ''
  for (let length = first; length <= whole.length; length++) {
    // Between two records nothing new can be seen.
    const { payloads, cut } = scanRecords(whole.subarray(0, length))
    if (cut !== null && length !== whole.length) continue
    const crashed = new MemoryFiles()
    crashed.contents.set(JOURNAL, Buffer.from(whole.subarray(0, length)))
    const after = await start(crashed)
    await after.topicManager.resumeDeletions()
    await checkWhole(after)
    seen += `${payloads.length}:${after.metadata.topicNames().join('')} `
  }
  assert.match(seen, /:a .*:ab .*:b .*:ab /)
})

test('whichever operation of the disk fails: told, and nothing is left half done', async () => {
  const script = async (services: TestServices): Promise<number> => {
    let failures = 0
    const steps = [
      () => create(services, 'a'),
      () => widen(services, 'a'),
      () => remove(services, 'a'),
      () => create(services, 'a'),
      () => create(services, 'b'),
    ]
    for (const step of steps) {
      const code = await step()
      if (code === ErrorCode.NONE) continue
      failures += 1
      assert.ok(
        code === ErrorCode.KAFKA_STORAGE_ERROR ||
          code === undefined || // Deleting what could not be created.
          code === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION ||
          code === ErrorCode.TOPIC_ALREADY_EXISTS,
        String(code),
      )
    }
    return failures
  }
  const clean = new MemoryFiles()
  const services = await start(clean)
  const begin = clean.operations.length
  assert.equal(await script(services), 0)
  const end = clean.operations.length
  for (let operation = begin + 1; operation <= end; operation++) {
    for (const lasting of [false, true]) {
      const files = new MemoryFiles()
      const faulty = await start(files)
      files.fault = { operation, code: 'ENOSPC', bytesFirst: 5, isLasting: lasting }
      assert.ok((await script(faulty)) >= 1)
      files.fault = null
      // The disk is well again: what failed can be asked for again, and is whole.
      for (const name of ['a', 'b']) {
        const code = await create(faulty, name)
        assert.ok(code === ErrorCode.NONE || code === ErrorCode.TOPIC_ALREADY_EXISTS, String(code))
      }
      await faulty.topicManager.resumeDeletions()
      assert.deepEqual([...faulty.metadata.topicNames()], ['a', 'b'])
      const restarted = new MemoryFiles()
      restarted.contents.set(JOURNAL, Buffer.from(files.contents.get(JOURNAL) as Buffer))
      const after = await start(restarted)
      await after.topicManager.resumeDeletions()
      await checkWhole(after)
      assert.deepEqual([...after.metadata.topicNames()], ['a', 'b'])
    }
  }
})

test('of many requests for the same topic one creates it', async () => {
  const services = await start(new MemoryFiles())
  const codes = await Promise.all(Array.from({ length: 20 }, () => create(services, 'one')))
  assert.equal(codes.filter((code) => code === ErrorCode.NONE).length, 1)
  assert.equal(codes.filter((code) => code === ErrorCode.TOPIC_ALREADY_EXISTS).length, 19)
  await checkWhole(services)
})

test('many topics of one request share syncs of the journal', async () => {
  const files = new MemoryFiles()
  const services = await start(files)
  const topics = Array.from({ length: 300 }, (_, i) => topicOf(`t${i}`))
  const before = files.operations.filter((operation) => operation === 'sync').length
  const options = { timeoutMs: 60_000, validateOnly: false }
  const outcomes = await services.topicManager.createTopics(topics, options)
  assert.ok(outcomes.every((outcome) => outcome.errorCode === ErrorCode.NONE))
  const syncs = files.operations.filter((operation) => operation === 'sync').length - before
  assert.ok(syncs <= 60, `${syncs} syncs`)
  await checkWhole(services)
})

test('a topic made by an old tool gets an id, its partitions leaders', async () => {
  const files = new MemoryFiles()
  const services = await start(files)
  await services.registry.createTopic({
    name: 'old',
    topicId: null,
    partitions: [[1], [1, 9]],
    addingReplicas: new Map(),
    removingReplicas: new Map(),
  })
  const state = { leader: 9, leaderEpoch: 4, isr: [9, 1], controllerEpoch: 1 }
  await services.registry.createPartitionState('old', 1, state)
  await services.topicManager.load()
  const topic = services.metadata.topic('old')
  assert.match(topic?.topicId ?? '', /^[\w-]{22}$/)
  assert.deepEqual(
    topic?.partitions.map((p) => [p.leader, p.leaderEpoch, p.isr, p.offlineReplicas]),
    [
      [1, 0, [1], []],
      [1, 5, [1], [9]],
    ],
  )
  assert.equal((await services.registry.topic('old'))?.value.topicId, topic?.topicId)
})
