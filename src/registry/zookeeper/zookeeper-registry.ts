/** The registry of a cluster, in a ZooKeeper ensemble that Apache Kafka's brokers could share. */
import type { Clock } from '../../util/clock.ts'
import type { Logger } from '../../util/logger.ts'
import type { Random } from '../../util/random.ts'
import type { TimerQueue } from '../../util/timer-queue.ts'
import { type ClusterRegistry, RegistryError } from '../cluster-registry.ts'
import { NodeRegistry } from '../node-registry.ts'
import { PERSISTENT_PATHS } from '../paths.ts'
import { type ConnectClient, ConnectError } from './client.ts'
import { type ConnectString, parseConnectString } from './connect-string.ts'
import { connectNativeClient } from './native-client.ts'
import { ZooKeeperSession } from './session.ts'
import { SessionFile, type SessionKeeper } from './session-file.ts'
import { ZooKeeperNodeStore } from './zookeeper-node-store.ts'

/** To end the session of an earlier run; if that takes longer it is left to expire. */
const OLD_SESSION_PATIENCE_MS = 3000

export interface ZooKeeperRegistryOptions {
  /** `host:port,host:port/chroot`. */
  readonly connect: string
  readonly sessionTimeoutMs: number
  /** For the first connection; the session time-out if null. */
  readonly connectionTimeoutMs: number | null
  readonly inFlightMax: number
  /** Keeps the credentials of the session; null: nowhere. */
  readonly directory: string | null
  readonly timers: TimerQueue
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  /** How long one operation waits for a connection, and for its answer. The session time-out. */
  readonly requestTimeoutMs?: number
  /** For a tool: the chroot must be there, and nothing is created. */
  readonly isVisitor?: boolean
  /** The real client, unless a test has another. */
  readonly connectClient?: ConnectClient
  /** Instead of a file in the directory. */
  readonly sessionKeeper?: SessionKeeper
}

/**
 * Opens the registry below the chroot, which is created if it is missing. Throws a RegistryError
 * of one line: no server answers in time, the chroot cannot be written, the package is missing.
 */
export async function openZooKeeperRegistry(
  options: ZooKeeperRegistryOptions,
): Promise<ClusterRegistry> {
  const store = await openZooKeeperStore(options)
  return new NodeRegistry({ store, logger: options.logger, clock: options.clock, isShared: true })
}

/** The store below that registry, with the nodes in place that Apache Kafka expects. */
export async function openZooKeeperStore(
  options: ZooKeeperRegistryOptions,
): Promise<ZooKeeperNodeStore> {
  const connectString = parseConnectString(options.connect)
  const connectClient = options.connectClient ?? connectNativeClient
  const { directory } = options
  const file = options.sessionKeeper ?? (directory === null ? null : new SessionFile(directory))
  await endOldSession(file, connectString, { ...options, connectClient })
  const session = await ZooKeeperSession.open({
    servers: connectString.servers,
    sessionTimeoutMs: options.sessionTimeoutMs,
    connectionTimeoutMs: options.connectionTimeoutMs ?? options.sessionTimeoutMs,
    requestTimeoutMs: options.requestTimeoutMs ?? options.sessionTimeoutMs,
    inFlightMax: options.inFlightMax,
    connect: connectClient,
    timers: options.timers,
    random: options.random,
    logger: options.logger,
    ...(file === null
      ? {}
      : { established: (credentials) => file.write(options.connect, credentials) }),
  })
  const store = new ZooKeeperNodeStore({
    session,
    chroot: connectString.chroot,
    timers: options.timers,
    logger: options.logger,
    ...(file === null ? {} : { closed: () => file.remove() }),
  })
  try {
    if (options.isVisitor) await checkChroot(store, connectString)
    else {
      await store.createChroot()
      await Promise.all(PERSISTENT_PATHS.map((path) => store.create(path, '')))
    }
  } catch (error) {
    await store.close()
    throw error
  }
  return store
}

async function checkChroot(store: ZooKeeperNodeStore, { chroot }: ConnectString): Promise<void> {
  if ((await store.get('')) !== null) return
  throw new RegistryError('invalid', `there is no ${chroot} in ZooKeeper`)
}

/**
 * Ends the session that an earlier run of this broker had, so that its registration goes at once
 * and not when that session expires.
 */
async function endOldSession(
  file: SessionKeeper | null,
  { servers }: ConnectString,
  options: ZooKeeperRegistryOptions & { readonly connectClient: ConnectClient },
): Promise<void> {
  const credentials = (await file?.read(options.connect)) ?? null
  if (credentials === null) return
  for (const server of servers) {
    try {
      const client = await options.connectClient({
        server,
        sessionTimeoutMs: options.sessionTimeoutMs,
        credentials,
        patienceMs: OLD_SESSION_PATIENCE_MS,
        events: { disconnected: () => undefined, changed: () => undefined },
      })
      client.close()
      options.logger.info({ session: credentials.id }, 'ended the ZooKeeper session of before')
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error
      if (error.kind === 'unreachable') continue
    }
    return
  }
}
