/** A cluster's registry in a temporary directory, with brokers that are registered by hand. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type {
  BrokerRegistration,
  ClusterRegistry,
  RegisteredController,
} from '../../../src/registry/cluster-registry.ts'
import { openEmbeddedRegistry } from '../../../src/registry/embedded/embedded-registry.ts'
import { RegisteredBrokers } from '../../../src/server/cluster/registered-brokers.ts'
import { ManualClock } from '../../../src/util/clock.ts'
import { silentLogger } from '../../../src/util/logger.ts'
import { TimerQueue } from '../../../src/util/timer-queue.ts'

export async function openRegistry(t: TestContext): Promise<ClusterRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'cluster-'))
  const registry = await openEmbeddedRegistry({ directory, logger: silentLogger })
  t.after(async () => {
    await registry.close()
    await rm(directory, { recursive: true })
  })
  return registry
}

export function registrationOf(brokerId: number, host = '127.0.0.1'): BrokerRegistration {
  const securityProtocol = 'PLAINTEXT'
  return {
    brokerId,
    rack: null,
    timestampMs: 1,
    endpoints: [
      { listenerName: 'OUTSIDE', securityProtocol, host: 'example.com', port: 9092 },
      { listenerName: 'INSIDE', securityProtocol, host, port: 19092 + brokerId },
    ],
  }
}

export function brokersOf(
  registry: ClusterRegistry,
  resolve: (host: string) => Promise<readonly string[]> = async () => [],
  clock: ManualClock = new ManualClock(),
): RegisteredBrokers {
  const brokers = new RegisteredBrokers({
    ...{ registry, resolve, listenerName: 'INSIDE', logger: silentLogger },
    timers: new TimerQueue(clock),
  })
  brokers.start()
  return brokers
}

/** What a broker knows of the controller, told by the test. */
export class ControllerView {
  isActive = false
  controllerId = -1
  readonly #listeners = new Set<(controller: RegisteredController | null) => void>()

  onController(listener: (controller: RegisteredController | null) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(brokerId: number, registrationId = 1): void {
    this.controllerId = brokerId
    for (const listener of this.#listeners) {
      listener({ brokerId, registrationId, timestampMs: 1, isThisSession: this.isActive })
    }
  }
}
