/**
 * The tree of nodes as one simulated ZooKeeper server has it: all servers apply the same
 * transactions in the same order, each in its own time, and each tells its own watchers.
 */
import { ClientCode, type NodeStat } from '../../../src/registry/zookeeper/client.ts'

export type Transaction =
  | {
      readonly kind: 'create'
      readonly path: string
      readonly data: string
      readonly owner: string
      readonly ctimeMs: number
    }
  | { readonly kind: 'set'; readonly path: string; readonly data: string }
  | { readonly kind: 'delete'; readonly path: string }
  /** The ephemeral nodes of a session go with it. */
  | { readonly kind: 'end-session'; readonly session: string; readonly paths: readonly string[] }
  /** Changes nothing. */
  | { readonly kind: 'nothing' }

export interface TreeNode {
  data: string
  version: number
  readonly czxid: number
  readonly ctimeMs: number
  readonly owner: string
  readonly children: Set<string>
  /** Children that were ever created: numbers of sequential nodes. */
  childCount: number
}

/** One who watches: told once, and then not any more. */
export interface Watcher {
  fired(path: string): void
}

const ROOT_MS = 1_600_000_000_000

export class Tree {
  readonly #nodes = new Map<string, TreeNode>([
    ['/', newNode({ data: '', czxid: 0, ctimeMs: ROOT_MS, owner: '0' })],
  ])
  readonly #dataWatches = new Map<string, Set<Watcher>>()
  readonly #childWatches = new Map<string, Set<Watcher>>()

  node(path: string): TreeNode | undefined {
    return this.#nodes.get(path)
  }

  watchData(path: string, watcher: Watcher): void {
    put(this.#dataWatches, path, watcher)
  }

  watchChildren(path: string, watcher: Watcher): void {
    put(this.#childWatches, path, watcher)
  }

  forget(watcher: Watcher): void {
    for (const watches of [this.#dataWatches, this.#childWatches]) {
      for (const [path, watchers] of watches) {
        watchers.delete(watcher)
        if (watchers.size === 0) watches.delete(path)
      }
    }
  }

  apply(transaction: Transaction, zxid: number): void {
    switch (transaction.kind) {
      case 'create': {
        const { path, data, owner, ctimeMs } = transaction
        this.#nodes.set(path, newNode({ data, czxid: zxid, ctimeMs, owner }))
        const parent = this.#nodes.get(parentOf(path)) as TreeNode
        parent.children.add(nameOf(path))
        parent.childCount += 1
        this.#fire(this.#dataWatches, path)
        this.#fire(this.#childWatches, parentOf(path))
        return
      }
      case 'set': {
        const node = this.#nodes.get(transaction.path) as TreeNode
        node.data = transaction.data
        node.version += 1
        this.#fire(this.#dataWatches, transaction.path)
        return
      }
      case 'delete':
        this.#delete(transaction.path)
        return
      case 'end-session':
        for (const path of transaction.paths) this.#delete(path)
        return
      case 'nothing':
        return
    }
  }

  #delete(path: string): void {
    this.#nodes.delete(path)
    this.#nodes.get(parentOf(path))?.children.delete(nameOf(path))
    this.#fire(this.#dataWatches, path)
    this.#fire(this.#childWatches, path)
    this.#fire(this.#childWatches, parentOf(path))
  }

  #fire(watches: Map<string, Set<Watcher>>, path: string): void {
    const watchers = watches.get(path)
    if (watchers === undefined) return
    watches.delete(path)
    for (const watcher of watchers) watcher.fired(path)
  }
}

function newNode(node: Pick<TreeNode, 'data' | 'czxid' | 'ctimeMs' | 'owner'>): TreeNode {
  return { ...node, version: 0, children: new Set(), childCount: 0 }
}

function put(watches: Map<string, Set<Watcher>>, path: string, watcher: Watcher): void {
  const watchers = watches.get(path)
  if (watchers === undefined) watches.set(path, new Set([watcher]))
  else watchers.add(watcher)
}

export function statOf(node: TreeNode): NodeStat {
  const { version, czxid, ctimeMs, owner } = node
  return { version, czxid, ctimeMs, ephemeralOwner: owner }
}

export function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')))
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

export function isPath(path: string): boolean {
  return /^\/(?:[^/\0]+(?:\/[^/\0]+)*)?$/.test(path) && !/\/\.\.?(?:\/|$)/.test(path)
}

/** What the leader makes of a write: a refusal, or a transaction. */
export function prepare(
  tree: Tree,
  write:
    | { kind: 'create'; path: string; data: string; isEphemeral: boolean; isSequential: boolean }
    | { kind: 'set'; path: string; data: string; version: number }
    | { kind: 'delete'; path: string; version: number },
  session: string,
  ctimeMs: number,
): { readonly code: number; readonly transaction: Transaction } {
  const refuse = (code: number) => ({ code, transaction: { kind: 'nothing' } as const })
  const { path } = write
  const node = tree.node(path)
  if (write.kind === 'create') {
    const parent = tree.node(parentOf(path))
    if (parent === undefined) return refuse(ClientCode.NO_NODE)
    const at = write.isSequential ? `${path}${String(parent.childCount).padStart(10, '0')}` : path
    if (tree.node(at) !== undefined) return refuse(ClientCode.NODE_EXISTS)
    if (parent.owner !== '0') return refuse(ClientCode.NO_CHILDREN_FOR_EPHEMERALS)
    const owner = write.isEphemeral ? session : '0'
    const transaction = { kind: 'create', path: at, data: write.data, owner, ctimeMs } as const
    return { code: 0, transaction }
  }
  if (node === undefined) return refuse(ClientCode.NO_NODE)
  if (write.version !== -1 && write.version !== node.version) return refuse(ClientCode.BAD_VERSION)
  if (write.kind === 'set') {
    return { code: 0, transaction: { kind: 'set', path, data: write.data } }
  }
  if (node.children.size > 0) return refuse(ClientCode.NOT_EMPTY)
  return { code: 0, transaction: { kind: 'delete', path } }
}
