/** Two brokers of Apache Kafka 3.9.1 below this controller: they do as they are told. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerConnection } from '../../src/client/broker-connection.ts'
import { loadBrokerConfig } from '../../src/config/load-broker-config.ts'
import type { OpenBrokerLink } from '../../src/controller/broker-link.ts'
import { interBrokerEndpoint } from '../../src/controller/broker-requests.ts'
import { LiveBrokerTexts } from '../../src/controller/broker-texts.ts'
import { Controller } from '../../src/controller/controller.ts'
import { ErrorCode } from '../../src/protocol/error-codes.ts'
import { AllocateProducerIds } from '../../src/protocol/messages/allocate-producer-ids.ts'
import { AlterPartition } from '../../src/protocol/messages/alter-partition.ts'
import { ControlledShutdown } from '../../src/protocol/messages/controlled-shutdown.ts'
import { LeaderAndIsr } from '../../src/protocol/messages/leader-and-isr.ts'
import { StopReplica } from '../../src/protocol/messages/stop-replica.ts'
import { UpdateMetadata } from '../../src/protocol/messages/update-metadata.ts'
import { systemClock } from '../../src/util/clock.ts'
import { silentLogger } from '../../src/util/logger.ts'
import { systemRandom } from '../../src/util/random.ts'
import { openRegistry, timers } from '../registry/zookeeper/open-store.ts'
import { ClusterBroker, skipWithoutCluster, TestCluster } from '../support/cluster.ts'
import { ScriptedBroker } from '../support/scripted-broker.ts'
import { until } from '../support/until.ts'
import { ZooKeeperEnsemble } from '../support/zookeeper-ensemble.ts'
import { RecordingBroker, registrationOf } from './test-cluster.ts'

const CONTROLLER = 9

const skip = skipWithoutCluster('apache')

test('Apache Kafka brokers below this controller', { skip }, async (t) => {
  const ensemble = await ZooKeeperEnsemble.start(1)
  const registry = await openRegistry(ensemble.connect)
  const scripted = await ScriptedBroker.start(t)
  const own = new RecordingBroker(CONTROLLER)
  const openLink: OpenBrokerLink = async (broker) => {
    if (broker.brokerId === CONTROLLER) return own.open()
    const endpoint = interBrokerEndpoint(broker, null)
    assert.ok(endpoint)
    const connection = await BrokerConnection.open({
      ...{ host: endpoint.host, port: endpoint.port, clientId: 'controller' },
      ...{ connectTimeoutMs: 5000, requestTimeoutMs: 30_000 },
    })
    const link: Awaited<ReturnType<OpenBrokerLink>> = {
      leaderAndIsr: (request) => connection.send(LeaderAndIsr, request),
      updateMetadata: (request) => connection.send(UpdateMetadata, request),
      stopReplica: (request) => connection.send(StopReplica, request),
      onLost: null,
      close: () => void connection.close(),
    }
    void connection.closed.then(() => link.onLost?.())
    return link
  }
  const loaded = loadBrokerConfig(new Map([['auto.leader.rebalance.enable', 'false']]))
  const controller = new Controller({
    brokerId: CONTROLLER,
    registry,
    config: loaded.config,
    texts: new LiveBrokerTexts(loaded.explicit),
    openLink,
    clock: systemClock,
    timers,
    random: systemRandom,
    logger: silentLogger,
  })
  scripted
    .on(AlterPartition, (request) => controller.alterPartition(request))
    .on(ControlledShutdown, (request) => controller.controlledShutdown(request))
    .on(AllocateProducerIds, (request) => controller.allocateProducerIds(request))
  const brokers = [0, 1].map(
    (id) =>
      new ClusterBroker({
        id,
        kind: 'apache',
        settings: {
          'zookeeper.connect': ensemble.connect,
          'zookeeper.session.timeout.ms': '6000',
          'controlled.shutdown.retry.backoff.ms': '500',
        },
      }),
  )
  const cluster = new TestCluster(ensemble, brokers)
  try {
    const { endpoints, ...rest } = registrationOf(CONTROLLER)
    const place = { ...endpoints[0], host: scripted.host, port: scripted.port }
    const registered = await registry.registerBroker({
      ...rest,
      endpoints: [{ listenerName: 'PLAINTEXT', securityProtocol: 'PLAINTEXT', ...place }],
    })
    own.brokerEpoch = registered.brokerEpoch ?? -1
    controller.start()
    await until('it is the controller', () => controller.isActive)
    await Promise.all(brokers.map((broker) => broker.restart()))
    await cluster.waitForBrokers([0, 1, CONTROLLER])

    const assignments = [
      [0, 1],
      [1, 0],
    ].map((brokerIds, partitionIndex) => ({
      ...{ partitionIndex, brokerIds },
    }))
    const topic = { name: 't', numPartitions: -1, replicationFactor: -1, assignments, configs: [] }
    const options = { timeoutMs: 20_000, validateOnly: false }
    const [created] = await controller.createTopics([topic], options)
    assert.equal(created?.errorCode, ErrorCode.NONE, created?.errorMessage ?? '')
    const lead = (partition: number, leader: number, isr: string) =>
      cluster.waitForLeader(
        't',
        partition,
        (state) => state.leaderId === leader && [...state.isr].sort().join() === isr,
      )
    await lead(0, 0, '0,1')
    await lead(1, 1, '0,1')

    // An orderly stop asks the controller; the broker that returns asks to be let into the ISR.
    await brokers[1]?.stop()
    await lead(0, 0, '0')
    await lead(1, 0, '0')
    await brokers[1]?.restart()
    await lead(0, 0, '0,1')
    await lead(1, 0, '0,1')
    const elected = await controller.electLeaders({
      ...{ electionType: 0, topicPartitions: null, timeoutMs: 5000 },
    })
    assert.equal(elected.errorCode, ErrorCode.NONE)
    await lead(1, 1, '0,1')

    await brokers[0]?.kill()
    await lead(0, 1, '1')
    await brokers[0]?.restart()
    await lead(0, 1, '0,1')

    const moved = await controller.alterPartitionReassignments({
      timeoutMs: 5000,
      topics: [{ name: 't', partitions: [{ partitionIndex: 0, replicas: [1] }] }],
    })
    assert.equal(moved.responses[0]?.partitions[0]?.errorCode, ErrorCode.NONE)
    await cluster.waitForTopic('t', ({ partitions }) => partitions[0]?.replicas.join() === '1')

    const [deleted] = await controller.deleteTopics(['t'], 20_000)
    assert.equal(deleted?.errorCode, ErrorCode.NONE)
    await until('it is gone', async () => (await registry.topicNames()).length === 0)
  } finally {
    await controller.stop()
    await registry.close()
    await cluster.close()
    timers.close()
  }
})
