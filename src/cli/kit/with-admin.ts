/** An Admin for the length of one tool's work. */
import { Admin } from '../../client/admin.ts'
import { Cluster } from '../../client/cluster.ts'
import { ClientError } from '../../client/errors.ts'
import { connectionOf } from './connection.ts'
import { ToolError, type ToolIo } from './tool.ts'

/** How long a tool waits for the first broker: long enough for one that is just starting. */
const FIRST_CONTACT_MS = 5000

export interface Contact {
  readonly bootstrapServers: string | undefined
  readonly configFile: string | undefined
  /** Milliseconds to wait for a broker that does not answer; 5000 if left out. */
  readonly timeoutMs?: number | undefined
}

/** Opens a Cluster of which one broker has answered. Throws ToolError. */
export async function openCluster(contact: Contact, signal?: AbortSignal): Promise<Cluster> {
  const options = await connectionOf(contact.bootstrapServers, contact.configFile)
  const cluster = new Cluster(options)
  try {
    await cluster.retry(() => cluster.any(), {
      timeoutMs: contact.timeoutMs ?? FIRST_CONTACT_MS,
      ...(signal === undefined ? {} : { signal }),
    })
    return cluster
  } catch (error) {
    await cluster.close()
    if (!(error instanceof ClientError)) throw error
    throw new ToolError(
      `no broker answers at ${options.bootstrapServers}: ${error.message}`,
      'is the broker running, and is this its listener?',
    )
  }
}

/** Runs `work` with an Admin and closes it. Throws ToolError when no broker can be reached. */
export async function withAdmin<T>(
  contact: Contact,
  io: ToolIo,
  work: (admin: Admin, cluster: Cluster) => Promise<T>,
): Promise<T> {
  const { signal } = io
  const cluster = await openCluster(contact, signal)
  // Whatever waits for an answer then fails, and the tool ends.
  const stop = (): void => void cluster.close()
  signal.addEventListener('abort', stop)
  try {
    return await work(new Admin(cluster), cluster)
  } catch (error) {
    if (signal.aborted) throw new ToolError('interrupted')
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    await cluster.close()
  }
}
