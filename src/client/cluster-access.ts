/**
 * What a consumer needs of a cluster: `Cluster` and `BrokerConnection` have it, and so has the
 * scripted cluster of the tests.
 */
import type { BrokerConnection } from './broker-connection.ts'
import type { Cluster } from './cluster.ts'
import { ClientError } from './errors.ts'

export type ConnectionAccess = Pick<BrokerConnection, 'versionOf' | 'send' | 'sendFramed'>

export interface ClusterAccess
  extends Pick<Cluster, 'metadata' | 'forgetCoordinator' | 'retry' | 'close'> {
  broker(brokerId: number): Promise<ConnectionAccess>
  coordinator(kind: 'group', key: string): Promise<ConnectionAccess>
}

/** Whether the same may succeed when it is tried again. */
export function isTransient(error: Error): boolean {
  return error instanceof ClientError && error.retriable
}
