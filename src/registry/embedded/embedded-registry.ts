/** The registry of a cluster of one broker, in its data directory. */
import type { ClusterRegistry } from '../cluster-registry.ts'
import { encodePartitionState, encodeTopic } from '../node-data.ts'
import { NodeRegistry } from '../node-registry.ts'
import { partitionStatePath, topicPath } from '../paths.ts'
import type { AdoptedTopic } from './adoption.ts'
import {
  EmbeddedNodeStore,
  type EmbeddedNodeStoreOptions,
  type InitialNode,
} from './embedded-node-store.ts'

export interface EmbeddedRegistryOptions extends Omit<EmbeddedNodeStoreOptions, 'initialNodes'> {
  /** Asked for the topics of a directory that has no journal yet. */
  readonly adopt?: () => Promise<readonly AdoptedTopic[]>
}

/**
 * Opens the registry that `registry.journal` in the directory holds, or makes one that holds the
 * adopted topics. Throws a RegistryError if the journal cannot be read or written.
 */
export async function openEmbeddedRegistry(
  options: EmbeddedRegistryOptions,
): Promise<ClusterRegistry> {
  const { adopt, ...rest } = options
  const store = await EmbeddedNodeStore.open({
    ...rest,
    initialNodes: async () => ((await adopt?.()) ?? []).flatMap(nodesOf),
  })
  return new NodeRegistry({ store, logger: options.logger })
}

function nodesOf(topic: AdoptedTopic): InitialNode[] {
  const { name } = topic
  const states = topic.states.map((state, partition) => ({
    path: partitionStatePath(name, partition),
    data: encodePartitionState(state),
  }))
  return [{ path: topicPath(name), data: encodeTopic(topic) }, ...states]
}
