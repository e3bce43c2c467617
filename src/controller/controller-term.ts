/**
 * One term of office: the parts of an active controller put together, the watches that feed it, and
 * the reading of everything at its beginning.
 */
import type { IsrChange, LogDirEvent, RegisteredBroker } from '../registry/cluster-registry.ts'
import { ActiveController, type ActiveControllerOptions } from './active-controller.ts'
import { BrokerChanges } from './broker-changes.ts'
import type { PartitionEntry } from './controller-context.ts'
import { Elections } from './elections.ts'
import { IsrChanges } from './isr-changes.ts'
import { isLeaderFit } from './leader-election.ts'
import { ProducerIdBlocks } from './producer-id-blocks.ts'
import { readTopics } from './read-topics.ts'
import { Reassignments } from './reassignments.ts'
import { TopicChanges } from './topic-changes.ts'
import { TopicDeletions } from './topic-deletions.ts'

export class ControllerTerm {
  readonly active: ActiveController
  readonly topics: TopicChanges
  readonly deletions: TopicDeletions
  readonly brokers: BrokerChanges
  readonly isrs: IsrChanges
  readonly elections: Elections
  readonly reassignments: Reassignments
  readonly producerIds: ProducerIdBlocks
  /** As the registry last told; null: not yet. */
  #liveBrokers: readonly RegisteredBroker[] | null = null
  /** Names that have been told and not been looked at; null: none. */
  #topicNames: readonly string[] | null = null
  /** Notes that were there when the registry last told; those that are done are gone by now. */
  #isrChanges: readonly IsrChange[] = []
  #logDirEvents: readonly LogDirEvent[] = []

  constructor(options: ActiveControllerOptions) {
    const active = new ActiveController(options)
    this.active = active
    this.reassignments = new Reassignments(active)
    this.deletions = new TopicDeletions(active)
    this.brokers = new BrokerChanges({
      active,
      stopped: (id, partitions) => this.deletions.stopped(id, partitions),
      returned: (ids) => {
        this.deletions.returned(ids)
        active.enqueue('reassignments', () => this.reassignments.resume())
      },
    })
    this.topics = new TopicChanges({ active, brokers: this.brokers, deletions: this.deletions })
    this.isrs = new IsrChanges({
      active,
      altered: (partitions) => this.reassignments.altered(partitions),
    })
    this.elections = new Elections(active)
    this.producerIds = new ProducerIdBlocks(active)
    active.load = () => this.#load()
  }

  /** Reads everything, elects, tells all brokers, then follows what changes. */
  begin(): void {
    const { active } = this
    const { registry } = active
    const brokersKnown = new Promise<void>((resolve) => {
      active.atEnd(resolve)
      const unwatch = registry.watchBrokers((brokers) => {
        const isFirst = this.#liveBrokers === null
        this.#liveBrokers = brokers
        if (isFirst) resolve()
        else active.enqueue('live brokers', () => this.#brokersChanged())
      })
      active.atEnd(unwatch)
    })
    active.enqueue('first reading', async () => {
      await brokersKnown
      active.check()
      await this.#load()
      this.#follow()
    })
  }

  /** Changes that follow each other fast are one: what counts is what is there now. */
  async #brokersChanged(): Promise<void> {
    if (this.#liveBrokers !== null) await this.brokers.changed(this.#liveBrokers)
  }

  async #topicsListed(): Promise<void> {
    const names = this.#topicNames ?? []
    this.#topicNames = null
    await this.topics.listed(names)
  }

