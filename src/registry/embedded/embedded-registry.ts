/** The registry of a cluster of one broker, in its data directory. */
import type { ClusterRegistry } from '../cluster-registry.ts'
import { NodeRegistry } from '../node-registry.ts'
import { EmbeddedNodeStore, type EmbeddedNodeStoreOptions } from './embedded-node-store.ts'

/**
 * Opens the registry that `registry.journal` in the directory holds, or makes an empty one.
 * Throws a RegistryError if the journal cannot be read or written.
 */
export async function openEmbeddedRegistry(
  options: EmbeddedNodeStoreOptions,
): Promise<ClusterRegistry> {
  return new NodeRegistry(await EmbeddedNodeStore.open(options))
}
