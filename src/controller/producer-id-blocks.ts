/** Blocks of producer ids for brokers: each is in the registry before it is given away. */
import { ErrorCode } from '../protocol/error-codes.ts'
import type {
  AllocateProducerIdsRequest,
  AllocateProducerIdsResponse,
} from '../protocol/messages/allocate-producer-ids.ts'
import { RegistryError } from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'

const BLOCK_IDS = 1000
/** An earlier controller may not know yet that it is one. */
const ATTEMPTS_MAX = 20

export class ProducerIdBlocks {
  readonly #active: ActiveController

  constructor(active: ActiveController) {
    this.#active = active
  }

  allocate(request: AllocateProducerIdsRequest): Promise<AllocateProducerIdsResponse> {
    return this.#active.run(async () => {
      const broker = this.#active.context.liveBrokers.get(request.brokerId)
      if (broker === undefined) return refused(ErrorCode.BROKER_ID_NOT_REGISTERED)
      if (broker.brokerEpoch !== request.brokerEpoch) return refused(ErrorCode.STALE_BROKER_EPOCH)
      const producerIdStart = await this.#take(request.brokerId)
      const errorCode = ErrorCode.NONE
      return { throttleTimeMs: 0, errorCode, producerIdStart, producerIdLen: BLOCK_IDS }
    })
  }

  /**
   * The first block of a new registry begins at the clock: the logs may hold ids of an earlier
   * registry, and an id given twice would make new records look like duplicates.
   */
  async #take(brokerId: number): Promise<number> {
    const { registry, clock } = this.#active
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const last = await registry.producerIdBlock()
      this.#active.check()
      const start = last === null ? clock.nowMs() : last.value.end + 1
      const end = start + BLOCK_IDS - 1
      if (!Number.isSafeInteger(end)) {
        throw new RegistryError('invalid', 'there are no producer ids left')
      }
      const block = { brokerId, start, end }
      const written = await registry.writeProducerIdBlock(block, last?.version ?? null)
      if (written.ok) return start
    }
    throw new RegistryError('unavailable', 'no block of producer ids could be taken')
  }
}

function refused(errorCode: number): AllocateProducerIdsResponse {
  return { throttleTimeMs: 0, errorCode, producerIdStart: 0, producerIdLen: 0 }
}
