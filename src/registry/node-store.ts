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
  /** Wall clock of the store, ms since 1970; 0 if that is not known any more. */
  readonly createdMs: number
  /** Whose session the node ends with. */
  readonly endsWith: 'nobody' | 'this-session' | 'another-session'
}

/**
 * `disconnected`: nothing can be written, but the session and its ephemeral nodes may live;
 * `expired`: they are gone, and a new session is being begun.
 */
export type SessionState = 'connected' | 'disconnected' | 'expired'

export interface CreateOptions {
  /** The node ends with the session. */
  readonly ephemeral?: boolean
  /** How many levels of parents are likely missing; those above are found missing if they are. */
  readonly parentLevels?: number
}

export type ChildrenListener = (names: readonly string[]) => void | Promise<void>

/**
 * Reads and writes may be asked for without waiting for earlier ones: they are carried out in
 * order. Where an answer was lost a write is looked up before it is repeated; it counts as made if
 * the node holds what it would hold then. All methods may throw a RegistryError.
 */
export interface NodeStore {
  readonly sessionState: SessionState
  /** How long the session outlives the last word from here, in ms; 0 if it never ends. */
  readonly sessionTimeoutMs: number

  /** Calls `listener` at each change of the state; returns how to stop it. */
  onSessionState(listener: (state: SessionState) => void): () => void

  get(path: string): Promise<StoredNode | null>
  /** Names of the nodes right below a path, in no order; empty if there are none. */
  children(path: string): Promise<readonly string[]>
  /** The nodes right below a path, by name; they are read together. */
  childNodes(path: string): Promise<ReadonlyMap<string, StoredNode>>
  /** Creates missing parents too. */
  create(path: string, data: string, options?: CreateOptions): Promise<WriteResult>
  /** Creates a node whose name ends in ten digits that grow; its path. Lost answers may make two. */
  createSequential(prefix: string, data: string): Promise<string>
  /** Replaces the data if the version is the expected one or that is ANY_VERSION. */
  set(path: string, data: string, expectedVersion: number): Promise<WriteResult>
  /** As `set`, but if the answer is lost it throws: nobody can tell whose write it was. */
  setOnce(path: string, data: string, expectedVersion: number): Promise<WriteResult>
  /** Removes a node that has no children. */
  delete(path: string, expectedVersion: number): Promise<WriteResult>
  /** Removes a node and all below it, the lowest first. */
  deleteTree(path: string): Promise<void>

  /**
   * Calls `listener` with the node (null: there is none) as it is now and after each change; of
   * changes that follow each other fast only the last may be told. Returns how to stop it.
   */
  watchNode(path: string, listener: (node: StoredNode | null) => void): () => void
  /**
   * As `watchNode`, with the names of the nodes right below. If what the listener returns rejects
   * with a RegistryError, a store that can lose its connection tells it again.
   */
  watchChildren(path: string, listener: ChildrenListener): () => void

  close(): Promise<void>
}
