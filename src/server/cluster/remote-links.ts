/** Connections between brokers for what the controller says and is asked. */
import { lookup } from 'node:dns/promises'
import { connect } from 'node:net'
import { BrokerConnection } from '../../client/broker-connection.ts'
import type { BrokerLink, OpenBrokerLink } from '../../controller/broker-link.ts'
import { AllocateProducerIds } from '../../protocol/messages/allocate-producer-ids.ts'
import {
  AlterPartition,
  type AlterPartitionRequest,
} from '../../protocol/messages/alter-partition.ts'
import { ControlledShutdown } from '../../protocol/messages/controlled-shutdown.ts'
import { Envelope } from '../../protocol/messages/envelope.ts'
import { LeaderAndIsr } from '../../protocol/messages/leader-and-isr.ts'
import { StopReplica } from '../../protocol/messages/stop-replica.ts'
import { UpdateMetadata } from '../../protocol/messages/update-metadata.ts'
import type { RegisteredBroker } from '../../registry/cluster-registry.ts'
import type { ClusterLinks } from './cluster-member.ts'
import type { ControllerConnection, OpenControllerConnection } from './controller-channel.ts'
import type { RegisteredBrokers } from './registered-brokers.ts'

const FIRST_ISR_EPOCHS = 3
/** For the port of a broker that may be dead. */
const PROBE_TIMEOUT_MS = 1000

export interface RemoteLinksOptions {
  readonly brokerId: number
  readonly brokers: RegisteredBrokers
  /** For a connection. */
  readonly connectTimeoutMs: number
  /** For an answer: `controller.socket.timeout.ms`. */
  readonly timeoutMs: number
}

/** Connections of a broker in a cluster. */
export function remoteLinks(options: RemoteLinksOptions): ClusterLinks {
  return {
    toBroker: remoteBrokerLinks(options),
    toController: remoteControllerConnections(options),
    probe: (address) => portRefuses(address, PROBE_TIMEOUT_MS),
    resolve: resolveHost,
  }
}

/** How the controller reaches brokers elsewhere. */
export function remoteBrokerLinks(options: RemoteLinksOptions): OpenBrokerLink {
  return async (broker) => {
    const connection = await open(options, broker, 'controller')
    const link: BrokerLink = {
      leaderAndIsr: (request) => connection.send(LeaderAndIsr, request),
      updateMetadata: (request) => connection.send(UpdateMetadata, request),
      stopReplica: (request) => connection.send(StopReplica, request),
      onLost: null,
      close: () => close(connection),
    }
    void connection.closed.then(() => link.onLost?.())
    return link
  }
}

/** How a broker reaches a controller elsewhere. */
export function remoteControllerConnections(options: RemoteLinksOptions): OpenControllerConnection {
  return async (broker) => {
    const connection = await open(options, broker, 'to-controller')
    const remote: ControllerConnection = {
      alterPartition: (request) => {
        const version = connection.versionOf(AlterPartition)
        return connection.send(AlterPartition, isrsOfVersion(request, version), { version })
      },
      controlledShutdown: (request) => connection.send(ControlledShutdown, request),
      allocateProducerIds: (request) => connection.send(AllocateProducerIds, request),
      envelope: (request) => connection.send(Envelope, request),
      onLost: null,
      close: () => close(connection),
    }
    void connection.closed.then(() => remote.onLost?.())
    return remote
  }
}

/** Brokers before 3.5 are told the members of ISRs without their epochs (KIP-903). */
function isrsOfVersion(request: AlterPartitionRequest, version: number): AlterPartitionRequest {
  const hasEpochs = version >= FIRST_ISR_EPOCHS
  return {
    ...request,
    topics: request.topics.map((topic) => ({
      ...topic,
      partitions: topic.partitions.map((partition) => ({
        ...partition,
        newIsr: hasEpochs ? [] : partition.newIsrWithEpochs.map(({ brokerId }) => brokerId),
        newIsrWithEpochs: hasEpochs ? partition.newIsrWithEpochs : [],
      })),
    })),
  }
}

function open(
  { brokerId, brokers, connectTimeoutMs, timeoutMs }: RemoteLinksOptions,
  broker: RegisteredBroker,
  purpose: string,
): Promise<BrokerConnection> {
  const endpoint = brokers.endpointOf(broker)
  if (endpoint === undefined) throw new Error(`broker ${broker.brokerId} has no endpoint`)
  return BrokerConnection.open({
    host: endpoint.host,
    port: endpoint.port,
    clientId: `broker-${brokerId}-${purpose}`,
    connectTimeoutMs,
    requestTimeoutMs: timeoutMs,
  })
}

function close(connection: BrokerConnection): void {
  // It only ends what is left; who waited was told before.
  connection.close().catch(() => undefined)
}

/** Whether nobody listens there; false if somebody does, or if nothing is known. */
export function portRefuses(
  { host, port }: { readonly host: string; readonly port: number },
  timeoutMs: number,
): Promise<boolean> {
  return new Promise((found) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    const settle = (refuses: boolean): void => {
      socket.destroy()
      found(refuses)
    }
    socket.once('connect', () => settle(false))
    socket.once('timeout', () => settle(false))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(error.code === 'ECONNREFUSED'))
  })
}

/** All IP addresses of a host. */
export async function resolveHost(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address)
}
