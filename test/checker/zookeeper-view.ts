/** Looks into ZooKeeper past the brokers, as a client of its own. */
import type { ClientOperation, ClientReply, NodeStat } from '../../src/registry/zookeeper/client.ts'
import { ClientCode, type ZooKeeperClient } from '../../src/registry/zookeeper/client.ts'
import { parseConnectString } from '../../src/registry/zookeeper/connect-string.ts'
import { connectNativeClient } from '../../src/registry/zookeeper/native-client.ts'

const SESSION_TIMEOUT_MS = 30_000

export interface ViewedNode {
  readonly data: string
  readonly stat: NodeStat
}

export class ZooKeeperView {
  readonly #client: ZooKeeperClient

  private constructor(client: ZooKeeperClient) {
    this.#client = client
  }

  /** Connects to the first server that `connect` (as in `zookeeper.connect`) names. */
  static async open(connect: string): Promise<ZooKeeperView> {
    const [server] = parseConnectString(connect).servers
    if (server === undefined) throw new Error(`no server in ${connect}`)
    const client = await connectNativeClient({
      server,
      sessionTimeoutMs: SESSION_TIMEOUT_MS,
      credentials: null,
      patienceMs: 10_000,
      events: { disconnected: () => undefined, changed: () => undefined },
    })
    return new ZooKeeperView(client)
  }

  /** A node, or null if there is none. */
  async node(path: string): Promise<ViewedNode | null> {
    const { code, data, stat } = await this.#ask({ kind: 'get', path, watch: false })
    if (code === ClientCode.NO_NODE) return null
    if (data === undefined || stat === undefined) throw new Error(`${path}: code ${code}`)
    return { data, stat }
  }

  /** Ids of the brokers that are registered. */
  async brokerIds(): Promise<number[]> {
    const { code, names } = await this.#ask({
      kind: 'children',
      path: '/brokers/ids',
      watch: false,
    })
    if (names === undefined) throw new Error(`/brokers/ids: code ${code}`)
    return names.map(Number).sort((a, b) => a - b)
  }

  #ask(operation: ClientOperation): Promise<ClientReply> {
    return new Promise((answered) => this.#client.submit(operation, answered))
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }
}
