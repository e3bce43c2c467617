/** The end of a ZooKeeper session behind its owner's back. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ConnectError, type ServerAddress } from '../../src/registry/zookeeper/client.ts'
import { connectNativeClient } from '../../src/registry/zookeeper/native-client.ts'
import { SESSION_FILE } from '../../src/registry/zookeeper/session-file.ts'
import { until } from './until.ts'

const AGAIN_MS = 3000

/**
 * Ends the session of the owner of a data directory, with its own credentials on another connection;
 * resolves when it has noted the next one. An owner that is awake may win its session back on that
 * very server before the request to end it is read, which goes with the connection: then once more.
 */
export async function endSession(server: ServerAddress, directory: string): Promise<void> {
  const read = async (): Promise<{ id: string; password: string }> =>
    JSON.parse(await readFile(join(directory, SESSION_FILE), 'utf8'))
  const credentials = await read()
  let asked = Number.NEGATIVE_INFINITY
  await until('another session', async () => {
    if ((await read()).id !== credentials.id) return true
    if (performance.now() - asked < AGAIN_MS) return false
    await askToEnd(server, credentials)
    asked = performance.now()
    return false
  })
}

async function askToEnd(
  server: ServerAddress,
  credentials: { id: string; password: string },
): Promise<void> {
  try {
    const client = await connectNativeClient({
      server,
      sessionTimeoutMs: 6000,
      credentials,
      patienceMs: 10_000,
      events: { disconnected: () => undefined, changed: () => undefined },
    })
    client.close()
  } catch (error) {
    const isOver = error instanceof ConnectError && error.kind === 'expired'
    if (!isOver) throw error
  }
}
