/** Elections that somebody asked for, and those that give leaderships back by themselves. */
import { ErrorCode, errorMessage } from '../protocol/error-codes.ts'
import type {
  ElectLeadersRequest,
  ElectLeadersResponse,
} from '../protocol/messages/elect-leaders.ts'
import type { TopicPartition, Versioned } from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import type { PartitionEntry } from './controller-context.ts'
import { electOffline, electPreferred } from './leader-election.ts'

export const ElectionType = { PREFERRED: 0, UNCLEAN: 1 } as const

/** The first look at the balance, after an election of the controller. */
const FIRST_BALANCE_MS = 5000

interface Wanted extends TopicPartition {
  readonly entry: PartitionEntry | undefined
  errorCode: number
  errorMessage: string | null
}

export class Elections {
  readonly #active: ActiveController

  constructor(active: ActiveController) {
    this.#active = active
  }

  async elect(request: ElectLeadersRequest): Promise<ElectLeadersResponse> {
    const { context } = this.#active
    const asked = request.topicPartitions
    const isUnclean = request.electionType === ElectionType.UNCLEAN
    // A broker that has just come is connected to first: it may be the one to be preferred.
    if (!isUnclean) await this.#active.allTold()
    const wanted = await this.#active.run(async () => {
      const all: Wanted[] =
        asked === null
          ? [...context.partitions()].map(wantedOf)
          : asked.flatMap(({ topic, partitions }) =>
              [...new Set(partitions)].map((partition) => this.#find(topic, partition)),
            )
      for (const one of all) this.#judge(one, isUnclean)
      await this.#elect(
        all.filter((one) => one.errorCode === ErrorCode.NONE),
        isUnclean,
      )
      return all
    })
    const elected = wanted.filter((one) => one.errorCode === ErrorCode.NONE)
    if (elected.length > 0) {
      await this.#active.atMost(Math.max(0, request.timeoutMs), this.#active.allTold())
    }
    const told =
      asked === null
        ? wanted.filter((one) => one.errorCode !== ErrorCode.ELECTION_NOT_NEEDED)
        : wanted
    return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, replicaElectionResults: byTopic(told) }
  }

  #find(topic: string, partition: number): Wanted {
    const entry = this.#active.context.partition(topic, partition)
    return { topic, partition, entry, errorCode: ErrorCode.NONE, errorMessage: null }
  }

  #judge(wanted: Wanted, isUnclean: boolean): void {
    const { entry } = wanted
    if (entry === undefined || entry.state === null) {
      fail(wanted, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 'The partition does not exist.')
    } else if (entry.topic.isDeleting) {
      fail(wanted, ErrorCode.INVALID_TOPIC_EXCEPTION, 'The topic is being deleted')
    } else {
      const isLed = isUnclean
        ? entry.leader !== -1 && this.#active.context.liveBrokers.has(entry.leader)
        : entry.leader === entry.replicas[0]
      if (isLed) fail(wanted, ErrorCode.ELECTION_NOT_NEEDED)
    }
  }

  /** Sets an error on those for which no leader can be elected. */
  async #elect(wanted: readonly Wanted[], isUnclean: boolean): Promise<void> {
    const entries = new Map<PartitionEntry, Wanted>()
    for (const one of wanted) if (one.entry) entries.set(one.entry, one)
    await this.#active.change([...entries.keys()], (partition, state) => {
      const one = entries.get(partition)
      if (state === null || one === undefined) return null
      const electorate = this.#active.electorate(partition)
      const next = isUnclean
        ? electOffline(state, electorate, true)
        : electPreferred(state, electorate)
      if (next !== null && next.leader !== -1) return next
      const code = isUnclean
        ? ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
        : ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
      fail(one, code, `Failed to elect leader for partition ${partition.name}`)
      return null
    })
  }

  /** What a tool has written into the registry. */
  async requested(request: Versioned<readonly TopicPartition[]>): Promise<void> {
    const wanted = request.value.map(({ topic, partition }) => this.#find(topic, partition))
    for (const one of wanted) this.#judge(one, false)
    await this.#elect(
      wanted.filter((one) => one.errorCode === ErrorCode.NONE),
      false,
    )
    await this.#active.registry.completePreferredElectionRequest(request.version)
  }

  /** Looks every so often whether brokers lead what they should. */
  startBalancing(): void {
    const { config, timers } = this.#active
    if (!config.autoLeaderRebalanceEnable) return
    const intervalMs = config.leaderImbalanceCheckIntervalSeconds * 1000
    const schedule = (delayMs: number): void => {
      const timer = timers.schedule(delayMs, () => {
        if (this.#active.isOver) return
        schedule(intervalMs)
        void this.#active.allTold().then(() => {
          this.#active.enqueue('balance of leaders', () => this.#balance())
        })
      })
      this.#active.atEnd(() => timer.cancel())
    }
    schedule(Math.min(FIRST_BALANCE_MS, intervalMs))
  }

  async #balance(): Promise<void> {
    const { config } = this.#active
    const preferred = new Map<number, { count: number; led: PartitionEntry[] }>()
    for (const partition of this.#active.context.partitions()) {
      const first = partition.replicas[0]
      if (first === undefined) continue
      const share = preferred.get(first) ?? { count: 0, led: [] }
      preferred.set(first, share)
      share.count += 1
      if (partition.state !== null && partition.leader !== first) share.led.push(partition)
    }
    for (const [brokerId, { count, led }] of preferred) {
      const isBalanced = (led.length * 100) / count <= config.leaderImbalancePerBrokerPercentage
      if (isBalanced || !this.#active.isReachable(brokerId)) continue
      this.#active.logger.info({ broker: brokerId, partitions: led.length }, 'balancing leaders')
      await this.#active.change(
        led.filter((partition) => !partition.isReassigning),
        (partition, state) =>
          state === null ? null : electPreferred(state, this.#active.electorate(partition)),
      )
    }
  }
}

function wantedOf(entry: PartitionEntry): Wanted {
  const { topic, partition } = entry
  return { topic: topic.name, partition, entry, errorCode: ErrorCode.NONE, errorMessage: null }
}

function fail(wanted: Wanted, errorCode: number, text = errorMessage(errorCode)): void {
  wanted.errorCode = errorCode
  wanted.errorMessage = text
}

function byTopic(wanted: readonly Wanted[]): ElectLeadersResponse['replicaElectionResults'] {
  const topics = new Map<string, ElectLeadersResponse['replicaElectionResults'][number]>()
  for (const { topic, partition, errorCode, errorMessage: text } of wanted) {
    const result = topics.get(topic) ?? { topic, partitionResult: [] }
    topics.set(topic, result)
    result.partitionResult.push({ partitionId: partition, errorCode, errorMessage: text })
  }
  return [...topics.values()]
}
