/**
 * New ISRs: those that leaders ask for (AlterPartition), and those that brokers of older releases
 * wrote themselves and left a note of.
 */
import { ErrorCode } from '../protocol/error-codes.ts'
import type {
  AlterPartitionRequest,
  AlterPartitionResponse,
} from '../protocol/messages/alter-partition.ts'
import { ZERO_UUID } from '../protocol/schema.ts'
import type { IsrChange } from '../registry/cluster-registry.ts'
import type { ActiveController } from './active-controller.ts'
import type { PartitionEntry, TopicEntry } from './controller-context.ts'
import { alterIsr, sameMembers } from './leader-election.ts'

type RequestedTopic = AlterPartitionRequest['topics'][number]
type RequestedPartition = RequestedTopic['partitions'][number]
type AnsweredTopic = AlterPartitionResponse['topics'][number]
type AnsweredPartition = AnsweredTopic['partitions'][number]

interface Member {
  readonly brokerId: number
  /** In which it fetched; −1 if the leader's version does not tell. */
  readonly brokerEpoch: number
}

interface WantedIsr {
  readonly partition: PartitionEntry
  readonly leaderEpoch: number
  readonly partitionEpoch: number
  readonly members: readonly Member[]
  readonly isRecovering: boolean
  readonly answer: AnsweredPartition
}

export class IsrChanges {
  readonly #active: ActiveController
  /** Partitions with another ISR, of which a reassignment may be waiting for it. */
  readonly #altered: (partitions: readonly PartitionEntry[]) => void

  constructor(options: {
    readonly active: ActiveController
    readonly altered: (partitions: readonly PartitionEntry[]) => void
  }) {
    this.#active = options.active
    this.#altered = options.altered
  }

