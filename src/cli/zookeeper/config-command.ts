/** `kafka-configs --zookeeper`: configs of topics as Kafka 0.9 to 2.x described and changed them. */
import type { ClusterRegistry } from '../../registry/cluster-registry.ts'
import { ToolError, type ToolIo } from '../kit/tool.ts'
import { changeTopicConfigs, checkTopicConfigs } from './topic-command.ts'

/** Prints the configs of a topic, of all topics without a name. */
export async function describeConfigs(
  registry: ClusterRegistry,
  name: string | null,
  io: ToolIo,
): Promise<void> {
  const names = name === null ? await registry.topicNames() : [name]
  const json: unknown[] = []
  for (const topic of names) {
    await checkTopic(registry, topic)
    const configs = (await registry.config({ type: 'topics', name: topic }))?.value ?? new Map()
    json.push({ type: 'topics', name: topic, configs: Object.fromEntries(configs) })
    const texts = [...configs].map(([key, value]) => `${key}=${value}`).sort()
    if (!io.json) io.print(`Configs for topic '${topic}' are ${texts.join(',')}`)
  }
  if (io.json) io.print(JSON.stringify(json))
}

async function checkTopic(registry: ClusterRegistry, name: string): Promise<void> {
  if ((await registry.topic(name)) === null) throw new ToolError(`Topic ${name} does not exist`)
}

/** Throws ToolError for a config that is to be deleted and is not set. */
export async function alterConfigs(
  registry: ClusterRegistry,
  name: string,
  changes: { readonly added: ReadonlyMap<string, string>; readonly deleted: readonly string[] },
  io: ToolIo,
): Promise<void> {
  checkTopicConfigs(changes.added)
  await checkTopic(registry, name)
  const entity = { type: 'topics', name } as const
  const there = (await registry.config(entity))?.value
  const missing = changes.deleted.filter((key) => !there?.has(key))
  if (missing.length > 0) {
    throw new ToolError(`Invalid config(s): ${missing.join(',')}`, 'it is not set')
  }
  await changeTopicConfigs(registry, name, changes)
  if (io.json) io.print(JSON.stringify({ updated: [entity] }))
  else io.print(`Completed Updating config for entity: topic '${name}'.`)
}
