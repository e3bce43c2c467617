/** The end of a ZooKeeper session behind its owner's back. */
import { ConnectError, type ServerAddress } from '../../src/registry/zookeeper/client.ts'
import { connectNativeClient } from '../../src/registry/zookeeper/native-client.ts'

/**
 * Ends a session from outside: with its own credentials, on another connection. An owner that is
 * awake may win it back on that very server before the request to end it is read, which goes with
 * the connection: it is over when the ensemble says so.
 */
export async function endSession(
  server: ServerAddress,
  credentials: { id: string; password: string },
): Promise<void> {
  for (;;) {
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
      if (error instanceof ConnectError && error.kind === 'expired') return
      throw error
    }
  }
}