  alter(request: AlterPartitionRequest): Promise<AlterPartitionResponse> {
    return this.#active.run(async () => {
      const { context } = this.#active
      const broker = context.liveBrokers.get(request.brokerId)
      if (broker === undefined || broker.brokerEpoch !== request.brokerEpoch) {
        return { throttleTimeMs: 0, errorCode: ErrorCode.STALE_BROKER_EPOCH, topics: [] }
      }
      const wanted: WantedIsr[] = []
      const topics = request.topics.map((topic) => this.#read(topic, wanted))
      const accepted = wanted.filter((one) => {
        one.answer.errorCode = this.#errorOf(one, request)
        return one.answer.errorCode === ErrorCode.NONE
      })
      await this.#write(accepted.filter((one) => !isAlready(one)))
      for (const one of accepted) answerWithState(one)
      return { throttleTimeMs: 0, errorCode: ErrorCode.NONE, topics }
    })
  }

  #read(topic: RequestedTopic, wanted: WantedIsr[]): AnsweredTopic {
    const { context } = this.#active
    const hasId = topic.topicId !== ZERO_UUID
    const entry = hasId
      ? context.topicsById.get(topic.topicId)
      : context.topics.get(topic.topicName)
    const unknown = hasId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return {
      topicName: entry?.name ?? topic.topicName,
      topicId: topic.topicId,
      partitions: topic.partitions.map((requested) => {
        const answer = emptyAnswer(requested.partitionIndex)
        if (entry === undefined || entry.isDeleting) answer.errorCode = unknown
        else this.#readPartition(entry, requested, answer, wanted)
        return answer
      }),
    }
  }

  #readPartition(
    topic: TopicEntry,
    requested: RequestedPartition,
    answer: AnsweredPartition,
    wanted: WantedIsr[],
  ): void {
    const partition = topic.partitions[requested.partitionIndex]
    if (partition === undefined || partition.state === null) {
      answer.errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
      return
    }
    const members =
      requested.newIsrWithEpochs.length > 0
        ? requested.newIsrWithEpochs
        : requested.newIsr.map((brokerId) => ({ brokerId, brokerEpoch: -1 }))
    wanted.push({
      partition,
      leaderEpoch: requested.leaderEpoch,
      partitionEpoch: requested.partitionEpoch,
      members,
      isRecovering: requested.leaderRecoveryState === 1,
      answer,
    })
  }

  #errorOf(wanted: WantedIsr, request: AlterPartitionRequest): number {
    const { partition, members } = wanted
    const { state } = partition
    if (state === null) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    const isAhead =
      wanted.partitionEpoch > partition.version || wanted.leaderEpoch > state.leaderEpoch
    // The leader knows more than we do: most likely of a later controller.
    if (isAhead) return ErrorCode.NOT_CONTROLLER
    if (wanted.leaderEpoch < state.leaderEpoch || state.leader !== request.brokerId) {
      return ErrorCode.FENCED_LEADER_EPOCH
    }
    // An answer that was lost is asked for again.
    if (isAlready(wanted)) return ErrorCode.NONE
    if (wanted.partitionEpoch < partition.version) return ErrorCode.INVALID_UPDATE_VERSION
    if (wanted.isRecovering && members.length > 1) return ErrorCode.INVALID_REQUEST
    if (wanted.isRecovering && !state.isRecovering) return ErrorCode.INVALID_REQUEST
    if (!members.some((member) => member.brokerId === request.brokerId)) {
      return ErrorCode.INVALID_REQUEST
    }
    if (members.every((member) => this.#isEligible(partition, member))) return ErrorCode.NONE
    const hasTopicIds = request.topics.some((topic) => topic.topicId !== ZERO_UUID)
    return hasTopicIds ? ErrorCode.INELIGIBLE_REPLICA : ErrorCode.OPERATION_NOT_ATTEMPTED
  }

  /** Alive in the epoch in which it fetched, and there to stay (KIP-841, KIP-903). */
  #isEligible(partition: PartitionEntry, { brokerId, brokerEpoch }: Member): boolean {
    const { context } = this.#active
    const broker = context.liveBrokers.get(brokerId)
    if (broker === undefined || context.shuttingDown.has(brokerId)) return false
    if (!partition.replicas.includes(brokerId)) return false
    return brokerEpoch === -1 || brokerEpoch === broker.brokerEpoch
  }

  async #write(accepted: readonly WantedIsr[]): Promise<void> {
    if (accepted.length === 0) return
    const changes = accepted.map(({ partition, members, isRecovering }) => {
      const isr = members.map((member) => member.brokerId)
      const electorate = this.#active.electorate(partition)
      // It was read above, and nothing happens in between.
      const state = partition.state as NonNullable<PartitionEntry['state']>
      return { partition, state: alterIsr(state, electorate, { isr, isRecovering }) }
    })
    const altered: PartitionEntry[] = []
    const refused = await this.#active.write(changes, (partition) => {
      this.#active.tellMetadata(partition)
      altered.push(partition)
    })
    for (const partition of refused) {
      // Its leader does not know the state that somebody else has written.
      this.#active.tell(partition)
      const one = accepted.find((wanted) => wanted.partition === partition)
      if (one) one.answer.errorCode = ErrorCode.INVALID_UPDATE_VERSION
    }
    this.#altered(altered)
  }

  /** ISRs that leaders have written by themselves. */
  async noted(changes: readonly IsrChange[]): Promise<void> {
    if (changes.length === 0) return
    const { context, registry } = this.#active
    const partitions = new Set<PartitionEntry>()
    for (const { topic, partition } of changes.flatMap((change) => change.partitions)) {
      const entry = context.partition(topic, partition)
      if (entry !== undefined && !entry.topic.isDeleting) partitions.add(entry)
    }
    await this.#active.reread([...partitions])
    for (const partition of partitions) this.#active.tellMetadata(partition)
    await registry.completeIsrChanges(changes.map((change) => change.id))
    this.#active.check()
    this.#altered([...partitions])
  }
}

function isAlready({ partition, leaderEpoch, members, isRecovering, ...wanted }: WantedIsr) {
  const { state, version } = partition
  if (state === null || leaderEpoch !== state.leaderEpoch) return false
  const isr = members.map((member) => member.brokerId)
  return (
    sameMembers(isr, state.isr) &&
    isRecovering === (state.isRecovering ?? false) &&
    wanted.partitionEpoch <= version
  )
}

function emptyAnswer(partitionIndex: number): AnsweredPartition {
  return {
    partitionIndex,
    errorCode: ErrorCode.NONE,
    leaderId: 0,
    leaderEpoch: 0,
    isr: [],
    leaderRecoveryState: 0,
    partitionEpoch: 0,
  }
}

function answerWithState({ partition, answer }: WantedIsr): void {
  const { state, version } = partition
  if (answer.errorCode !== ErrorCode.NONE || state === null) return
  answer.leaderId = state.leader
  answer.leaderEpoch = state.leaderEpoch
  answer.isr = [...state.isr]
  answer.leaderRecoveryState = state.isRecovering ? 1 : 0
  answer.partitionEpoch = version
}
