/** The registry of a cluster in ZooKeeper, for the length of one tool's work. */
import { type ClusterRegistry, RegistryError } from '../../registry/cluster-registry.ts'
import { systemClock } from '../../util/clock.ts'
import { silentLogger } from '../../util/logger.ts'
import { systemRandom } from '../../util/random.ts'
import { TimerQueue } from '../../util/timer-queue.ts'
import { ToolError, type ToolIo } from './tool.ts'

/** How long a tool waits for ZooKeeper: long enough for one that is just starting. */
const FIRST_CONTACT_MS = 5000
const SESSION_TIMEOUT_MS = 30_000
const IN_FLIGHT_MAX = 1000

export interface RegistryContact {
  /** `host:port,host:port/chroot` */
  readonly connect: string
  /** 30000 */
  readonly sessionTimeoutMs?: number | undefined
  /** 5000 */
  readonly connectionTimeoutMs?: number | undefined
}

/** A registry and how to let it go. */
export interface OpenRegistry extends AsyncDisposable {
  readonly registry: ClusterRegistry
}

/** Opens the registry, creating nothing. Throws ToolError when ZooKeeper cannot be reached. */
export async function openRegistry(contact: RegistryContact): Promise<OpenRegistry> {
  const { openZooKeeperRegistry } = await import('../../registry/zookeeper/zookeeper-registry.ts')
  const timers = new TimerQueue(systemClock)
  try {
    const registry = await openZooKeeperRegistry({
      connect: contact.connect,
      sessionTimeoutMs: contact.sessionTimeoutMs ?? SESSION_TIMEOUT_MS,
      connectionTimeoutMs: contact.connectionTimeoutMs ?? FIRST_CONTACT_MS,
      inFlightMax: IN_FLIGHT_MAX,
      directory: null,
      timers,
      clock: systemClock,
      random: systemRandom,
      logger: silentLogger,
      isVisitor: true,
    })
    return {
      registry,
      async [Symbol.asyncDispose]() {
        await registry.close()
        timers.close()
      },
    }
  } catch (error) {
    timers.close()
    throw toolErrorOf(error)
  }
}

/**
 * Runs `work` with the registry and closes it. SIGINT closes it at once, unless the work ends in
 * order by itself then. Throws ToolError.
 */
export async function withRegistry<T>(
  contact: RegistryContact,
  io: ToolIo,
  work: (registry: ClusterRegistry) => Promise<T>,
  { endsInOrder = false } = {},
): Promise<T> {
  const { signal } = io
  await using open = await openRegistry(contact)
  // Whatever waits for an answer then fails, and the tool ends.
  const stop = (): void => void (endsInOrder || open.registry.close())
  signal.addEventListener('abort', stop)
  try {
    return await work(open.registry)
  } catch (error) {
    if (signal.aborted && !endsInOrder) throw new ToolError('interrupted')
    throw toolErrorOf(error)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Config keys mean nothing to whoever gave an option. */
function toolErrorOf(error: unknown): unknown {
  if (!(error instanceof RegistryError)) return error
  return new ToolError(error.message.replace(/^zookeeper\.connect: /, '--zookeeper: '))
}
