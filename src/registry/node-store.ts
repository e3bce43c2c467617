/**
 * A tree of small nodes with versions: the part of Apache ZooKeeper that the registry needs.
 * `NodeRegistry` turns it into a ClusterRegistry, so that every store holds the same layout.
 */
import type { WriteResult } from './cluster-registry.ts'

export interface StoredNode {
  readonly data: string
  /** 0 when created, one more at each change. */
  readonly version: number
  /** Grows with every node created anywhere in the store. */
  readonly creationId: number
}

export interface NodeStore {
  get(path: string): Promise<StoredNode | null>
  /** Names of the nodes right below a path, in no order; empty if there are none. */
  children(path: string): Promise<readonly string[]>
  /** Creates missing parents too. An ephemeral node ends with the session. */
  create(path: string, data: string, options?: { ephemeral: boolean }): Promise<WriteResult>
  /** Replaces the data if the version is the expected one or that is ANY_VERSION. */
  set(path: string, data: string, expectedVersion: number): Promise<WriteResult>
  /** Removes a node that has no children. */
  delete(path: string, expectedVersion: number): Promise<WriteResult>
  /** Calls `listener` with the path of each created, changed or deleted node. */
  watch(listener: (path: string) => void): () => void
  close(): Promise<void>
}