  #follow(): void {
    const { active, topics, deletions, isrs, brokers, elections } = this
    const { registry } = active
    const watches = [
      registry.watchTopicNames((names) => {
        const isPending = this.#topicNames !== null
        this.#topicNames = names
        if (!isPending) active.enqueue('topics', () => this.#topicsListed())
      }),
      registry.watchTopicDeletions((names) => {
        const news = names.filter((name) => !active.context.topics.get(name)?.isDeleting)
        if (news.length > 0) active.enqueue('deletions', () => deletions.marked(news))
      }),
      registry.watchIsrChanges((changes) => {
        this.#isrChanges = changes
        if (changes.length > 0) active.enqueue('ISR notes', () => isrs.noted(changes))
      }),
      registry.watchLogDirEvents((events) => {
        this.#logDirEvents = events
        if (events.length > 0) active.enqueue('log dirs', () => brokers.logDirsFailed(events))
      }),
      registry.watchReassignmentRequest(() => this.#resumeReassignments()),
      registry.watchPreferredElectionRequest((request) => {
        if (request !== null) this.#resumeElections()
      }),
      registry.watchConfigChanges(({ type, name }) => {
        if (type !== 'topics' || name === null) return
        active.enqueue('a topic config', () => topics.configChanged(name))
      }),
    ]
    active.atEnd(() => {
      for (const unwatch of watches) unwatch()
    })
    elections.startBalancing()
  }

  /** As a new controller, or as one that cannot tell which of its writes were made. */
  async #load(): Promise<void> {
    const { active } = this
    const { registry, context, logger, clock } = active
    const startMs = clock.monotonicMs()
    await active.checkEpoch()
    const [names, deleted] = await Promise.all([registry.topicNames(), registry.topicDeletions()])
    const topics = await readTopics(active, names)
    active.check()
    const known = [...context.topics.values()]
    this.brokers.reset(this.#liveBrokers ?? [])
    this.topics.reset()
    this.deletions.reset()
    const ids = new Set(topics.map((topic) => topic.topicId))
    for (const topic of known) {
      if (ids.has(topic.topicId)) context.removeTopic(topic)
      else this.topics.forget(topic)
    }
    for (const topic of topics) this.topics.adopt(topic)
    // Who leads now is told at once; what has not changed since the last controller can wait.
    await this.#lead(new Set(active.config.deleteTopicEnable ? deleted : []))
    this.brokers.tellAll()
    await this.deletions.marked(deleted)
    active.enqueue('ISRs without dead brokers', () => this.brokers.shrink())
    active.enqueue('reassignments', () => this.reassignments.resume())
    this.#resumeReassignments()
    this.#resumeElections()
    active.enqueue('ISR notes', () => this.isrs.noted(this.#isrChanges))
    active.enqueue('log dirs', () => this.brokers.logDirsFailed(this.#logDirEvents))
    const partitions = topics.reduce((sum, topic) => sum + topic.partitions.length, 0)
    const tookMs = Math.round(clock.monotonicMs() - startMs)
    const fields = { epoch: active.epoch, topics: topics.length, partitions, tookMs }
    logger.info(fields, 'the controller knows the cluster')
  }

  /** What a tool has asked for in the registry is done, whatever became of it before. */
  #resumeReassignments(): void {
    const { active, reassignments } = this
    active.enqueue('requested reassignments', async () => {
      const request = await active.registry.reassignmentRequest()
      active.check()
      await reassignments.requested(request)
    })
  }

  #resumeElections(): void {
    const { active, elections } = this
    // A new controller is not connected to anybody yet.
    void active.allTold().then(() => {
      active.enqueue('requested elections', async () => {
        const request = await active.registry.preferredElectionRequest()
        active.check()
        if (request !== null) await elections.requested(request)
      })
    })
  }

  /**
   * Leaders for partitions that have none, or one that is not fit to lead. Of a topic that is being
   * deleted the states may be gone already: they are not made anew.
   */
  async #lead(deleted: ReadonlySet<string>): Promise<void> {
    const { active } = this
    // Before the first broker has registered there is nobody to elect.
    if (active.context.liveBrokers.size === 0) return
    const leaderless: PartitionEntry[] = []
    for (const partition of active.context.partitions()) {
      const { state, topic } = partition
      if (deleted.has(topic.name)) continue
      if (state === null || !isLeaderFit(state, active.electorate(partition))) {
        leaderless.push(partition)
      }
    }
    await this.brokers.electOffline(leaderless)
  }
}
